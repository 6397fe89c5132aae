"""The effective length: up to which length a model does what it is asked, by RULER's rule, with its interval.

It is the longest measured length at which, and at all shorter ones, the mean over tasks is over a threshold: 85.6
points, what Llama 2 7B reaches at its 4,096 tokens (arXiv:2404.06654). The interval is a bootstrap over the samples of
each task and length: it moves in steps, since a length is one of those that were measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import LEVEL, RESAMPLES, Interval

Cells = Mapping[str, Mapping[int, Sequence[float]]]  # points of each sample, by task and length


@dataclass(frozen=True)
class Effective:
    """In tokens, 0 where not even the shortest length is over the threshold; and the mean at each length."""

    length: Interval
    means: Mapping[int, float]
    threshold: float

    def in_words(self) -> str:
        """As a sentence."""
        low, high = f"{self.length.low:,.0f}", f"{self.length.high:,.0f}"
        if not self.length.value:
            shortest = min(self.means)
            return (
                f"No effective length: {self.means[shortest]:.1f} points at {shortest:,} tokens are not over "
                f"{self.threshold:g} (95 %: {low}–{high})."
            )
        longest = " (the longest measured)" if self.length.value == max(self.means) else ""
        return (
            f"Effective length: {self.length.value:,.0f} tokens{longest}, up to which the mean over tasks is over "
            f"{self.threshold:g} points (95 %: {low}–{high})."
        )


def effective_length(cells: Cells, threshold: float, seed: int) -> Effective:
    """Of several tasks together, or of one. A length counts with the tasks that were measured at it."""
    lengths = sorted({length for task in cells.values() for length in task})
    means = {length: float(_mean(cells, length, None)[0]) for length in lengths}
    draws = np.random.default_rng(seed)
    drawn = np.stack([_mean(cells, length, draws) for length in lengths])
    reached = _reached(lengths, drawn > threshold)
    low, high = np.quantile(reached, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), method="inverted_cdf")
    value = _reached(lengths, np.array([[means[length] > threshold] for length in lengths]))[0]
    return Effective(Interval(float(value), float(low), float(high)), means, threshold)


def _mean(cells: Cells, length: int, draws: np.random.Generator | None) -> NDArray[np.float64]:
    """[1], or [RESAMPLES] with resampling: the mean over tasks of their means at a length."""
    of_tasks = []
    for values in (np.asarray(task[length], np.float64) for task in cells.values() if length in task):
        if draws is None:
            of_tasks.append(values.mean(keepdims=True))
        else:
            of_tasks.append(values[draws.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1))
    mean: NDArray[np.float64] = np.mean(of_tasks, axis=0)
    return mean


def _reached(lengths: Sequence[int], over: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The length up to which each column of [lengths, resamples] stays over the threshold."""
    steps = np.logical_and.accumulate(over, axis=0).sum(axis=0)
    reached: NDArray[np.int64] = np.array([0, *lengths])[steps]
    return reached
