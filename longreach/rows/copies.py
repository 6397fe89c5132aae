"""How often each document of a bucket is taken, so that the tokens come out: pure, vectorised, the same for ever.

A document's expected copies are in proportion to its weight, up to a cap. Whole copies are the expected ones rounded
down, and one more for documents drawn by sequential Poisson sampling: each has a number of its own, a hash of seed,
source and document number, and those with the smallest number per remaining fraction come first. What the draw leaves
is filled with ever smaller documents. Costs a sort, and about 45 bytes a document while it runs; and where a bucket is
to give less than some ten times its longest document, the longest ones are drawn less often than their share.
"""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_EXACT = 1e-3  # of the tokens wanted: a smaller gap is left as it is
_MOST_SWAPS = 64


def expected_copies(lengths: Int64s, weights: Floats | None, tokens: int, most: float) -> Float64s:
    """Copies of each document, in proportion to its weight and `most` at most, that hold `tokens` in all.

    Needs lengths and weights above 0, and `tokens` to be no more than `most` times the sum of the lengths.
    """
    if weights is None or (weights == 1).all():
        return np.broadcast_to(np.float64(tokens / max(1, int(lengths.sum()))), len(lengths))  # one number, no memory
    heaviest_first = np.argsort(-weights, kind="stable")
    weight = weights[heaviest_first].astype(np.float64)
    scale = _scales(lengths[heaviest_first].astype(np.float64), weight, tokens, most)
    free = scale * weight <= most
    first = int(free.argmax()) if free.any() else len(weight)
    copies = np.full(len(lengths), most, dtype=np.float64)
    copies[heaviest_first[first:]] = np.minimum(weight[first:] * scale[first : first + 1], most)
    return copies


def _scales(length: Float64s, weight: Float64s, tokens: int, most: float) -> Float64s:
    """For each document, the heaviest first, copies per weight of it and the lighter ones, if just the heavier ones
    are at the cap. Takes `length` for its own: there may be no room for another array of this size."""
    scale = np.cumsum(length)
    scale -= length  # tokens of the documents heavier than each
    length *= weight
    scale *= -most
    scale += tokens
    scale /= np.cumsum(length[::-1])[::-1]
    return scale


def whole_copies(lengths: Int64s, expected: Float64s, tokens: int, numbers: Float64s) -> Int64s:
    """Each document's expected copies rounded up or down, so that they hold as near to `tokens` as they can.

    `numbers` are the documents' own, evenly spread over 0 to 1.
    """
    copies = expected.astype(np.int64)
    wanted = tokens - int(copies @ lengths)
    order = _drawn_first(expected - copies, numbers)
    sizes = lengths[order]
    taken = _fill(sizes, wanted)
    _even_out(sizes, taken, wanted, _EXACT * tokens)
    copies[order[taken]] += 1
    return copies


def _drawn_first(chance: Float64s, numbers: Float64s) -> Int64s:
    """The documents that have a chance, those first whose number is the smallest for it."""
    with np.errstate(divide="ignore"):
        rank = numbers / chance  # endless where there is no chance
    order: Int64s = np.argsort(rank, kind="stable")[: np.count_nonzero(chance)]
    return order


def _fill(sizes: Int64s, wanted: int) -> Bools:
    """From the front as many as fit, then, of the rest, as many as still fit, until none does."""
    taken = np.zeros(len(sizes), dtype=np.bool_)
    fitting = _fitting(sizes, wanted)
    taken[:fitting] = True
    wanted -= int(sizes[:fitting].sum())
    rest = fitting + np.flatnonzero(sizes[fitting:] <= wanted)
    while rest.size:
        fitting = _fitting(sizes[rest], wanted)
        taken[rest[:fitting]] = True
        wanted -= int(sizes[rest[:fitting]].sum())
        rest = rest[fitting:]
        rest = rest[sizes[rest] <= wanted]
    return taken


def _fitting(sizes: Int64s, wanted: int) -> int:
    """How many from the front hold no more than is wanted."""
    return int(np.searchsorted(np.cumsum(sizes), wanted, side="right"))


def _even_out(sizes: Int64s, taken: Bools, wanted: int, tolerance: float) -> None:
    """Swap single documents, while the gap is above `tolerance` and a swap closes some of it.

    A phantom of no tokens on either side makes taking one more and taking one less swaps too. Only small buckets get
    here: in a large one the smallest document left is within the tolerance.
    """
    gap = wanted - int(sizes[taken].sum())
    phantom = len(sizes)
    sizes = np.append(sizes, 0)
    for _ in range(_MOST_SWAPS):
        if abs(gap) <= tolerance:
            return
        inside = np.append(np.flatnonzero(taken), phantom)
        outside = np.append(np.flatnonzero(~taken), phantom)
        leaves, enters = _best_swap(sizes, inside, outside[np.argsort(sizes[outside], kind="stable")], gap)
        left = gap - int(sizes[enters] - sizes[leaves])
        if abs(left) > abs(gap) or (abs(left) == abs(gap) and left >= gap):  # of two as near, the fuller one
            return
        gap = left
        if leaves != phantom:
            taken[leaves] = False
        if enters != phantom:
            taken[enters] = True


def _best_swap(sizes: Int64s, inside: Int64s, outside: Int64s, gap: int) -> tuple[int, int]:
    """Which of `inside` to give for which of `outside`, sorted by size, to come nearest to closing the gap."""
    above = np.searchsorted(sizes[outside], sizes[inside] + gap).clip(max=len(outside) - 1)
    left = [np.abs(gap + sizes[inside] - sizes[outside[place]]) for place in (above, np.maximum(above - 1, 0))]
    side = int(left[1].min() < left[0].min())
    place = int(np.argmin(left[side]))
    return int(inside[place]), int(outside[max(above[place] - side, 0)])


def numbers_of(key: str, documents: Ints) -> Float64s:
    """For each document number a number between 0 and 1, by `key`: splitmix64 of the two."""
    start = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")
    bits = documents.astype(np.uint64)
    bits *= np.uint64(0x9E3779B97F4A7C15)
    bits += np.uint64(start)
    bits ^= bits >> np.uint64(30)
    bits *= np.uint64(0xBF58476D1CE4E5B9)
    bits ^= bits >> np.uint64(27)
    bits *= np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    bits >>= np.uint64(11)
    numbers = bits.astype(np.float64)
    numbers += 0.5
    numbers *= 2.0**-53
    return numbers


def in_pass(copies: Ints, numbers: Float64s, passes: int, number: int) -> Bools:
    """Which documents are in the pass `number` of `passes`.

    One of c copies is in c different passes, spread evenly from a first one that its own number gives; so every pass
    holds it once at most and has the same blend of short and long.
    """
    step = (number - (numbers * passes).astype(np.int64)) % passes
    count = copies.astype(np.int64)
    nth = -(-step * count // passes)  # the copy that would fall on this step
    held: Bools = (nth < count) & (nth * passes // np.maximum(count, 1) == step)
    return held


def passes_of(copies: Int64s, nth: Int64s, numbers: Float64s, passes: int) -> Int64s:
    """In which pass the nth copy of an example is: `in_pass`, asked the other way round."""
    first = (numbers * passes).astype(np.int64)
    found: Int64s = (first + nth * passes // copies) % passes
    return found
