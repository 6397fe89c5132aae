"""The picture of `pretrain rope`: attention over distance as in the paper's Fig. 4, and the reach of every base.

Colours are Okabe and Ito's, told apart by any eye; curves also differ in dash, so the picture survives grey printing.
"""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from longreach.errors import missing_extra
from longreach.model.rope import NONE, Rope
from pretrain.rope.analysis import Analysis
from pretrain.rope.decay import smoothed
from pretrain.rope.reach import base_reach

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter
except ModuleNotFoundError as error:
    raise missing_extra("matplotlib", "drawing", "prepare") from error

COLOURS = ("#000000", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#56B4E9")
DASHES = ("-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), "-", (0, (3, 1.5)), (0, (8, 3)))
GREY = "#767676"
CURVE_PARTS, BASES = 72, 300
BEYOND = 4  # times the length, and times the largest base that is marked: where the picture ends


def draw(analysis: Analysis, path: Path) -> None:
    """Write the picture to `path`."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    decay, reaches = figure.subplots(1, 2)
    _draw_decay(decay, analysis)
    _draw_reach(reaches, analysis)
    for axes in (decay, reaches):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    rotary = analysis.rotary
    figure.suptitle(
        f"{rotary.name} at {analysis.seq_len:,} tokens: {rotary.dim} rotated elements a head, "
        f"base {rotary.base:,.0f}, recommended: {analysis.advice.rope}"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw_decay(axes: Any, analysis: Analysis) -> None:
    """Means over short stretches; behind RoPE as it is and the one advised, pale, all that they swing through."""
    parts = np.array_split(np.arange(len(analysis.distances)), min(CURVE_PARTS, len(analysis.distances)))
    middles = smoothed(analysis.distances.astype(float), CURVE_PARTS)
    from_zero = np.r_[0.0, middles]
    for method, colour, dash in zip(analysis.methods, cycle(COLOURS), cycle(DASHES), strict=False):
        values, rope = method.relative, method.rope
        if rope in (Rope(NONE), analysis.advice.rope):
            lows, highs = ([edge(values[part]) for part in parts] for edge in (np.min, np.max))
            axes.fill_between(middles, lows, highs, color=colour, alpha=0.1, linewidth=0)
        label = "RoPE as it is" if rope.method == NONE else str(rope)
        means = np.r_[1.0, smoothed(values, CURVE_PARTS)]
        axes.plot(from_zero, means, color=colour, linestyle=dash, linewidth=1.8, label=label)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(
        title="Attention over distance",
        xlabel="distance in tokens",
        ylabel="score, as a share of that at distance 0",
        xlim=(0, analysis.seq_len),
        ylim=(-0.35, 1.02),
    )
    axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.legend(frameon=False, title="mean; shade: least to most")


def _draw_reach(axes: Any, analysis: Analysis) -> None:
    """The reach of every base, with the length asked for and the bases that matter."""
    limit, marked = BEYOND * analysis.seq_len, _marked(analysis)
    known = [base for base, _, _ in marked]
    bases = np.geomspace(min(known) / 2, max(known) * BEYOND, BASES)
    axes.loglog(
        bases,
        [base_reach(float(base), analysis.rotary.dim, limit) or np.nan for base in bases],
        color=COLOURS[4],
        linewidth=0.5,
        marker=".",
        markersize=4,
    )
    axes.axhline(analysis.seq_len, color=COLOURS[5], linestyle=DASHES[1], linewidth=1.5)
    axes.annotate(
        f"{analysis.seq_len:,} tokens",
        (bases[0], analysis.seq_len),
        xytext=(2, 5),
        textcoords="offset points",
        color=COLOURS[5],
    )
    for base, label, marker in marked:
        reached = base_reach(base, analysis.rotary.dim, limit) or limit
        axes.plot(
            base, reached, marker, color=COLOURS[0], markersize=8, label=f"{label}: {base:,.0f}", linestyle="none"
        )
    axes.set(title="Reach of a base: a larger one may reach less", xlabel="base", ylabel="reach in tokens")
    axes.yaxis.set_major_formatter(FuncFormatter(_thousands))
    axes.legend(frameon=False, loc="lower right")


def _marked(analysis: Analysis) -> list[tuple[float, str, str]]:
    found = [(analysis.rotary.base, "as it is", "o")]
    if analysis.smallest:
        found.append((analysis.smallest, "smallest found to cover the length", "^"))
    return [*found, (analysis.advice.base, "recommended", "s")]


def _thousands(value: float, _: int) -> str:
    return f"{value:,.0f}"
