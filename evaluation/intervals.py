"""95 % intervals of means, shares and differences: what every figure of evaluate is shown with.

Bootstrap BCa over a thousand seeded resamples: some 7 ms for 500 values. Where all values are alike a bootstrap says
that nothing is uncertain; the exact bound of so many of so many says how far a few right answers really go.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from longreach.errors import missing_extra

try:
    from scipy import stats
except ModuleNotFoundError as error:
    raise missing_extra("scipy", "evaluate", "evaluate") from error

LEVEL = 0.95
RESAMPLES = 1000
AT_ONCE = 2**22  # numbers that are resampled at a time: 32 MiB
MANY = 2000  # values from which on BCa's correction, of the order 1/sqrt(n), is not worth its jackknife, of n * n

Floats = NDArray[np.float64]


class Interval(NamedTuple):
    """A figure, and between what it lies at 95 %."""

    value: float
    low: float
    high: float


def mean_interval(values: Sequence[float], *, bounds: tuple[float, float] | None = None, seed: int = 0) -> Interval:
    """The mean; `bounds` are the least and the most that a value can be."""
    given = np.asarray(values, np.float64)
    if _alike(given):
        return _of_alike(float(given[0]), len(given), bounds)
    return _bootstrap((given,), np.mean, seed)


def share_interval(right: int, n: int) -> Interval:
    """`right` of `n` as a share from 0 to 1, with Wilson's interval."""
    if n == 0:
        return Interval(0.0, 0.0, 1.0)
    low, high = stats.binomtest(right, n).proportion_ci(LEVEL, method="wilson")
    return Interval(right / n, float(low), float(high))


def difference_interval(pairs: Sequence[tuple[float, float]], seed: int = 0) -> Interval:
    """The mean of second - first, where both are of the same question."""
    return mean_interval([second - first for first, second in pairs], seed=seed)


def unpaired_interval(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Interval:
    """mean(b) - mean(a), where the questions are not the same; a side whose values are all alike counts as certain."""
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if _alike(first):
        return mean_interval((second - first[0]).tolist(), seed=seed)
    if _alike(second):
        return mean_interval((second[0] - first).tolist(), seed=seed)
    return _bootstrap((first, second), _difference, seed)


def _alike(values: Floats) -> bool:
    """Equal but for rounding; that of no values is a defect of the caller."""
    return bool(np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())))


def _of_alike(value: float, n: int, bounds: tuple[float, float] | None) -> Interval:
    """What `n` equal values leave open: up to the exact (Clopper-Pearson) share, all others might be at the bounds."""
    if bounds is None:
        return Interval(value, value, value)
    unseen = float(stats.binomtest(0, n).proportion_ci(LEVEL, method="exact").high)
    least, most = bounds
    return Interval(value, value - unseen * (value - least), value + unseen * (most - value))


def _difference(a: Floats, b: Floats, axis: int) -> Any:
    return np.mean(b, axis=axis) - np.mean(a, axis=axis)


def _bootstrap(samples: tuple[Floats, ...], statistic: Callable[..., Any], seed: int) -> Interval:
    value = float(statistic(*samples, axis=-1))
    n = max(map(len, samples))
    for method in ("BCa", "percentile") if n <= MANY else ("percentile",):
        found = stats.bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method=method,
            batch=max(1, AT_ONCE // n),
            vectorized=True,
            rng=np.random.default_rng(seed % 2**63),
        ).confidence_interval
        low, high = float(found.low), float(found.high)
        if np.isfinite(low) and np.isfinite(high):  # BCa has none where no resample lies below the value
            break
    return Interval(value, min(low, value), max(high, value))
