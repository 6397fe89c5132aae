"""Which documents are held out to measure the loss on: by what their text is, so that repeats stay on one side."""

import numpy as np
import numpy.typing as npt

FEWEST = 10  # documents of a kind, from which at least one is held out whatever the share


def held_out(
    lengths: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64], long_from: int, share: float
) -> npt.NDArray[np.bool_]:
    """A mask over the documents of one source: about `share` of the tokens of its short and of its long documents.

    Texts are taken in the order of their keys, which are digests: a fair draw, and the same whatever the order of the
    documents. Texts with the same key are held out together.
    """
    mask = np.zeros(len(lengths), bool)
    for kind in (lengths < long_from, lengths >= long_from):
        members = np.count_nonzero(kind)
        if not share or not members:
            continue
        tokens = share * lengths.sum(where=kind)
        ranked = _first(lengths, keys, kind, tokens, share)
        within = int(np.searchsorted(np.cumsum(lengths[ranked]), tokens, side="right"))
        taken = max(within, 1 if members >= FEWEST else 0)
        if taken:
            mask |= kind & (keys <= keys[ranked[taken - 1]])
    return mask


def _first(
    lengths: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint64],
    kind: npt.NDArray[np.bool_],
    tokens: float,
    part: float,
) -> npt.NDArray[np.int64]:
    """Documents of a kind by their keys, from the smallest on: some that hold more than `tokens`, or all.

    Keys are evenly spread, so that twice the `part` of them is mostly enough, and no more are sorted.
    """
    while True:
        part *= 2
        near = kind if part >= 1 else kind & (keys < np.uint64(int(part * 2**64)))
        if part >= 1 or lengths.sum(where=near) > tokens:
            documents = np.flatnonzero(near)
            return documents[np.argsort(keys[documents], kind="stable")]
