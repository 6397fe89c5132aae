"""Lengths before and after the mix, as numbers and as a picture: where upsampling moves the tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longreach.errors import missing_extra
from pretrain.mixplan import Plan, Stock
from pretrain.upsample import Int64s

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


@dataclass(frozen=True)
class Lengths:
    """Tokens by source and by length of their documents."""

    tokens: Mapping[str, tuple[int, ...]]  # by source, one number for each bin
    long_share: float  # of all tokens

    @property
    def total(self) -> int:
        """All tokens."""
        return sum(map(sum, self.tokens.values()))


@dataclass(frozen=True)
class Histogram:
    """The lengths of a corpus and of its mix; bin i has the documents of edges[i] to edges[i + 1] - 1 tokens."""

    edges: tuple[int, ...]  # powers of two
    long_tokens: int
    before: Lengths  # each document once
    after: Lengths  # as often as the mix takes it

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def histogram(stocks: Sequence[Stock], plan: Plan) -> Histogram:
    """The bins from the shortest document to be had to the longest."""
    long_tokens = plan.mix.long_tokens
    had = [np.concatenate(stock.members(long_tokens)) for stock in stocks]
    lengths = [stock.lengths[documents] for stock, documents in zip(stocks, had, strict=True)]
    bottom = min(int(each.min()) for each in lengths if each.size).bit_length() - 1
    top = max(int(each.max()) for each in lengths if each.size).bit_length()
    edges = tuple(2**power for power in range(bottom, top + 1))
    copies = [taken[documents].astype(np.int64) for taken, documents in zip(plan.copies, had, strict=True)]
    names = [stock.source.name for stock in stocks]
    before = _lengths(names, lengths, lengths, edges, long_tokens)
    after = _lengths(
        names, lengths, [each * taken for each, taken in zip(lengths, copies, strict=True)], edges, long_tokens
    )
    return Histogram(edges, long_tokens, before, after)


def _lengths(
    names: Sequence[str], lengths: Sequence[Int64s], tokens: Sequence[Int64s], edges: Sequence[int], long_tokens: int
) -> Lengths:
    """The `tokens` that documents of these `lengths` give, by source and bin."""
    binned, long = {}, 0
    for name, each, given in zip(names, lengths, tokens, strict=True):
        places = np.searchsorted(edges, each, side="right") - 1
        sums = np.bincount(places, given, len(edges) - 1)  # in float64, exact to 2^53 tokens
        binned[name] = tuple(int(number) for number in sums)
        long += int(given[each >= long_tokens].sum())
    return Lengths(binned, long / max(1, sum(map(sum, binned.values()))))


def draw(bins: Histogram, path: Path) -> None:
    """A PNG of two panels, before and after: the share of the tokens by length, stacked by source."""
    figure = Figure(figsize=(11, 5), dpi=130, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    apart = _largest(bins.before)
    _panel(axes[0], bins, bins.before, apart, "the corpus")
    _panel(axes[1], bins, bins.after, apart, "the mix")
    axes[0].set_ylabel("share of all tokens")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(COLOURS) // 2, frameon=False)
    figure.savefig(path, format="png", metadata={"Software": None})


def _largest(lengths: Lengths) -> list[str]:
    """The sources that get a colour of their own, in their order."""
    by_size = sorted(lengths.tokens, key=lambda name: -sum(lengths.tokens[name]))
    apart = by_size if len(by_size) <= len(COLOURS) else by_size[: len(COLOURS) - 1]
    return [name for name in lengths.tokens if name in apart]


def _panel(axes: Axes, bins: Histogram, lengths: Lengths, apart: Sequence[str], title: str) -> None:
    layers = {name: np.array(lengths.tokens[name]) for name in apart}
    others = [np.array(each) for name, each in lengths.tokens.items() if name not in apart]
    if others:
        layers[OTHERS] = np.sum(others, axis=0)
    middles, bottom = np.arange(len(bins.edges) - 1) + 0.5, np.zeros(len(bins.edges) - 1)
    for colour, (name, tokens) in zip(COLOURS, layers.items(), strict=False):
        shares = tokens / max(1, lengths.total)
        axes.bar(middles, shares, 0.92, bottom, color=colour, edgecolor="white", linewidth=0.5, label=name, zorder=2)
        bottom += shares
    axes.set_title(f"{title}: {lengths.total:,} tokens, {lengths.long_share:.1%} of them long", loc="left", fontsize=11)
    axes.set_xticks(range(len(bins.edges)), [f"{edge:,}" for edge in bins.edges], rotation=45, ha="right", fontsize=8)
    axes.set_xlabel("tokens of the document")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    axes.grid(axis="y", linewidth=0.4, alpha=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    _mark_long(axes, bins)


def _mark_long(axes: Axes, bins: Histogram) -> None:
    """A line where long documents begin, if that is in the picture."""
    place = float(np.log2(bins.long_tokens / bins.edges[0]))
    if not 0 <= place <= len(bins.edges) - 1:
        return
    axes.axvline(place, color="black", linestyle="--", linewidth=1.2, zorder=3)
    right = place < 0.7 * (len(bins.edges) - 1)  # of the line is where there is room for the words
    axes.annotate(
        f"long: {bins.long_tokens:,} and more",
        (place, 1),
        (4 if right else -4, -2),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )
