"""Lengths of a corpus and of its mix: every token in its bin, and what the picture is told."""

import json
from pathlib import Path

import numpy as np
import pytest

from longreach.histogram import Axis, Panel, total
from pretrain import histogram as module
from pretrain.histogram import draw, histogram
from pretrain.mixplan import Stock, make_plan
from pretrain.sources import SourceSpec
from pretrain.upsample import Mix


def stocks_of(**sources: list[int]) -> list[Stock]:
    return [Stock(SourceSpec(name, ("x",)), np.array(lengths)) for name, lengths in sources.items()]


def test_every_token_is_in_the_bin_of_its_document() -> None:
    stocks = stocks_of(a=[4, 7, 8, 0, 64], b=[63, 15])
    bins = histogram(stocks, make_plan(stocks, Mix(long_tokens=16, upsample_long=2.0, tokens=195)))
    assert bins.edges == (4, 8, 16, 32, 64, 128)
    assert bins.before.tokens == {"a": (11, 8, 0, 0, 64), "b": (0, 15, 0, 63, 0)}
    assert bins.before.long_share == pytest.approx((64 + 63) / 161)
    assert total(bins.before.tokens) == 161


def test_after_counts_copies_and_before_what_is_to_be_had() -> None:
    stocks = [Stock(SourceSpec("a", ("x",)), np.array([10, 100, 1_000]), np.array([1.0, 0.0, 1.0]))]
    bins = histogram(stocks, make_plan(stocks, Mix(long_tokens=1_000, long_share=2_000 / 2_030, tokens=2_030)))
    assert bins.edges[0] == 8
    assert bins.before.tokens["a"] == (10, 0, 0, 0, 0, 0, 1_000)
    assert bins.after.tokens["a"] == (30, 0, 0, 0, 0, 0, 2_000)
    assert bins.after.long_share == pytest.approx(2_000 / 2_030)
    assert json.loads(json.dumps(bins.as_json()))["after"]["tokens"]["a"][0] == 30


def test_a_source_without_documents_has_empty_bins() -> None:
    stocks = stocks_of(a=[5], b=[])
    bins = histogram(stocks, make_plan(stocks, Mix(long_tokens=9)))
    assert bins.edges == (4, 8)
    assert bins.before.tokens == {"a": (5,), "b": (0,)}


def test_the_picture_says_how_much_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Axis, list[Panel], Path]] = []
    monkeypatch.setattr(module, "draw_panels", lambda *given: drawn.append(given))
    stocks = stocks_of(a=[10, 1_000])
    bins = histogram(stocks, make_plan(stocks, Mix(long_tokens=1_000, upsample_long=2.0, tokens=1_000 + 1_010)))
    draw(bins, tmp_path / "lengths.png")
    ((axis, panels, path),) = drawn
    assert (axis.edges, axis.line, path) == (bins.edges, 1_000, tmp_path / "lengths.png")
    assert [panel.tokens for panel in panels] == [bins.before.tokens, bins.after.tokens]
    assert panels[0].title == "the corpus: 1,010 tokens, 99.0% of them long"
    assert panels[1].title.startswith("the mix: ")
