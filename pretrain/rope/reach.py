"""How far a RoPE base reaches: the first distance at which a similar token scores below a random one.

The criterion is that of "Base of RoPE bounds context length" (arXiv:2405.14591): B(m) = sum_j cos(m theta_j) must not
be negative at any distance m within the context. It is evaluated at every whole m in float64, not sampled and not
looked up: B oscillates, so the reach jumps with the base, and a larger base may reach less. Cost on one core: 30 ms
for a million distances, since cos((s + r) theta) is one product of matrices for many s and r; to search the smallest
base, 1 s for 32,768 tokens and 7 s for a million.
"""

import math
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from longreach.model.rope import ABF, Frequencies, Rope, inverse_frequencies

BLOCK, LONGEST_SPAN = 128, 65_536  # distances of a block, and of one product
STEP = 1.0005  # ratio of neighbouring bases in the search
LOOKED_AT = 2_000  # steps above a base: a factor of e
LARGEST_BASE = 1e12


def reach(rope: Frequencies, limit: int) -> int | None:
    """The first distance below `limit` where B is negative; None where there is none."""
    sums = _Sums(rope)
    for start, stop in _spans(limit):
        negative = np.flatnonzero(sums(start, stop) < 0)
        if len(negative):
            return start + int(negative[0])
    return None


def covers(base: float, dim: int, length: int) -> bool:
    """Whether B is nowhere negative below `length`: looked at from the far end, where it is most likely to be."""
    sums = _Sums(_plain(base, dim))
    return not any((sums(max(0, length - stop), length - start) < 0).any() for start, stop in _spans(length))


def base_reach(base: float, dim: int, limit: int) -> int | None:
    """The reach of a plain RoPE of this base."""
    return reach(_plain(base, dim), limit)


def _plain(base: float, dim: int) -> Frequencies:
    return inverse_frequencies(Rope(ABF, base), dim, base, original_length=1)


class _Sums:
    """B at a span of distances: the angle is that of the span's block starts and of the place within a block."""

    def __init__(self, rope: Frequencies) -> None:
        self._inverse = np.asarray(rope.inverse)
        within = np.outer(np.arange(BLOCK), self._inverse)
        self._cosines, self._sines = np.cos(within), np.sin(within)

    def __call__(self, start: int, stop: int) -> NDArray[np.float64]:
        starts = np.outer(np.arange(start, stop, BLOCK), self._inverse)
        sums: NDArray[np.float64] = np.cos(starts) @ self._cosines.T - np.sin(starts) @ self._sines.T
        return sums.ravel()[: stop - start]


def _spans(limit: int) -> Iterator[tuple[int, int]]:
    """From 0 to the limit in ever longer spans, so that an early end costs little."""
    start, span = 0, 4 * BLOCK
    while start < limit:
        yield start, min(start + span, limit)
        start, span = start + span, min(2 * span, LONGEST_SPAN)


def smallest_base(dim: int, length: int) -> float | None:
    """The smallest base that covers a length, of bases 0.05 % apart; None where none does.

    The bases that cover a length are many narrow islands: there may be a smaller one between two steps. The search
    begins at the length, since in the limit of many pairs B turns negative where the base is under length / 0.6165.
    """
    return next((base for base in _ladder(float(max(length, 2))) if covers(base, dim, length)), None)


def larger_but_shorter(base: float, dim: int, length: int) -> tuple[float, int] | None:
    """The next base of the search above `base` that does not cover the length, and its reach."""
    for larger in islice(_ladder(base * STEP), LOOKED_AT):
        short = base_reach(larger, dim, length)
        if short is not None:
            return larger, short
    return None


def _ladder(base: float) -> Iterator[float]:
    while base <= LARGEST_BASE:
        yield base
        base *= STEP


def round_base(start: float, dim: int, length: int) -> float | None:
    """`start` itself or the next base of two digits that covers the length."""
    base = start
    while base <= LARGEST_BASE:
        if covers(base, dim, length):
            return base
        unit = 10.0 ** (math.floor(math.log10(base) + 1e-9) - 1)
        base = (math.floor(base / unit + 1e-9) + 1) * unit
    return None
