"""Retrieval as pictures: the score of each task by length (the paper's Fig. 5), and by length and depth."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

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

CURVES, HEATMAP = "retrieval.png", "heatmap.png"
MARKS = "osD^vP*Xh"
ACROSS = 3  # heat maps side by side
APART = 0.012  # of a length, between the lines of two tasks: intervals would cover each other


def draw_curves(scores: Sequence[Score], threshold: float, effective: float, title: str, path: Path) -> None:
    """One line for each task, with its intervals, the threshold and the effective length."""
    figure = Figure(figsize=(8, 4.8), dpi=130, layout="constrained")
    axes = figure.subplots()
    overall = [score for score in scores if score.depth is None and score.length is not None]
    lengths = sorted({score.length for score in overall if score.length is not None})
    tasks = list(dict.fromkeys(score.task for score in overall))
    for number, task in enumerate(tasks):
        shift = 1 + APART * (number - (len(tasks) - 1) / 2)
        _draw_curve(axes, [score for score in overall if score.task == task], number, shift)
    axes.axhline(threshold, color="black", linewidth=0.8, linestyle="--")
    axes.annotate(f"{threshold:g}", (lengths[0], threshold), (0, 2), textcoords="offset points", fontsize=8)
    if effective:
        axes.axvline(effective, color="black", linewidth=0.8, linestyle=":")
    axes.set_title(title, parse_math=False)
    axes.set(xlabel="tokens, prompt and answer", ylabel="points", xscale="log", ylim=(-3, 103))
    axes.set_xticks(lengths, [f"{length:,}" for length in lengths], rotation=45, ha="right")
    axes.minorticks_off()
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw_curve(axes: Axes, scores: Sequence[Score], number: int, shift: float) -> None:
    ordered = sorted(scores, key=lambda score: score.length or 0)
    values = [score.value for score in ordered]
    spread = [[score.value - score.low for score in ordered], [score.high - score.value for score in ordered]]
    axes.errorbar(
        [(score.length or 0) * shift for score in ordered],
        values,
        yerr=np.maximum(spread, 0),
        color=COLOURS[number % len(COLOURS)],
        marker=MARKS[number % len(MARKS)],
        markersize=4,
        linewidth=1.2,
        elinewidth=0.6,
        label=ordered[0].task,
    )


def draw_heatmaps(scores: Sequence[Score], path: Path) -> None:
    """One map for each task that has depths; nothing where none has."""
    tasks = list(dict.fromkeys(score.task for score in scores if score.depth is not None))
    if not tasks:
        return
    across = min(ACROSS, len(tasks))
    down = ceil(len(tasks) / across)
    figure = Figure(figsize=(1.5 + 3.6 * across, 0.8 + 2.8 * down), dpi=130, layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, task in zip(panels, tasks, strict=False):
        image = _draw_map(axes, task, {(each.length, each.depth): each.value for each in scores if each.task == task})
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    figure.colorbar(image, ax=figure.axes, label="points", shrink=0.7)
    figure.savefig(path, format="png", metadata={"Software": None})


def _draw_map(axes: Axes, task: str, values: Mapping[tuple[int | None, float | None], float]) -> Any:
    lengths = sorted({length for length, depth in values if length is not None and depth is not None})
    depths = sorted({depth for length, depth in values if length is not None and depth is not None})
    points = np.array([[values.get((length, depth), np.nan) for length in lengths] for depth in depths])
    image = axes.imshow(points, vmin=0, vmax=100, cmap="cividis", aspect="auto")
    axes.set_title(task, fontsize=10)
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(len(depths)), [f"{depth:.0%}" for depth in depths], fontsize=7)
    axes.set(xlabel="tokens", ylabel="depth")
    for (row, column), value in np.ndenumerate(points):
        if not np.isnan(value):
            shade = "white" if value < 60 else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=shade)
    return image
