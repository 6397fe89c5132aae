"""qa.png: what is answered by depth of the evidence and by length of the prompt, and without the document."""

from collections.abc import Callable, Sequence
from math import log2
from pathlib import Path

from evaluation.results import Headline, Score
from longreach.errors import missing_extra
from longreach.histogram import COLOURS

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise missing_extra("matplotlib", "evaluate", "evaluate") from error

Place = Callable[[Score], float | None]  # on the axis of a panel
APART = 0.012  # of the axis, between the lines of two tasks: intervals would cover each other


def draw(scores: Sequence[Score], headline: Sequence[Headline], closed: str, path: Path) -> None:
    """Each task by its headline's metric; what it has with `closed` before its name, dashed, in the same colour."""
    figure = Figure(figsize=(11, 4.8), dpi=130, layout="constrained")
    panels = [place for place in (_by_depth, _by_length) if any(place(each) is not None for each in scores)]
    for axes, place in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        for number, task in enumerate(headline):
            for name, style in ((task.task, "-"), (closed + task.task, "--")):
                found = [each for each in scores if (each.task, each.metric) == (name, task.metric)]
                _draw_line(axes, found, place, f"{name} ({task.metric})", number, style)
        _label(axes, scores, place)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, format="png", metadata={"Software": None})


def _by_depth(score: Score) -> float | None:
    return score.depth


def _by_length(score: Score) -> float | None:
    """On a logarithmic axis, one apart for each doubling."""
    return log2(score.length) if score.length else None


def _draw_line(axes: Axes, scores: Sequence[Score], place: Place, label: str, number: int, style: str) -> None:
    """Points with their intervals, joined; the task of each `number` a little to the right of the one before."""
    placed = ((where, each) for each in scores if (where := place(each)) is not None)
    found = sorted(placed, key=lambda point: point[0])
    if not found:
        return
    spread = [[each.value - each.low for _, each in found], [each.high - each.value for _, each in found]]
    shift = number * APART * (1 if place is _by_depth else max(1.0, found[-1][0] - found[0][0]))
    axes.errorbar(
        [where + shift for where, _ in found],
        [each.value for _, each in found],
        spread,
        color=COLOURS[number % len(COLOURS)],
        linestyle=style,
        marker="o",
        markersize=4,
        capsize=2.5,
        linewidth=1.4,
        label=label,
    )


def _label(axes: Axes, scores: Sequence[Score], place: Place) -> None:
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(ylim=(-2, 102), ylabel="points")
    axes.label_outer()
    if place is _by_depth:
        axes.set(title="by depth of the evidence", xlabel="place in the document", xlim=(0, 1))
        return
    lengths = sorted({each.length for each in scores if each.length})
    axes.set(title="by length", xlabel="tokens of the prompt, at most")
    axes.set_xticks([log2(length) for length in lengths], [f"{length:,}" for length in lengths])
