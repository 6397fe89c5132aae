"""Comparing results: known differences come out, pairs only of equal questions, the gate both ways, nothing unescaped."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from evaluation.cli import main
from evaluation.compare.run import FIGURES, PAGE, compare_results
from evaluation.config import CompareSettings
from evaluation.results import PREDICTIONS, Headline, Results, Score, Side
from evaluation.sample import Prediction
from longreach.errors import UserError
from longreach.jsonl import LineWriter

Points = Mapping[str, Sequence[float]]


@pytest.fixture
def result(tmp_path: Path) -> Callable[..., Path]:
    """result(folder, side, {task: points of each sample}) -> a result folder."""

    def write(
        name: str,
        side: Side,
        tasks: Points,
        *,
        prompt: str = "same",
        unit: str = "points",
        lower: bool = False,
        **given: Any,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        headlines = [
            Headline(task, "score", side, not lower, unit, len(each), sum(each) / len(each), min(each), max(each))
            for task, each in tasks.items()
        ]
        scores = [
            Score(task, "score", 256 * 2**n, None, 1, x, x, x)
            for task, each in tasks.items()
            for n, x in enumerate(each)
        ]
        facts = {"measure": f"{side} tasks", "model": given.pop("model", name), "settings": given.pop("settings", {})}
        Results(scores=scores, headline=headlines, **facts, **given).write(folder)
        with LineWriter(folder / PREDICTIONS) as file:
            for task, each in tasks.items():
                for number, points in enumerate(each):
                    row = Prediction(
                        f"{task}/{number}", task, "", {"score": points}, prompt_sha256=f"{prompt} {task} {number}"
                    )
                    file.write(row.as_row())
            file.publish()
        return folder

    return write


def compared(*folders: Path, out: Path | None = None, capsys: Any = None, **given: Any) -> tuple[int, dict[str, Any]]:
    status = compare_results(folders, CompareSettings(out=str(out or ""), **given), as_json=True)
    return status, json.loads(capsys.readouterr().out)


def test_known_differences_come_out_paired(result: Any, capsys: Any) -> None:
    a = result("a", "long", {"find": [0, 100, 50, 20], "count": [10, 20, 30, 40]})
    b = result("b", "long", {"find": [10, 110, 60, 30], "count": [10, 20, 30, 40]})
    status, found = compared(a, b, capsys=capsys)
    assert status == 0
    by_task = {row["task"]: row["differences"][0] for row in found["rows"]}
    assert by_task["find"] == {
        "value": 10.0,
        "low": 10.0,
        "high": 10.0,
        "n": 4,
        "how": "paired",
    }  # the spread falls out
    assert by_task["count"]["value"] == 0
    [mean] = found["means"]
    assert (mean["side"], mean["tasks"], mean["values"]) == ("long", 2, [33.75, 38.75])
    assert mean["differences"][0]["value"] == 5.0
    assert found["warnings"] == []


def test_other_questions_are_not_paired_and_it_is_said(result: Any, capsys: Any) -> None:
    a = result("a", "long", {"find": [0, 100, 50, 20]}, settings={"seed": 0, "docs": ["x"]})
    b = result("b", "long", {"find": [10, 110, 60, 30]}, prompt="other", settings={"seed": 1, "docs": ["x"]})
    _, found = compared(a, b, capsys=capsys)
    difference = found["rows"][0]["differences"][0]
    assert difference["how"] == "unpaired"
    assert difference["low"] < 0 < difference["value"] == 10 < difference["high"]
    assert (
        "long tasks: asked in other words or of other text, so that the samples are not paired: find"
        in found["warnings"]
    )
    assert any("--seed was 0 for a and 1 for b" in each for each in found["warnings"])


def test_tasks_of_one_model_alone_are_listed_and_in_no_mean(result: Any, capsys: Any) -> None:
    a = result("a", "long", {"find": [50, 60], "only": [0, 0]})
    b = result("b", "long", {"find": [50, 60]})
    _, found = compared(a, b, capsys=capsys)
    assert {row["task"]: row["differences"] for row in found["rows"]}["only"] == [None]
    assert found["means"][0]["tasks"] == 1
    assert "long tasks: not measured on b: only" in found["warnings"]


def test_three_models_and_panels_and_lower_is_better(result: Any, tmp_path: Path, capsys: Any) -> None:
    for name, points in (("a", [50.0, 52.0]), ("b", [60.0, 62.0]), ("c", [40.0, 42.0])):
        result(f"{name}/long", "long", {"find": points}, model=name)
        result(f"{name}/short", "short", {"toxic": points}, lower=True, model=name)
    out = tmp_path / "page"
    status, found = compared(*(tmp_path / name for name in "abc"), out=out, capsys=capsys)
    assert status == 0
    assert [model["name"] for model in found["models"]] == ["a", "b", "c"]
    means = {mean["side"]: [each["value"] for each in mean["differences"]] for mean in found["means"]}
    assert means == {"long": [10.0, -10.0], "short": [-10.0, 10.0]}
    assert json.loads((out / FIGURES).read_text()) == found
    page = (out / PAGE).read_text()
    assert page.count("data:image/png;base64,") == 2
    assert 'class="figure better"' in page and 'class="figure worse"' in page


@pytest.mark.parametrize(
    ("long", "short", "expected"),
    [
        ((50, 60), (50, 50), 0),
        ((50, 60), (50, 49.5), 0),
        ((50, 60), (50, 48), 4),
        ((50, 50), (50, 60), 4),
        ((50, 40), (50, 50), 4),
    ],
)
def test_the_gate(result: Any, tmp_path: Path, capsys: Any, long: Any, short: Any, expected: int) -> None:
    for place, name in enumerate("ab"):
        result(f"{name}/long", "long", {"find": [long[place], long[place]]})
        result(f"{name}/short", "short", {"mmlu": [short[place], short[place]]})
    status, found = compared(tmp_path / "a", tmp_path / "b", gate=True, capsys=capsys)
    assert status == expected
    assert found["gates"][0]["open"] == (expected == 0)


def test_a_gate_on_loss_and_one_that_lacks_a_side(result: Any, tmp_path: Path, capsys: Any) -> None:
    for name, loss in (("a", 2.5), ("b", 2.4), ("c", 2.6)):
        result(f"{name}/long", "long", {"loss": [loss, loss]}, unit="nats", lower=True)
        result(f"{name}/short", "short", {"mmlu": [50, 50]})
    status, found = compared(*(tmp_path / name for name in "abc"), gate=True, names=("a", "b", "c"), capsys=capsys)
    assert status == 4
    assert [gate["open"] for gate in found["gates"]] == [True, False]
    with pytest.raises(UserError, match="no short task was measured"):
        compared(tmp_path / "a/long", tmp_path / "b/long", gate=True, capsys=capsys)


def test_nothing_of_the_results_is_markup(result: Any, tmp_path: Path, capsys: Any) -> None:
    bad = "<script>alert(1)</script>\"'><img src=x>"
    for name in "ab":
        result(
            name, "long", {bad: [1, 2], "$x$": [3, 4]}, model=bad + name, notes=[bad], settings={"docs": [bad, name]}
        )
    compared(tmp_path / "a", tmp_path / "b", out=tmp_path / "page", capsys=capsys)
    page = (tmp_path / "page" / PAGE).read_text()
    assert "<script" not in page and "<img src=x" not in page
    assert "&lt;script&gt;" in page
    assert re.search(r"default-src &#39;none&#39;|default-src 'none'", page)


def test_names_that_look_like_markup_of_the_terminal_stay_as_they_are(result: Any, tmp_path: Path) -> None:
    from click.testing import CliRunner

    folders = [str(result(name, "long", {"find": [1, 2], "[/b]": [1, 2]}, model="m")) for name in "ab"]
    done = CliRunner().invoke(main, ["compare", *folders, "--names", "[red]a,b[/c]"])
    assert done.exit_code == 0, done.output
    assert "[red]a" in done.stdout and "Δ b[/c]" in done.stdout and "[/b]" in done.stdout


def test_names(result: Any, tmp_path: Path, capsys: Any) -> None:
    folders = [result(name, "long", {"find": [1, 2]}, model="m") for name in "ab"]
    _, found = compared(*folders, capsys=capsys)
    assert len({model["name"] for model in found["models"]}) == 2
    for names, problem in ((("x",), "1 names for 2"), (("x", "x"), "one name")):
        with pytest.raises(UserError, match=problem):
            compared(*folders, names=names, capsys=capsys)
    with pytest.raises(UserError, match="nothing to compare"):
        compared(folders[0], capsys=capsys)
    with pytest.raises(UserError, match="holds no results"):
        compared(folders[0], tmp_path, tmp_path / "nowhere", capsys=capsys)


def test_the_command_exits_with_the_gate(result: Any, tmp_path: Path) -> None:
    from click.testing import CliRunner

    for place, name in enumerate("ab"):
        result(f"{name}/long", "long", {"find": [50 - place, 50]}, model=name)
        result(f"{name}/short", "short", {"mmlu": [50, 50]}, model=name)
    done = CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--gate"])
    assert done.exit_code == 4, done.output
    assert "gate of b: closed: the long side falls by 0.5 points" in done.stdout
    assert CliRunner().invoke(main, ["compare", str(tmp_path / "a"), str(tmp_path / "b")]).exit_code == 0
