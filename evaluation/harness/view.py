"""suites.png: a bar for each task with its interval, coloured by group."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.results import Score
from longreach.errors import missing_extra
from longreach.histogram import COLOURS

try:
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise missing_extra("matplotlib", "evaluate", "evaluate") from error


def draw_suites(scores: Sequence[Score], facts: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Write the picture; `facts` name each task's suite and group."""
    groups = list(dict.fromkeys((facts[score.task]["suite"], facts[score.task]["group"]) for score in scores))
    figure = Figure(figsize=(8, 1.2 + 0.34 * len(scores)), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, score in enumerate(scores):
        group = groups.index((facts[score.task]["suite"], facts[score.task]["group"]))
        errors = [[score.value - score.low], [score.high - score.value]]
        colour = COLOURS[group % len(COLOURS)]
        axes.barh(
            place, score.value, 0.72, color=colour, xerr=errors, error_kw={"linewidth": 1, "capsize": 2}, zorder=2
        )
    axes.set_yticks(range(len(scores)), [f"{score.task} ({score.metric})" for score in scores], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *(score.low for score in scores)), max(100.0, *(score.high for score in scores)))
    axes.set_xlabel("points, with 95 % intervals")
    axes.grid(axis="x", linewidth=0.4, alpha=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="png", metadata={"Software": None})
