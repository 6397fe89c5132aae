"""Length histograms: every token in its bin, and a picture that can be looked at."""

import importlib.machinery
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from longreach.errors import UserError
from pretrain import histogram as module
from pretrain.histogram import COLOURS, OTHERS, draw, histogram
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
    assert bins.before.total == 161


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


@pytest.mark.parametrize(("sources", "long_tokens"), [(1, 1), (len(COLOURS), 10**6), (len(COLOURS) + 3, 3_000)])
def test_the_picture_is_the_same_bytes_each_time(tmp_path: Path, sources: int, long_tokens: int) -> None:
    lengths = np.random.default_rng(0).lognormal(7, 1.5, (sources, 200)).astype(int) + 1
    stocks = stocks_of(**{f"s{place}": each.tolist() for place, each in enumerate(lengths)})
    bins = histogram(stocks, make_plan(stocks, Mix(long_tokens=long_tokens, upsample_long=4.0)))
    for name in ("one.png", "two.png"):
        draw(bins, tmp_path / name)
    data = (tmp_path / "one.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000
    assert data == (tmp_path / "two.png").read_bytes()


def test_the_smallest_of_many_sources_are_drawn_together() -> None:
    stocks = stocks_of(**{f"s{place}": [100 + place] for place in range(11)})
    bins = histogram(stocks, make_plan(stocks, Mix(long_tokens=500)))
    axes = module.Figure().subplots()
    module._panel(axes, bins, bins.before, module._largest(bins.before), "all")
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["s4", "s5", "s6", "s7", "s8", "s9", "s10", OTHERS]
    bars = [bar for container in axes.containers for bar in container]
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    assert max(bar.get_y() + bar.get_height() for bar in bars) == pytest.approx(1)  # on top of each other


def test_without_matplotlib_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib") or name == "pretrain.histogram"]:
        monkeypatch.delitem(sys.modules, name)
    installed = importlib.machinery.PathFinder.find_spec
    monkeypatch.setattr(
        importlib.machinery.PathFinder,
        "find_spec",
        lambda name, *rest: None if name.startswith("matplotlib") else installed(name, *rest),
    )
    with pytest.raises(UserError, match="drawing the length histogram needs matplotlib") as raised:
        importlib.import_module("pretrain.histogram")
    assert "longreach[prepare]" in raised.value.hint
