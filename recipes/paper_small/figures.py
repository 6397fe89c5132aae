"""What was measured: one number of one arm and one seed at a time, and their means and differences with intervals.

A difference is paired: both arms of a seed share their base, their data and their order, and are measured on the same
text. Its 95 % interval is Student's t over the seeds, the only sampling that tells a lucky run from a better method;
with three seeds it is wide (4.3 standard errors), and with one there is none.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from scipy import stats

from evaluation.intervals import LEVEL, Interval


class Figure(NamedTuple):
    """`at` is a length in tokens, or 0 where there is none."""

    arm: str
    measure: str
    at: int
    seed: int
    value: float


class Figures:
    """All of a run."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._found: defaultdict[tuple[str, str, int], dict[int, float]] = defaultdict(dict)
        for each in figures:
            self._found[each.arm, each.measure, each.at][each.seed] = each.value

    def __iter__(self) -> Iterator[Figure]:
        for (arm, measure, at), values in self._found.items():
            for seed, value in values.items():
                yield Figure(arm, measure, at, seed, value)

    def of(self, arm: str, measure: str, at: int = 0) -> Mapping[int, float]:
        """By seed; empty where it was not measured."""
        return self._found.get((arm, measure, at), {})

    def at(self, arm: str, measure: str) -> list[int]:
        """The lengths at which an arm was measured."""
        return sorted({at for found, name, at in self._found if (found, name) == (arm, measure)})

    def mean(self, arm: str, measure: str, at: int = 0) -> Interval | None:
        """Over the seeds."""
        return t_interval(list(self.of(arm, measure, at).values()))

    def difference(self, measure: str, first: tuple[str, int], second: tuple[str, int]) -> Interval | None:
        """second - first, each an arm and a length, over the seeds that have both."""
        one, other = self.of(first[0], measure, first[1]), self.of(second[0], measure, second[1])
        return t_interval([other[seed] - one[seed] for seed in one if seed in other])


def t_interval(values: Sequence[float]) -> Interval | None:
    """The mean, and between what it lies at 95 %; infinitely wide for one value, None for none."""
    if not values:
        return None
    n, mean = len(values), math.fsum(values) / len(values)
    if n == 1:
        return Interval(mean, -math.inf, math.inf)
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Interval(mean, mean - half, mean + half)


def written(found: Interval | None, digits: int = 3) -> str:
    """A figure with its interval."""
    if found is None:
        return "-"
    value = f"{found.value:.{digits}f}"
    return value if math.isinf(found.high) else f"{value} ({found.low:.{digits}f} to {found.high:.{digits}f})"
