"""Tokens by the length of the text they stand in, as numbers and as a picture of stacked bars, one colour a source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from longreach.errors import missing_extra

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise missing_extra("matplotlib", "drawing the length histogram", "prepare") from error

# Of Okabe and Ito, told apart with every common kind of colour blindness; the last is for all further sources together
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
OTHERS = "others"
BLOCK = 1 << 20  # texts, so that what is worked out on the way stays small

Int64s = NDArray[np.int64]
Binned = Mapping[str, tuple[int, ...]]  # tokens by source, one number for each bin


@dataclass(frozen=True)
class Axis:
    """The bins, from each edge to the next, and the one length that is worth a line."""

    edges: tuple[int, ...]  # powers of two
    title: str
    line: int
    line_title: str

    @property
    def bins(self) -> int:
        """Their number."""
        return len(self.edges) - 1


@dataclass(frozen=True)
class Panel:
    """One part of the picture."""

    title: str
    tokens: Binned


def edges_of(lengths: Sequence[Int64s]) -> tuple[int, ...]:
    """Powers of two from the shortest to beyond the longest; bin i holds edges[i] to edges[i + 1] - 1."""
    bottom = min(int(each.min()) for each in lengths if each.size).bit_length() - 1
    top = max(int(each.max()) for each in lengths if each.size).bit_length()
    return tuple(2**power for power in range(bottom, top + 1))


def binned(
    names: Sequence[str], lengths: Sequence[Int64s], tokens: Sequence[Int64s], edges: Sequence[int]
) -> dict[str, tuple[int, ...]]:
    """The `tokens` that texts of these `lengths` give, by source and bin."""
    found = {}
    for name, each, given in zip(names, lengths, tokens, strict=True):
        sums = np.zeros(len(edges) - 1)  # in float64, exact to 2^53 tokens
        for begin in range(0, len(each), BLOCK):
            some = slice(begin, begin + BLOCK)
            places = np.searchsorted(edges, each[some], side="right") - 1
            sums += np.bincount(places, given[some], len(sums))
        found[name] = tuple(int(number) for number in sums)
    return found


def total(tokens: Binned) -> int:
    """All of them."""
    return sum(map(sum, tokens.values()))


def draw(axis: Axis, panels: Sequence[Panel], path: Path) -> None:
    """A PNG of panels side by side: the share of the tokens by length, stacked by source, coloured as in the first."""
    figure = Figure(figsize=(11, 5), dpi=130, layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    apart = _largest(panels[0].tokens)
    for each, panel in zip(axes, panels, strict=True):
        _draw_panel(each, axis, panel, apart)
    axes[0].set_ylabel("share of all tokens")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(COLOURS) // 2, frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})


def _largest(tokens: Binned) -> list[str]:
    """The sources that get a colour of their own, in their order."""
    by_size = sorted(tokens, key=lambda name: -sum(tokens[name]))
    apart = by_size if len(by_size) <= len(COLOURS) else by_size[: len(COLOURS) - 1]
    return [name for name in tokens if name in apart]


def _draw_panel(axes: Axes, axis: Axis, panel: Panel, apart: Sequence[str]) -> None:
    layers = {name: np.array(panel.tokens[name]) for name in apart}
    others = [np.array(each) for name, each in panel.tokens.items() if name not in apart]
    if others:
        layers[OTHERS] = np.sum(others, axis=0)
    middles, bottom = np.arange(axis.bins) + 0.5, np.zeros(axis.bins)
    for colour, (name, tokens) in zip(COLOURS, layers.items(), strict=False):
        shares = tokens / max(1, total(panel.tokens))
        axes.bar(middles, shares, 0.92, bottom, color=colour, edgecolor="white", linewidth=0.5, label=name, zorder=2)
        bottom += shares
    axes.set_title(panel.title, loc="left", fontsize=11)
    axes.set_xticks(range(len(axis.edges)), [f"{edge:,}" for edge in axis.edges], rotation=45, ha="right", fontsize=8)
    axes.set_xlabel(axis.title)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    _draw_line(axes, axis)


def _draw_line(axes: Axes, axis: Axis) -> None:
    """The line, if it is in the picture."""
    place = float(np.log2(axis.line / axis.edges[0]))
    if not 0 <= place <= axis.bins:
        return
    axes.axvline(place, color="black", linestyle="--", linewidth=1.2, zorder=3)
    right = place < 0.7 * axis.bins  # of the line is where there is room for the words
    axes.annotate(
        axis.line_title,
        (place, 1),
        (4 if right else -4, -2),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
