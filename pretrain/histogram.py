"""Lengths before and after the mix, as numbers and as a picture: where upsampling moves the tokens."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longreach.histogram import Axis, Binned, Panel, binned, edges_of, total
from longreach.histogram import draw as draw_panels
from pretrain.mixplan import Plan, Stock
from pretrain.upsample import Int64s


@dataclass(frozen=True)
class Lengths:
    """Tokens by source and by length of their documents."""

    tokens: Binned
    long_share: float  # of all tokens


@dataclass(frozen=True)
class Histogram:
    """The lengths of a corpus and of its mix; bin i has the documents of edges[i] to edges[i + 1] - 1 tokens."""

    edges: tuple[int, ...]
    long_tokens: int
    before: Lengths  # each document once
    after: Lengths  # as often as the mix takes it

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def histogram(stocks: Sequence[Stock], plan: Plan) -> Histogram:
    """The bins from the shortest document to be had to the longest."""
    long_tokens, names = plan.mix.long_tokens, [stock.source.name for stock in stocks]
    had = [np.logical_or(*stock.members(long_tokens)) for stock in stocks]
    lengths = [stock.lengths[documents] for stock, documents in zip(stocks, had, strict=True)]
    taken = [each * times[documents] for each, times, documents in zip(lengths, plan.copies, had, strict=True)]
    edges = edges_of(lengths)

    def counted(tokens: Sequence[Int64s]) -> Lengths:
        long = sum(int(given[each >= long_tokens].sum()) for each, given in zip(lengths, tokens, strict=True))
        bins = binned(names, lengths, tokens, edges)
        return Lengths(bins, long / max(1, total(bins)))

    return Histogram(edges, long_tokens, counted(lengths), counted(taken))


def draw(bins: Histogram, path: Path) -> None:
    """A PNG of two panels, before and after, and a line where long documents begin."""
    axis = Axis(bins.edges, "tokens of the document", bins.long_tokens, f"long: {bins.long_tokens:,} and more")
    panels = [_panel("the corpus", bins.before), _panel("the mix", bins.after)]
    draw_panels(axis, panels, path)


def _panel(name: str, lengths: Lengths) -> Panel:
    title = f"{name}: {total(lengths.tokens):,} tokens, {lengths.long_share:.1%} of them long"
    return Panel(title, lengths.tokens)
