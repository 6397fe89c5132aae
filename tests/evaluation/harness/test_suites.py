"""Suites: the shipped ones as the paper has them, and files of one's own."""

from pathlib import Path

import orjson
import pytest

from evaluation.harness.published import index_of, parts_of
from evaluation.harness.suites import SHIPPED, chosen, list_suites, needs, read_suite, shipped_suites
from longreach.errors import UserError

SUITES = shipped_suites()
SHOTS = {  # Tables 1 and 3; Llama 2's for CommonsenseQA
    "humaneval": 0, "mbpp": 3, "gsm8k": 8, "math": 4, "mmlu": 5, "nq_open": 5, "triviaqa": 5,
    "piqa": 0, "social_iqa": 0, "hellaswag": 0, "winogrande": 0, "arc_easy": 0, "arc_challenge": 0, "openbookqa": 0,
    "commonsense_qa": 7,
    "longreach_paper_narrative_qa": 0, "longreach_paper_quality": 2, "longreach_paper_qasper": 2,
    "longreach_paper_qmsum": 1,
}  # fmt: skip

OWN = """
side = "long"
description = "mine"
folders = ["gsm8k"]

[[tasks]]
task = "gsm8k"
group = "math"
metric = "exact_match,strict-match"
data = "gsm8k"
source = "openai/gsm8k"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file of one's own."""
    path = tmp_path / "mine.toml"
    path.write_text(OWN, "utf-8")
    return path


def test_the_papers_shots() -> None:
    entries = [entry for name in ("short", "paper-long") for entry in SUITES[name].tasks]
    assert {entry.task: entry.shots for entry in entries} == SHOTS


def test_the_published_bounds() -> None:
    bounds = {name: (suite.side, suite.prompt_tokens, suite.cut) for name, suite in SUITES.items()}
    assert bounds == {
        "paper-long": ("long", 16384, "left"),
        "scrolls": ("long", 16384, "left"),
        "zeroscrolls": ("long", 16384, "none"),  # its tasks cut the document
        "l-eval": ("long", 16384, "none"),
        "longbench": ("long", 31500, "middle"),
        "longbench2": ("long", 120000, "middle"),
        "short": ("short", 0, "none"),
        "safety": ("short", 0, "none"),
    }
    assert [len(SUITES[name].tasks) for name in ("zeroscrolls", "l-eval", "longbench", "longbench2")] == [10, 6, 21, 20]


@pytest.mark.parametrize("name", SUITES)
def test_the_harness_has_every_task_and_its_metric(name: str) -> None:
    index = index_of(SUITES[name])
    for entry in SUITES[name].tasks:
        if not entry.judge:
            parts = parts_of(entry, index)
            assert len(parts) == {"mmlu": 57, "math": 7}.get(entry.task, 1), entry.task
            assert all(part.shots == (entry.shots or 0) for part in parts)


def test_one_of_ones_own(own: Path) -> None:
    (suite,) = chosen([str(own)])
    assert (suite.name, suite.side, suite.cut, suite.tasks[0].scale) == ("mine", "long", "none", 100.0)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("group =", "groop =", "task gsm8k: no key groop; did you mean group?"),
        ("group =", "groop =", "task gsm8k: group is missing"),
        ("folders =", "zzz =", "no key zzz"),
        ('side = "long"', 'side = "left"', "side is one of long, short, not 'left'"),
        ('side = "long"', 'side = "long"\ncut = "right"', "cut is one of none, left, middle, not 'right'"),
        ('side = "long"\n', "", "side is missing"),
        ('task = "gsm8k"\n', "", "task without a name: task is missing"),
        ('data = "gsm8k"', "data = 3", "task gsm8k: data cannot be 3"),
        ('data = "gsm8k"', 'data = "gsm8k"\nshots = "8"', "task gsm8k: shots cannot be '8'"),
        ("[[tasks]]", "[[task]]", "has no [[tasks]]"),
        ("[[tasks]]", "[tasks]", "has no [[tasks]]"),
        ("side =", "side", "is no TOML"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(own: Path, before: str, after: str, said: str) -> None:
    assert before in OWN
    own.write_text(OWN.replace(before, after), "utf-8")
    with pytest.raises(UserError) as caught:
        read_suite(own)
    assert str(own) in str(caught.value)
    assert said in str(caught.value)


def test_all_problems_are_said_at_once(own: Path) -> None:
    own.write_text(OWN.replace("group =", "groop =").replace("metric =", "metrik ="), "utf-8")
    with pytest.raises(UserError) as caught:
        read_suite(own)
    assert caught.value.problem.count("did you mean") == 2
    assert str(SHIPPED / "scrolls.toml") in caught.value.hint


@pytest.mark.parametrize("name", ["absent.toml", "folder.toml"])
def test_a_file_that_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UserError, match="no such suite"):
        chosen([str(tmp_path / name)])


def test_a_task_stands_for_its_suite_with_it_alone() -> None:
    (suite,) = chosen(["scrolls_qasper"])
    assert [entry.task for entry in suite.tasks] == ["scrolls_qasper"]
    assert (suite.name, suite.cut, suite.prompt_tokens) == ("scrolls", "left", 16384)


def test_a_task_is_run_once(own: Path) -> None:
    suites = chosen(["gsm8k", "short", str(own), "short"])
    assert [entry.task for suite in suites for entry in suite.tasks].count("gsm8k") == 1
    assert [suite.name for suite in suites] == ["short", "short"]


@pytest.mark.parametrize(("name", "near"), [("shrot", "short"), ("gsm8", "gsm8k"), ("scroll", "scrolls")])
def test_did_you_mean(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"no suite or task {name}; did you mean .*{near}"):
        chosen([name])


def test_the_list_says_what_each_task_needs(capsys: pytest.CaptureFixture[str]) -> None:
    list_suites(as_json=True)
    found = orjson.loads(capsys.readouterr().out)
    assert found.keys() == SUITES.keys()
    tasks = {task["task"]: task for suite in found.values() for task in suite["tasks"]}
    assert tasks["arc_easy"]["data"] == "arc/{config}"
    assert tasks["truthfulqa_gen"]["judge"]
    list_suites(as_json=False)
    said = capsys.readouterr().out
    assert all(name in said for name in (*SUITES, *tasks, "--run-code", "a judge", "fuzzywuzzy"))
    assert needs(next(entry for entry in SUITES["short"].tasks if entry.task == "humaneval")) == "--run-code"
