"""A comparison in words and figures, for the terminal and for the page alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.compare.differences import NATS, Difference, Row, SideMean
from evaluation.intervals import Interval
from evaluation.results import Headline, Side


@dataclass(frozen=True)
class Change:
    """A difference as text, and whether it is clearly "better", clearly "worse", or neither ("")."""

    text: str
    kind: str


@dataclass(frozen=True)
class Line:
    """A task as it is shown."""

    task: str
    metric: str
    figures: tuple[str, ...]
    differences: tuple[Change, ...]


@dataclass(frozen=True)
class Mean:
    """The last line of a side."""

    tasks: int
    figures: tuple[str, ...]
    differences: tuple[Change, ...]


@dataclass(frozen=True)
class SideTable:
    """A side as it is shown."""

    side: Side
    rows: tuple[Line, ...]
    mean: Mean | None


def tables(rows: Sequence[Row], means: Sequence[SideMean]) -> list[SideTable]:
    """One for each side that was measured."""
    of_side = {mean.side: _mean(mean) for mean in means}
    return [
        SideTable(side, tuple(_line(row) for row in rows if row.side == side), of_side.get(side))
        for side in dict.fromkeys(row.side for row in rows)
    ]


def _line(row: Row) -> Line:
    better = 1 if row.higher_is_better else -1
    figures = tuple(_figure(figure, row.unit) for figure in row.figures)
    return Line(row.task, row.metric, figures, tuple(_change(each, better, row.unit) for each in row.differences))


def _mean(mean: SideMean) -> Mean:
    changes = (_change(Difference(*each, mean.tasks, "mean"), 1, "points") for each in mean.differences)
    return Mean(mean.tasks, tuple(f"{value:.1f}" for value in mean.values), tuple(changes))


def _figure(figure: Headline | None, unit: str) -> str:
    if figure is None:
        return "–"
    digits = _digits(unit)
    return f"{figure.value:,.{digits}f} ({figure.low:,.{digits}f}–{figure.high:,.{digits}f})"


def _change(difference: Difference | None, better: int, unit: str) -> Change:
    if difference is None:
        return Change("–", "")
    digits = _digits(unit)
    text = f"{difference.value:+,.{digits}f} ({difference.low:+,.{digits}f} to {difference.high:+,.{digits}f})"
    kind = "" if not difference.is_clear else "better" if better * difference.value > 0 else "worse"
    return Change(text, kind)


def _digits(unit: str) -> int:
    return 3 if unit == NATS else 1 if unit == "points" else 0


def fit_text(fit: dict[str, Any] | None) -> str:
    """The parameters of a power law; empty where there is none."""
    if not fit:
        return ""
    intervals = fit.get("intervals", {})
    return ", ".join(_parameter(name, fit[name], intervals.get(name)) for name in ("alpha", "beta", "gamma"))


def _parameter(name: str, value: float, interval: Sequence[float] | None) -> str:
    return f"{name} {value:.4g}" + (f" ({interval[0]:.4g} to {interval[1]:.4g})" if interval else "")


def mean_as_json(mean: SideMean) -> dict[str, Any]:
    """A side's mean as JSON takes it."""
    differences = [Interval(*each)._asdict() for each in mean.differences]
    return {"side": mean.side, "tasks": mean.tasks, "values": list(mean.values), "differences": differences}
