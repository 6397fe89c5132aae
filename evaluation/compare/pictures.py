"""The pictures of a comparison: differences with their intervals, and each task's curves by length."""

from collections.abc import Sequence
from io import BytesIO
from math import ceil

import numpy as np

from evaluation.compare.differences import POINTS, Row
from evaluation.compare.model import Model
from evaluation.results import Score
from longreach.errors import missing_extra
from longreach.histogram import COLOURS

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise missing_extra("matplotlib", "evaluate", "evaluate") from error

ACROSS = 3
LOSS = "loss"
APART = 0.03  # of a length, between the lines of two models: where they agree, one would cover the other
WIDEST = 48  # characters of a name: its end tells most of a path


def draw_differences(models: Sequence[Model], rows: Sequence[Row]) -> bytes | None:
    """Bars of what each model scores more than the first, in points; None for none."""
    shown = [row for row in rows if row.unit == POINTS and any(row.differences)]
    if not shown:
        return None
    figure = Figure(figsize=(8, 1.2 + 0.36 * len(shown) * (len(models) - 1)), dpi=130, layout="constrained")
    axes = figure.subplots()
    height = 0.8 / (len(models) - 1)
    for place, model in enumerate(models[1:]):
        found = [(line, each) for line, row in enumerate(shown) if (each := row.differences[place])]
        values = np.array([each.value for _, each in found])
        spread = np.maximum([[each.value - each.low, each.high - each.value] for _, each in found], 0).T
        axes.barh(
            [line + place * height for line, _ in found],
            values,
            height * 0.92,
            xerr=spread,
            color=COLOURS[place % len(COLOURS)],
            error_kw={"elinewidth": 0.9, "capsize": 2},
            label=_name(model.name),
        )
    axes.axvline(0, color="black", linewidth=0.9)
    axes.set_yticks([line + 0.4 - height / 2 for line in range(len(shown))], [_label(row) for row in shown], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"points more than {_name(models[0].name)}")
    axes.grid(axis="x", linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(axes)
    return _png(figure)


def _label(row: Row) -> str:
    lower = "" if row.higher_is_better else ", lower is better"
    return f"{_name(row.task)} ({row.side}{lower})"


def _name(given: str) -> str:
    """As text of a picture."""
    short = given if len(given) <= WIDEST else f"…{given[1 - WIDEST :]}"
    return short.replace("$", r"\$")


def draw_curves(models: Sequence[Model]) -> bytes | None:
    """A panel for each task that was measured at several lengths, a line for each model; None for none."""
    names = dict.fromkeys((score.task, score.metric) for model in models for score in _by_length(model))
    panels = [key for key in names if any(len(_curve(model, key)) > 1 for model in models)]
    if not panels:
        return None
    across = min(ACROSS, len(panels))
    down = ceil(len(panels) / across)
    figure = Figure(figsize=(0.6 + 3.7 * across, 0.5 + 2.7 * down), dpi=130, layout="constrained")
    all_axes = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, key in zip(all_axes, panels, strict=False):
        _draw_panel(axes, models, key)
    for axes in all_axes[len(panels) :]:
        axes.set_axis_off()
    _legend(all_axes[0])
    return _png(figure)


def _by_length(model: Model) -> list[Score]:
    """The score of each task by which it is compared, at each length."""
    compared = {(headline.task, headline.metric) for _, results in model.parts for headline in results.headline}
    return [
        score
        for _, results in model.parts
        for score in results.scores
        if score.length is not None
        and score.depth is None
        and ((score.task, score.metric) in compared or (score.task, score.metric) == (LOSS, LOSS))
    ]


def _curve(model: Model, key: tuple[str, str]) -> list[Score]:
    found = [score for score in _by_length(model) if (score.task, score.metric) == key]
    return sorted(found, key=lambda score: score.length or 0)


def _draw_panel(axes: Axes, models: Sequence[Model], key: tuple[str, str]) -> None:
    lengths: set[int] = set()
    for place, model in enumerate(models):
        scores = _curve(model, key)
        lengths |= {score.length for score in scores if score.length is not None}
        spread = np.maximum([[score.value - score.low, score.high - score.value] for score in scores] or [[0, 0]], 0).T
        shift = 1 + APART * (place - (len(models) - 1) / 2)
        axes.errorbar(
            [(score.length or 0) * shift for score in scores],
            [score.value for score in scores],
            yerr=spread if scores else None,
            color=COLOURS[place % len(COLOURS)],
            marker="os^Dv"[place % 5],
            markersize=4,
            linewidth=1.2,
            elinewidth=0.6,
            label=_name(model.name),
        )
    axes.set_xscale("log", base=2)
    ticks = sorted(lengths)
    axes.set_xticks(ticks, [f"{length:,}" for length in ticks], rotation=45, ha="right", fontsize=7)
    axes.minorticks_off()
    axes.set_title(_name(key[0]), fontsize=9)
    axes.set_ylabel("nats" if key[0] == LOSS else "points", fontsize=8)
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
