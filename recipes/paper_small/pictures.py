"""The pictures of the report: means over the seeds as lines, each seed as a dot."""

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple

from matplotlib.figure import Figure as Canvas

from longreach.histogram import COLOURS
from recipes.paper_small.commands import Setting
from recipes.paper_small.computed import curves
from recipes.paper_small.experiments import SWITCHES
from recipes.paper_small.figures import Figures
from recipes.paper_small.gather import training_losses
from recipes.paper_small.tables import CURRICULUM_ROWS, MIX_ROWS, ROPE_ROWS, SIZE_ROWS

Points = Sequence[tuple[float, float]]
MARKERS = "os^Dv"
MANY = 30  # points from which on a line needs no markers
FITTED = ", fitted"  # ends the name of a curve that goes with the line of the name before it


class Picture(NamedTuple):
    """A PNG."""

    title: str
    png: bytes

    @property
    def url(self) -> str:
        """The picture itself, for a page that loads nothing."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def pictures(run: Setting, figures: Figures) -> dict[str, Picture]:
    """By experiment, where anything was measured."""
    return {name: picture for name, picture in _pictures(run, figures).items() if picture}


def _pictures(run: Setting, figures: Figures) -> dict[str, Picture | None]:
    long = run.scale.long
    return {
        "size": lines(_laws(figures), "tokens", "loss, nats", "Loss by context, and its power law (Fig. 1)", mark=long),
        "decay": lines(curves(), "distance", "share of the score at 0", "Decay of the score (Fig. 4)", log=False),
        "rope": by_length(figures, ROPE_ROWS, "retrieval", "ROUGE-L", "First sentence by length (Fig. 5)", long),
        "mix": by_length(figures, MIX_ROWS, "retrieval", "ROUGE-L", "First sentence by length (Fig. 7)", long),
        "curriculum": lines(
            _training(run), "tokens", "training loss, nats", "Training loss, seed 0 (Fig. 6)", log=False
        ),
        "extrapolation": by_length(
            figures, ROPE_ROWS, "loss by position", "loss, nats", "Loss by position (Fig. 8)", long, log=False
        ),
    }


def _laws(figures: Figures) -> dict[str, Points]:
    """The loss of each size, and the curve fitted to it."""
    measures = {"loss": "", "power law": FITTED}
    return {
        name + suffix: means(figures, arm, measure)
        for arm, name in SIZE_ROWS.items()
        for measure, suffix in measures.items()
    }


def means(figures: Figures, arm: str, measure: str) -> Points:
    """By length."""
    return [(at, mean.value) for at in figures.at(arm, measure) if (mean := figures.mean(arm, measure, at))]


def by_length(
    figures: Figures, rows: Mapping[str, str], measure: str, unit: str, title: str, long: int, *, log: bool = True
) -> Picture | None:
    """A line for each arm; the trained length is marked."""
    series = {name: means(figures, arm, measure) for arm, name in rows.items()}
    return lines(series, "tokens", unit, title, mark=long, log=log)


def _training(run: Setting) -> dict[str, Points]:
    """The training losses of the first seed, by tokens."""
    tokens = run.scale.scratch.batch_tokens
    return {
        CURRICULUM_ROWS[f"curriculum/{switch}"]: [
            (line["step"] * tokens, line["loss"])
            for line in training_losses(run.out / "seed-0" / "curriculum" / str(switch))
        ]
        for switch in SWITCHES
    }


def lines(
    series: Mapping[str, Points], across: str, up: str, title: str, *, mark: int = 0, log: bool = True
) -> Picture | None:
    """Drawn where there is anything to draw."""
    if not any(series.values()):
        return None
    canvas = Canvas(figsize=(7.5, 4), dpi=110, layout="constrained")
    axes = canvas.subplots()
    measured = [name for name in series if not name.endswith(FITTED)]
    for name, points in series.items():
        place, fitted = measured.index(name.removesuffix(FITTED)), name.endswith(FITTED)
        marker = MARKERS[place % len(MARKERS)] if len(points) < MANY and not fitted else ""
        how: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "marker": marker,
            "linestyle": "--" if fitted else "-",
        }
        if points:
            axes.plot([x for x, _ in points], [y for _, y in points], **how, markersize=4, label=name)
    if mark:
        axes.axvline(mark, color="black", linestyle=":", linewidth=0.9)
    if log:
        axes.set_xscale("log", base=2)
        ticks = sorted({x for points in series.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{x:,.0f}" for x in ticks], fontsize=8)
        axes.minorticks_off()
    axes.set(xlabel=across, ylabel=up)
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    buffer = BytesIO()
    canvas.savefig(buffer, format="png", metadata={"Software": None})
    return Picture(title, buffer.getvalue())
