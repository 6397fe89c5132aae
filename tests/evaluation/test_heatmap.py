"""The pictures of retrieval: no empty panels, lines apart, names as they are."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from evaluation.heatmap import draw_curves, draw_heatmaps
from evaluation.results import Score


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is saved."""
    saved: list[Any] = []
    save = Figure.savefig

    def keep(figure: Any, *given: Any, **more: Any) -> None:
        saved.append(figure)
        save(figure, *given, **more)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def scores(tasks: int) -> list[Score]:
    """All 50 points, at two lengths and depths."""
    return [
        Score(f"task {number}", "score", length, depth, 4, 50, 40, 60)
        for number in range(tasks)
        for length in (256, 512)
        for depth in (None, 0.0, 1.0)
    ]


@pytest.mark.parametrize(("tasks", "panels"), [(1, 1), (3, 3), (5, 6), (7, 9)])
def test_panels_without_a_task_are_blank(figures: list[Any], tmp_path: Path, tasks: int, panels: int) -> None:
    draw_heatmaps(scores(tasks), tmp_path / "map.png")
    maps = [axes for axes in figures[0].axes if axes.get_label() != "<colorbar>"]
    assert len(maps) == panels
    assert [axes.axison for axes in maps] == [True] * tasks + [False] * (panels - tasks)


def test_the_lines_of_tasks_do_not_cover_each_other(figures: list[Any], tmp_path: Path) -> None:
    draw_curves(scores(5), 85.6, 256, "of $x^ and <b>", tmp_path / "curves.png")
    [axes] = figures[0].axes
    starts = [container.lines[0].get_xdata()[0] for container in axes.containers]
    assert len(set(starts)) == 5 and all(abs(start - 256) < 256 * 0.05 for start in starts)
    assert axes.get_title() == "of $x^ and <b>"
