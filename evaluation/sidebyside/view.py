"""sidebyside.png: wins, ties and losses as one bar for each kind of voter."""

from collections.abc import Sequence
from pathlib import Path

from evaluation.sidebyside.tally import OUTCOMES, Opinion
from longreach.errors import missing_extra
from longreach.histogram import COLOURS

try:
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise missing_extra("matplotlib", "evaluate", "evaluate") from error

OF_OUTCOME = dict(zip(OUTCOMES, (COLOURS[0], COLOURS[7], COLOURS[1]), strict=True))
ENOUGH = 9  # points of a bar that hold its figure


def draw(opinions: Sequence[Opinion], names: tuple[str, str], path: Path) -> None:
    """A PNG; intervals stand as numbers in the bars."""
    figure = Figure(figsize=(10, 1.4 + 0.7 * len(opinions)), dpi=130, layout="constrained")
    axes = figure.subplots()
    for row, each in enumerate(opinions):
        begin = 0.0
        for metric, found in each.intervals().items():
            axes.barh(row, found.value, left=begin, color=OF_OUTCOME[metric], label=metric if row == 0 else None)
            if found.value >= ENOUGH:
                ink = "white" if metric == OUTCOMES[0] else "black"  # on blue, on grey and orange
                words = f"{found.value:.1f}\n{found.low:.1f}–{found.high:.1f}"
                axes.text(begin + found.value / 2, row, words, ha="center", va="center", fontsize=8, color=ink)
            begin += found.value
    axes.set_yticks(range(len(opinions)), [f"{each.voter} ({len(each.examples):,})" for each in opinions])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the examples")
    axes.set_title(" against ".join(names).replace("$", r"\$"), loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(OUTCOMES), frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})
