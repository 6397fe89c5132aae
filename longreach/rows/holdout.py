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
        (members,) = np.nonzero(kind)
        if not share or not len(members):
            continue
        ranked = members[np.argsort(keys[members], kind="stable")]
        within = int(np.searchsorted(np.cumsum(lengths[ranked]), share * lengths[ranked].sum(), side="right"))
        taken = max(within, 1 if len(members) >= FEWEST else 0)
        if taken:
            mask[members[keys[members] <= keys[ranked[taken - 1]]]] = True
    return mask
