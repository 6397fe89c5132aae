"""Intervals: they cover the truth as often as they say, are the same every time, and never no number."""

from collections.abc import Callable, Sequence
from math import isfinite

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evaluation.intervals import Interval, difference_interval, mean_interval, share_interval, unpaired_interval

Draw = Callable[[np.random.Generator], Sequence[float]]


def coverage(interval: Callable[[np.random.Generator, int], Interval], truth: float, draws: int = 400) -> float:
    """How often the truth lies in the interval of a draw."""
    random = np.random.default_rng(7)
    found = [interval(random, seed) for seed in range(draws)]
    return sum(each.low <= truth <= each.high for each in found) / draws


@pytest.mark.parametrize(
    ("draw", "truth"),
    [
        (lambda random: random.normal(50, 10, 100), 50),
        (lambda random: 100.0 * (random.random(60) < 0.8), 80),
        (lambda random: random.exponential(10, 100), 10),
    ],
    ids=["normal", "right or wrong", "skewed"],
)
def test_the_interval_of_a_mean_covers_it(draw: Draw, truth: float) -> None:
    assert 0.91 <= coverage(lambda random, seed: mean_interval(draw(random), seed=seed), truth) <= 0.98


def test_the_intervals_of_differences_cover_them() -> None:
    def paired(random: np.random.Generator, seed: int) -> Interval:
        hardness = random.normal(50, 20, 40)
        pairs = zip(hardness, hardness + random.normal(3, 5, 40), strict=True)
        return difference_interval(list(pairs), seed)

    def unpaired(random: np.random.Generator, seed: int) -> Interval:
        return unpaired_interval(random.normal(50, 10, 40), random.normal(53, 20, 60), seed)

    assert 0.91 <= coverage(paired, 3) <= 0.98
    assert 0.91 <= coverage(unpaired, 3) <= 0.98


def test_pairs_tell_more_than_the_two_sides_alone() -> None:
    random = np.random.default_rng(0)
    a = random.normal(50, 20, 100)
    b = a + random.normal(2, 3, 100)
    paired, alone = difference_interval(list(zip(a, b, strict=True))), unpaired_interval(a, b)
    assert paired.value == pytest.approx(alone.value) == pytest.approx(float(np.mean(b) - np.mean(a)))
    assert paired.low > 0 > alone.low
    assert alone.high - alone.low > 4 * (paired.high - paired.low)


def test_it_is_the_bca_interval_of_the_mean() -> None:
    values = np.random.default_rng(1).exponential(10, 25)
    found = stats.bootstrap((values,), np.mean, n_resamples=1000, rng=np.random.default_rng(5)).confidence_interval
    assert mean_interval(values.tolist(), seed=5) == (pytest.approx(values.mean()), found.low, found.high)
    middle = (found.low + found.high) / 2
    assert middle > values.mean()  # skewed as the values are


def test_from_thousands_of_values_on_it_hardly_differs_from_the_normal_one() -> None:
    values = np.random.default_rng(2).random(5000)
    found, error = mean_interval(values.tolist()), values.std() / 5000**0.5
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error), abs=1e-3)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([100.0] * 10, (100, 69.1503, 100)),  # Clopper and Pearson: 10 of 10
        ([0.0] * 10, (0, 0, 30.8497)),
        ([100.0] * 100, (100, 96.3783, 100)),
        ([100.0], (100, 2.5, 100)),
        ([0.0], (0, 0, 97.5)),
        ([50.0] * 10, (50, 50 - 15.4248, 50 + 15.4248)),  # all others might be at either bound
        ([0.1 + 0.2, 0.3] * 5, (0.3, 0.3 - 0.0925, 0.3 + 30.7571)),  # alike but for rounding
    ],
)
def test_values_that_are_all_alike_have_the_exact_bound(values: list[float], expected: tuple[float, ...]) -> None:
    assert mean_interval(values, bounds=(0, 100)) == pytest.approx(expected, abs=1e-3)
    assert mean_interval(values) == pytest.approx((values[0],) * 3)


@pytest.mark.parametrize(
    ("right", "n", "expected"),
    [
        (0, 10, (0, 0, 0.27753)),
        (10, 10, (1, 0.72247, 1)),
        (10, 20, (0.5, 0.29930, 0.70070)),
        (1, 29, (1 / 29, 0.00611, 0.17177)),  # Newcombe 1998, table I
        (81, 263, (81 / 263, 0.25529, 0.36621)),
        (15, 148, (15 / 148, 0.06235, 0.16046)),
        (0, 20, (0, 0, 0.16113)),
        (0, 0, (0, 0, 1)),
    ],
)
def test_shares_have_wilsons_interval(right: int, n: int, expected: tuple[float, ...]) -> None:
    assert share_interval(right, n) == pytest.approx(expected, abs=6e-5)


def test_a_side_without_spread_counts_as_certain() -> None:
    assert unpaired_interval([1], [3]) == (2, 2, 2)
    more = [2.0, 3.0, 4.0, 7.0]
    assert unpaired_interval([1, 1], more) == mean_interval([each - 1 for each in more])
    assert unpaired_interval(more, [1]) == mean_interval([1 - each for each in more])


def test_the_same_seed_gives_the_same_bytes() -> None:
    values = np.random.default_rng(3).random(50).tolist()
    assert mean_interval(values, seed=-1) == mean_interval(values, seed=-1)
    assert mean_interval(values, seed=1) != mean_interval(values, seed=2)


@given(
    st.lists(st.floats(0, 100) | st.sampled_from([0.0, 100.0, 100 / 3]), min_size=1, max_size=12), st.integers(0, 99)
)
def test_every_interval_is_finite_within_the_bounds_and_around_its_value(values: list[float], seed: int) -> None:
    found = mean_interval(values, bounds=(0, 100), seed=seed)
    assert all(map(isfinite, found))
    assert -1e-9 <= found.low <= found.value <= found.high <= 100 + 1e-9
    assert found.value == pytest.approx(sum(values) / len(values))
