"""Differences between two models, task by task: paired where both were asked the same.

A paired difference is the mean over samples of what the second scored more, so what makes samples hard falls out of its
interval. Where the prompts were not the same, the interval is that of two independent means, and wider. A figure that
is no mean of samples (the effective length) has the outermost bounds of its two intervals.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import NamedTuple

from evaluation.compare.model import Answer, Key, Model, answers
from evaluation.intervals import Interval, difference_interval, unpaired_interval
from evaluation.results import Headline, Side

POINTS, NATS = "points", "nats"
UNPAIRED = "asked in other words or of other text, so that the samples are not paired"
DECIDING = ("docs", "records", "seed", "lengths", "depths", "samples", "targets", "task", "style", "prompt_tokens")


class Difference(NamedTuple):
    """Second - first, over `n` samples; `how` it was found: paired, unpaired, or of bounds."""

    value: float
    low: float
    high: float
    n: int
    how: str

    @property
    def is_clear(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Row:
    """One task: the figures of all models in their order, None where one was not asked; and the differences of all but
    the first from the first."""

    measure: str
    task: str
    metric: str
    side: Side
    unit: str
    higher_is_better: bool
    figures: tuple[Headline | None, ...]
    differences: tuple[Difference | None, ...]


@dataclass(frozen=True)
class SideMean:
    """The mean over the tasks of a side that are in points and that all models were asked."""

    side: Side
    tasks: int
    values: tuple[float, ...]
    differences: tuple[Interval, ...]


def rows_of(models: Sequence[Model]) -> list[Row]:
    """Every task of any model, the long side first."""
    headlines = [model.headlines() for model in models]
    keys: dict[Key, None] = dict.fromkeys(key for each in headlines for key in each)
    return sorted((_row(key, headlines) for key in keys), key=lambda row: row.side)


def _row(key: Key, headlines: Sequence[Mapping[Key, tuple[Path, Headline]]]) -> Row:
    found = [each.get(key) for each in headlines]
    shown = next(headline for _, headline in filter(None, found))
    first = found[0]
    differences = [None if first is None or other is None else _difference(first, other) for other in found[1:]]
    return Row(
        *key,
        side=shown.side,
        unit=shown.unit,
        higher_is_better=shown.higher_is_better,
        figures=tuple(None if each is None else each[1] for each in found),
        differences=tuple(differences),
    )


def _difference(first: tuple[Path, Headline], second: tuple[Path, Headline]) -> Difference:
    (folder, a), (other, b) = first, second
    if not (a.paired and b.paired):
        return Difference(b.value - a.value, b.low - a.high, b.high - a.low, min(a.n, b.n), "of bounds")
    ours, theirs = answers(folder, a.task, a.metric), answers(other, b.task, b.metric)
    same = [each for each in ours if each in theirs and ours[each].prompt_sha256 == theirs[each].prompt_sha256]
    if same:
        pairs = [(ours[each].points, theirs[each].points) for each in same]
        return Difference(*difference_interval(pairs), len(pairs), "paired")
    if not (ours and theirs):
        return Difference(b.value - a.value, b.low - a.high, b.high - a.low, 0, "of bounds")
    return Difference(*unpaired_interval(_points(ours), _points(theirs)), min(len(ours), len(theirs)), "unpaired")


def _points(found: Mapping[str, Answer]) -> list[float]:
    return [answer.points for answer in found.values()]


def side_means(rows: Sequence[Row], models: int) -> Iterator[SideMean]:
    """Of each side that has tasks in points; what is better when lower counts against it."""
    sides: tuple[Side, ...] = ("long", "short")
    for side in sides:
        mine = [row for row in rows if row.side == side and row.unit == POINTS and all(row.figures)]
        if mine:
            values = tuple(_mean([_figure(row, place) for row in mine]) for place in range(models))
            differences = tuple(_mean_difference(mine, place) for place in range(models - 1))
            yield SideMean(side, len(mine), values, differences)


def _figure(row: Row, place: int) -> float:
    figure = row.figures[place]
    return 0.0 if figure is None else figure.value if row.higher_is_better else 100.0 - figure.value


def _mean_difference(rows: Sequence[Row], place: int) -> Interval:
    """Tasks are independent of each other, so the squares of their half intervals add up."""
    signed = [(1 if row.higher_is_better else -1, row.differences[place]) for row in rows]
    found = [(sign * each.value, (each.high - each.low) / 2) for sign, each in signed if each is not None]
    value = _mean([value for value, _ in found])
    half = sqrt(sum(half**2 for _, half in found)) / len(found)
    return Interval(value, value - half, value + half)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def warnings(models: Sequence[Model], rows: Sequence[Row]) -> Iterator[str]:
    """What stands in the way of a fair comparison."""
    found: dict[tuple[str, str], list[str]] = {}  # tasks of a measure, by what is to be said of them
    for row in rows:
        lacking = [model.name for model, figure in zip(models, row.figures, strict=True) if figure is None]
        if lacking:
            found.setdefault((row.measure, f"not measured on {', '.join(lacking)}"), []).append(row.task)
        if "unpaired" in {each.how for each in row.differences if each}:
            found.setdefault((row.measure, UNPAIRED), []).append(row.task)
    for (measure, what), tasks in found.items():
        yield f"{measure}: {what}: {', '.join(dict.fromkeys(tasks))}"
    first, *others = models
    for other in others:
        yield from _other_settings(first, other)


def _other_settings(first: Model, other: Model) -> Iterator[str]:
    """Settings of one measure that decide what is asked."""
    theirs = {results.measure: results.settings for _, results in other.parts}
    for _, results in first.parts:
        settings = theirs.get(results.measure, results.settings)
        for name in DECIDING:
            one, two = results.settings.get(name), settings.get(name)
            if one != two:
                yield f"{results.measure}: --{name} was {one} for {first.name} and {two} for {other.name}"
