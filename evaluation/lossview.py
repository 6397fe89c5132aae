"""What the loss looks like: one picture of the lengths with their power law, one of the positions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluation.intervals import Interval
from evaluation.powerlaw import PowerLaw
from evaluation.verdict import Verdict
from longreach.histogram import COLOURS

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, ScalarFormatter
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    from longreach.errors import missing_extra

    raise missing_extra("matplotlib", "evaluate", "evaluate") from error

BY_LENGTH, BY_POSITION = "loss_by_length.png", "loss_by_position.png"
MEASURED, FITTED, FLOOR, MARK = COLOURS[0], COLOURS[5], COLOURS[2], "black"


@dataclass(frozen=True, slots=True)
class Bin:
    """The loss of the tokens that have `first` to `last` others before them."""

    first: int
    last: int
    loss: Interval


def perplexity(loss: float) -> float:
    """Of a loss in nats."""
    return math.exp(min(loss, 99))


def draw(verdict: Verdict, bins: Sequence[Bin], folder: Path) -> None:
    """Both pictures."""
    draw_by_length(verdict, folder / BY_LENGTH)
    draw_by_position(bins, verdict.window, folder / BY_POSITION)


def draw_by_length(verdict: Verdict, path: Path) -> None:
    """Points with intervals, the curve that was fitted to them, and the loss that no context goes below."""
    figure, axes = _figure("Loss of the same tokens, by how much stands before them")
    low, high = _around(verdict.losses)
    values = [mean.value for mean in verdict.losses]
    axes.errorbar(verdict.lengths, values, (low, high), fmt="o", color=MEASURED, capsize=3, label="measured", zorder=3)
    if isinstance(verdict.law, PowerLaw):
        _draw_law(axes, verdict, verdict.law)
    _draw_window(axes, verdict.window, verdict.lengths[0], verdict.lengths[-1])
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(verdict.lengths, [f"{length:,}" for length in verdict.lengths])
    axes.yaxis.set_major_locator(MaxNLocator(7))
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.minorticks_off()
    _finish(figure, axes, path, "context, tokens")


def draw_by_position(bins: Sequence[Bin], window: int, path: Path) -> None:
    """The mean of each bin of positions, and a band of its intervals."""
    figure, axes = _figure("Loss by position, whole windows read at once")
    middles = [(each.first + each.last) / 2 for each in bins]
    losses = [each.loss for each in bins]
    axes.plot(middles, [loss.value for loss in losses], color=MEASURED, linewidth=1.5, label="measured")
    band = [loss.low for loss in losses], [loss.high for loss in losses]
    axes.fill_between(middles, *band, color=MEASURED, alpha=0.2, linewidth=0)
    _draw_window(axes, window, 0, bins[-1].last + 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _finish(figure, axes, path, "tokens before")


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), dpi=130, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    return figure, axes


def _around(means: Sequence[Interval]) -> tuple[list[float], list[float]]:
    """How far the intervals reach below and above their means."""
    return [mean.value - mean.low for mean in means], [mean.high - mean.value for mean in means]


def _draw_law(axes: Axes, verdict: Verdict, law: PowerLaw) -> None:
    """The curve, dotted where it was not fitted, and its floor."""
    for first, last, style in (
        (verdict.lengths[0], verdict.holds_to, "-"),
        (verdict.holds_to, verdict.lengths[-1], ":"),
    ):
        if first < last:
            lengths = np.geomspace(first, last, 100)
            label = f"({law.alpha.value:.3g}/c)^{law.beta.value:.3g} + {law.gamma.value:.4g}" if style == "-" else None
            axes.plot(lengths, [law.at(length).value for length in lengths], style, color=FITTED, label=label)
    axes.axhline(law.gamma.value, color=FLOOR, linestyle="--", linewidth=1, label=f"gamma {law.gamma.value:.4g}")


def _draw_window(axes: Axes, window: int, first: int, last: int) -> None:
    """Where the config's window ends, if that is in the picture."""
    if first <= window <= last:
        axes.axvline(window, color=MARK, linestyle="--", linewidth=1.2, label=f"window {window:,}")


def _finish(figure: Figure, axes: Axes, path: Path, title: str) -> None:
    axes.set_xlabel(title)
    axes.set_ylabel("loss, nats a token")
    axes.grid(linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})
