"""The picture of lengths: every token in its bin, every share in its bar, the same bytes each time."""

import importlib.machinery
import sys
from pathlib import Path

import numpy as np
import pytest

from longreach import histogram as module
from longreach.errors import UserError
from longreach.histogram import COLOURS, OTHERS, Axis, Panel, binned, draw, edges_of, total

EDGES = (4, 8, 16, 32, 64, 128)


def axis(line: int = 16) -> Axis:
    return Axis(EDGES, "tokens of it", line, "from here on")


def test_edges_hold_the_shortest_and_the_longest() -> None:
    assert edges_of([np.array([4, 64]), np.array([], int), np.array([63])]) == EDGES
    assert edges_of([np.array([1])]) == (1, 2)


def test_every_token_is_in_the_bin_of_its_text() -> None:
    lengths = [np.array([4, 7, 8, 64]), np.array([63, 15]), np.array([], int)]
    assert binned("abc", lengths, lengths, EDGES) == {
        "a": (11, 8, 0, 0, 64),
        "b": (0, 15, 0, 63, 0),
        "c": (0, 0, 0, 0, 0),
    }
    twice = binned("abc", lengths, [2 * each for each in lengths], EDGES)
    assert twice["a"] == (22, 16, 0, 0, 128)
    assert total(twice) == 2 * (11 + 8 + 64 + 15 + 63)


@pytest.mark.parametrize(("sources", "line"), [(1, 1), (len(COLOURS), 10**6), (len(COLOURS) + 3, 16)])
def test_the_picture_is_the_same_bytes_each_time(tmp_path: Path, sources: int, line: int) -> None:
    tokens = {f"s{place}": (place, 5, 0, 2, 1) for place in range(sources)}
    for name in ("one.png", "two.png"):
        draw(axis(line), [Panel("before", tokens), Panel("after", tokens)], tmp_path / name)
    data = (tmp_path / "one.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000
    assert data == (tmp_path / "two.png").read_bytes()


def test_the_smallest_of_many_sources_are_drawn_together() -> None:
    panel = Panel("all", {f"s{place}": (0, 0, 0, 0, 100 + place) for place in range(11)})
    axes = module.Figure().subplots()
    module._draw_panel(axes, axis(), panel, module._largest(panel.tokens))
    labels = axes.get_legend_handles_labels()[1]
    assert labels == ["s4", "s5", "s6", "s7", "s8", "s9", "s10", OTHERS]
    bars = [bar for container in axes.containers for bar in container]
    assert sum(bar.get_height() for bar in bars) == pytest.approx(1)
    assert max(bar.get_y() + bar.get_height() for bar in bars) == pytest.approx(1)  # on top of each other


@pytest.mark.parametrize(("line", "place"), [(4, 0.0), (24, 2.585), (128, 5.0), (3, None), (129, None)])
def test_the_line_stands_at_its_length_if_that_is_in_the_picture(line: int, place: float | None) -> None:
    axes = module.Figure().subplots()
    module._draw_line(axes, axis(line))
    assert [each.get_xdata()[0] for each in axes.lines] == ([] if place is None else [pytest.approx(place, abs=1e-3)])
    assert [each.get_text() for each in axes.texts] == ["from here on"] * len(axes.lines)


def test_without_matplotlib_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("matplotlib") or name == "longreach.histogram"]:
        monkeypatch.delitem(sys.modules, name)
    installed = importlib.machinery.PathFinder.find_spec
    monkeypatch.setattr(
        importlib.machinery.PathFinder,
        "find_spec",
        lambda name, *rest: None if name.startswith("matplotlib") else installed(name, *rest),
    )
    with pytest.raises(UserError, match="drawing the length histogram needs matplotlib") as raised:
        importlib.import_module("longreach.histogram")
    assert "longreach[prepare]" in raised.value.hint
