"""The reach of a base: known values, every integer looked at, the search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longreach.model.rope import ABF, Frequencies, Rope, inverse_frequencies
from pretrain.rope.reach import base_reach, covers, larger_but_shorter, reach, round_base, smallest_base

FURTHEST = 1 << 20
KNOWN = [
    *[(128, base, first) for base, first in [(1e4, 1_707), (2.7e4, 4_079), (5e5, 18_438), (6.3e5, 33_259)]],
    *[(128, base, first) for base, first in [(6.4e5, 27_685), (1e6, 27_115), (2e6, 48_415), (5e6, 82_999)]],
    *[(128, base, first) for base, first in [(8e6, 61_936), (1e7, 144_660)]],
    *[(64, base, first) for base, first in [(5e5, 9_937), (1e6, 6_235), (1e7, 45_826)]],
]


@pytest.mark.parametrize(("dim", "base", "first"), KNOWN)
def test_known_reaches(dim: int, base: float, first: int) -> None:
    assert base_reach(base, dim, FURTHEST) == first
    assert covers(base, dim, first)
    assert not covers(base, dim, first + 1)


@settings(max_examples=60, deadline=None)
@given(st.floats(2, 1e7), st.sampled_from([4, 8, 32, 128]), st.integers(1, 3_000))
def test_every_distance_is_looked_at(base: float, dim: int, limit: int) -> None:
    inverse = np.array([base ** (-pair / dim) for pair in range(0, dim, 2)])
    sums = np.cos(np.outer(np.arange(limit), inverse)).sum(axis=1)
    if np.abs(sums).min() < 1e-9:
        return  # a tie that rounding decides
    negative = np.flatnonzero(sums < 0)
    assert base_reach(base, dim, limit) == (negative[0] if len(negative) else None)
    assert covers(base, dim, limit) == (not len(negative))


@pytest.mark.parametrize("first", [1, 63, 127, 128, 129, 511, 512, 513, 1_535, 1_536, 70_000])
def test_the_first_negative_wherever_it_falls(first: int) -> None:
    """One pair that passes a quarter turn just before `first`: at the edges of blocks and spans too."""
    one = Frequencies((np.pi / 2 / (first - 0.5),))
    assert reach(one, 1_000_000) == first
    assert reach(one, first) is None
    assert reach(one, first + 1) == first


def test_interpolation_stretches_the_reach() -> None:
    plain, stretched = (inverse_frequencies(Rope(*rope), 128, 1e4, 4_096) for rope in (("none",), ("pi", 8)))
    assert reach(stretched, FURTHEST) == pytest.approx(8 * (reach(plain, FURTHEST) or 0), abs=8)


def test_the_smallest_base() -> None:
    """The published 2.7e4, 8.4e4, 2.3e5 and 6.3e5; nothing smaller on a coarser grid covers."""
    for length, published in [(4_096, 2.7e4), (8_192, 8.4e4), (16_384, 2.3e5), (32_768, 6.3e5)]:
        found = smallest_base(128, length)
        assert found is not None and covers(found, 128, length)
        assert found == pytest.approx(published, rel=0.02)
        assert not any(covers(float(base), 128, length) for base in np.geomspace(length, found * 0.999, 60))


def test_a_larger_base_may_reach_less() -> None:
    larger, short = larger_but_shorter(6.3e5, 128, 32_768) or (0.0, 0)
    assert larger > 6.3e5 and short < 32_768
    assert base_reach(larger, 128, FURTHEST) == short


def test_a_head_of_one_pair_never_covers() -> None:
    assert smallest_base(2, 64) is None
    assert round_base(1e11, 2, 64) is None


def test_round_bases() -> None:
    """The start itself where it covers, then bases of two digits, past those that reach less."""
    assert round_base(128e6, 128, 524_288) == 128e6
    assert round_base(5e5, 128, 32_768) == 630_000
    assert round_base(8e6, 128, 65_536) == 8_100_000
    assert round_base(97_500, 128, 4_096) == 97_500


def test_the_frequencies_are_those_of_the_model() -> None:
    """No second definition: what the search looks at is what is set before a load."""
    assert base_reach(5e5, 128, FURTHEST) == reach(inverse_frequencies(Rope(ABF, 5e5), 128, 1e4, 4_096), FURTHEST)
