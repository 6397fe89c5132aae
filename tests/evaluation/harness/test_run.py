"""The command as a whole: what is kept, what is refused, what is said."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from evaluation.harness import run
from evaluation.results import Results
from longreach.errors import UserError
from tinyllama import make_tiny_llama

Measure = Callable[..., Results]


@pytest.fixture
def own_data(data_dir: Path, tmp_path: Path) -> Path:
    """A --data-dir to change."""
    folder = tmp_path / "data"
    for name in ("gsm8k", "arc", "nq_open", "mmlu", "scrolls", "l-eval", "winogrande", "humaneval"):
        shutil.copytree(data_dir / name, folder / name)
    return folder


def rewrite(path: Path, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Change the rows of a file."""
    rows = change([orjson.loads(line) for line in path.read_bytes().splitlines()])
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def test_a_run_that_was_killed_goes_on_with_the_task_it_was_at(measure: Measure, scripted: Any, tmp_path: Path) -> None:
    class Killed(Exception):
        """In place of a signal."""

    def dies(request: Any) -> str:
        if request.task_name == "nq_open":
            raise Killed
        return "#### 1"

    tasks = ("gsm8k", "nq_open", "longreach_leval_tpo")
    with pytest.raises(Killed):
        measure(*tasks, lm=scripted(dies))
    assert [path.name for path in (tmp_path / "out/tasks").iterdir()] == ["gsm8k.json"]
    assert not (tmp_path / "out/results.json").exists()
    lm = scripted(lambda request: "#### 1")
    results = measure(*tasks, lm=lm)
    assert {request.task_name for request in lm.asked} == {"nq_open", "longreach_leval_tpo"}
    assert [score.task for score in results.scores] == list(tasks)
    lm = scripted(lambda request: "")
    assert measure(*tasks, lm=lm).scores == results.scores
    assert not lm.asked


def test_a_finished_run_does_not_load_the_model_again(measure: Measure, scripted: Any, monkeypatch: Any) -> None:
    first = measure("nq_open", lm=scripted(lambda request: ""))
    monkeypatch.setattr(run, "open_model", None)
    assert measure("nq_open").scores == first.scores


def test_changed_data_are_asked_again(measure: Measure, scripted: Any, own_data: Path) -> None:
    lm = scripted(lambda request: "#### 1")
    measure("gsm8k", "nq_open", lm=lm, data_dir=str(own_data))
    rewrite(own_data / "gsm8k/main/test.jsonl", lambda rows: [{**rows[0], "question": "How many now?"}, rows[1]])
    lm.asked.clear()
    measure("gsm8k", "nq_open", lm=lm, data_dir=str(own_data))
    assert {request.task_name for request in lm.asked} == {"gsm8k"}
    assert "How many now?" in lm.asked[0].args[0]


def test_other_settings_are_refused(measure: Measure, scripted: Any) -> None:
    measure("nq_open", lm=scripted(lambda request: ""))
    with pytest.raises(UserError, match="made with other settings") as caught:
        measure("nq_open", lm=scripted(lambda request: ""), samples=1)
    assert "samples: was 0, now 1" in caught.value.problem


def test_leave_to_run_programs_may_be_given_later(measure: Measure, scripted: Any) -> None:
    lm = scripted(lambda request: "")
    assert measure("nq_open", "humaneval", lm=lm).further["cannot_run"].keys() == {"humaneval"}
    lm.asked.clear()
    assert len(measure("nq_open", "humaneval", lm=lm, run_code=True).scores) == 2
    assert {request.task_name for request in lm.asked} == {"humaneval"}


def test_groups_are_averaged_and_parts_weighted(measure: Measure, scripted: Any) -> None:
    def choose(request: Any) -> set[int]:
        return {request.doc["answer"]} if request.task_name == "mmlu_anatomy" else set()  # none likelier: the first

    def answer(request: Any) -> str:
        return f" {request.doc['answer'][0]}" if request.task_name == "nq_open" else ""

    results = measure("short", lm=scripted(answer, choose))
    mmlu = next(score for score in results.scores if score.task == "mmlu")
    assert mmlu.value == pytest.approx(100 * (4 + 1 + 1) / 8)  # anatomy's four, and the first of two in the others
    headlines = {headline.task: headline for headline in results.headline}
    assert headlines.keys() == {"short, math", "mmlu", "short, commonsense", "short, open questions"}
    assert headlines["mmlu"].paired
    open_questions = headlines["short, open questions"]
    assert (open_questions.value, open_questions.n, open_questions.paired) == (50, 4, False)
    assert headlines["short, commonsense"].n == 16
    assert any("mmlu: 54 of 57 parts have no data: mmlu_abstract_algebra" in note for note in results.notes)
    assert results.further["cannot_run"].keys() == {"humaneval", "mbpp"}


def test_what_a_model_prints_is_no_result(measure: Measure, scripted: Any, capsys: pytest.CaptureFixture[str]) -> None:
    measure("nq_open", lm=scripted(lambda request: print("batch size 8") or ""))  # as the harness's own do
    said = capsys.readouterr()
    assert "batch size 8" in said.err
    assert said.out == ""


def test_tasks_that_cannot_run_for_one_reason_are_told_together(measure: Measure, scripted: Any) -> None:
    notes = measure("humaneval", "mbpp", "nq_open", "toxigen_generations", lm=scripted(lambda request: "")).notes
    assert [note.split(": ")[1] for note in notes if note.startswith("cannot run")] == [
        "humaneval, mbpp",
        "toxigen_generations",
    ]


def test_tasks_named_one_by_one_are_no_group(measure: Measure, scripted: Any) -> None:
    results = measure("arc_easy", "piqa", "arc_challenge", lm=scripted(lambda request: ""))
    assert [headline.task for headline in results.headline] == ["arc_easy", "piqa", "arc_challenge"]


def test_a_group_of_which_tasks_are_missing_says_so(measure: Measure, scripted: Any, own_data: Path) -> None:
    shutil.rmtree(own_data / "scrolls")
    shutil.rmtree(own_data / "l-eval/tpo")
    results = measure("l-eval", lm=scripted(lambda request: ""), data_dir=str(own_data))
    assert [headline.task for headline in results.headline] == ["l-eval (5 of 6 tasks)"]
    assert results.further["cannot_run"].keys() == {"longreach_leval_tpo"}
    assert any(
        note.startswith("cannot run: longreach_leval_tpo: no data (looked for test in") for note in results.notes
    )


def test_what_is_written(measure: Measure, scripted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = measure("nq_open", "winogrande", "truthfulqa_gen", lm=scripted(lambda request: " Josef 0"), samples=1)
    out = tmp_path / "out"
    written = orjson.loads((out / "results.json").read_bytes())
    assert written["measure"] == "harness"
    facts = written["further"]["tasks"]["nq_open"]
    assert (facts["shots"], facts["group"], facts["cut_prompts"]) == (5, "nq_open", 0)
    predictions = [orjson.loads(line) for line in (out / "predictions.jsonl").read_bytes().splitlines()]
    prompts = {
        row["sha256"]: row["text"] for row in map(orjson.loads, (out / "prompts.jsonl").read_bytes().splitlines())
    }
    nq, wino = predictions
    assert (nq["id"], nq["output"], nq["references"]) == ("nq_open/0", " Josef 0", ["Josef 0", "The Lind 0"])
    assert prompts[nq["prompt_sha256"]].startswith("Answer these questions:")
    assert prompts[nq["prompt_sha256"]].count("\nA:") == 6
    assert wino["output"] == "The mill fell and not the bridge as the mill"
    assert wino["references"] == [wino["output"]]
    assert any("first 1 at most" in note for note in results.notes)
    said = capsys.readouterr()
    assert said.out == ""
    assert "harness: 0 of 2 tasks done, now nq_open" in said.err
    assert "cannot run: truthfulqa_gen: needs a judge" in said.err


def test_models_whose_prompts_differ_are_asked_the_same(measure: Measure, scripted: Any, tmp_path: Path) -> None:
    asked = []
    for style in ("text", "chat"):
        measure("nq_open", lm=scripted(lambda request: ""), style=style, out=str(tmp_path / style))
        lines = (tmp_path / style / "predictions.jsonl").read_bytes().splitlines()
        prompts = (tmp_path / style / "prompts.jsonl").read_bytes()
        asked.append((prompts, [(row["id"], row["prompt_sha256"]) for row in map(orjson.loads, lines)]))
    assert asked[0][1] == asked[1][1]
    assert asked[0][0] != asked[1][0]


def test_prompts_longer_than_the_window_are_counted(measure: Measure, scripted: Any, tmp_path: Path) -> None:
    lm = scripted(lambda request: "")
    results = measure("mmlu", "gsm8k", lm=lm, model=str(make_tiny_llama(tmp_path / "small", window=700)))
    facts = results.further["tasks"]
    assert facts["gsm8k"] | {"prompt_tokens": 700 - 256 - 2, "cut_prompts": 2} == facts["gsm8k"]
    assert "gsm8k: 2 of 2 prompts lost their beginning, to fit the model's window" in results.notes
    assert all(request.args[0].endswith("Answer:") for request in lm.asked)


def test_a_model_shorter_than_every_task(measure: Measure, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gsm8k, longreach_zeroscrolls_gov_report: the model's window of 256"):
        measure("gsm8k", "longreach_zeroscrolls_gov_report", model=str(make_tiny_llama(tmp_path / "small", window=256)))


@pytest.mark.parametrize(
    ("task", "name", "change", "said"),
    [
        ("arc_easy", "arc/ARC-Easy/test.jsonl", {"answerKey": "Z"}, "arc_easy: row 2 cannot be asked: ValueError: 'Z'"),
        ("arc_easy", "arc/ARC-Easy/test.jsonl", {"choices": None}, "arc_easy: row 2 cannot be asked: "),
        ("winogrande", "winogrande/winogrande_xl/validation.jsonl", {"sentence": "no gap"}, "winogrande: row 2 cannot"),
        ("longreach_leval_tpo", "l-eval/tpo/test.jsonl", {"outputs": [""]}, "tpo: row 2 cannot be scored: IndexError"),
        ("longreach_leval_tpo", "l-eval/tpo/test.jsonl", {"outputs": []}, "cannot be loaded .*ValueError: zip"),
        (
            "longreach_paper_quality",
            "scrolls/quality/validation.jsonl",
            {"input": "What?"},
            "the input of .* is not question",
        ),
        ("scrolls_quality", "scrolls/quality/validation.jsonl", {"output": "x"}, "scrolls_quality cannot be loaded"),
        ("scrolls_qasper", "scrolls/qasper/validation.jsonl", {"output": None}, "has no output to score against"),
    ],
)
def test_rows_of_another_form_are_named(
    measure: Measure, scripted: Any, own_data: Path, task: str, name: str, change: dict[str, Any], said: str
) -> None:
    rewrite(own_data / name, lambda rows: [*rows[:-1], {**rows[-1], **change}])
    with pytest.raises(UserError, match=said):
        measure(task, lm=scripted(lambda request: ""), data_dir=str(own_data))


@pytest.mark.parametrize(
    ("task", "name", "content", "said"),
    [
        ("gsm8k", "gsm8k/main/test.jsonl", b"", "gsm8k cannot be loaded .*no rows"),
        ("gsm8k", "gsm8k/main/test.jsonl", b"{no json", "gsm8k cannot be loaded with its data from .*test.jsonl"),
        (
            "gsm8k",
            "gsm8k/main/test.jsonl",
            b'{"q": "other fields"}\n',
            "gsm8k cannot be loaded .*CastError: Couldn't cast",
        ),
        (
            "gsm8k",
            "gsm8k/main/train.jsonl",
            b'{"question": "a", "answer": "b"}\n',
            "takes 8 examples from 8 rows or more",
        ),
        ("nq_open", "nq_open/train.jsonl", b'{"question": "a", "answer": ["b"]}\n', "takes 5 examples from 6 rows"),
    ],
)
def test_files_of_another_form(
    measure: Measure, scripted: Any, own_data: Path, task: str, name: str, content: bytes, said: str
) -> None:
    (own_data / name).write_bytes(content)
    with pytest.raises(UserError, match=said) as caught:
        measure(task, lm=scripted(lambda request: ""), data_dir=str(own_data))
    assert "what is finished is kept" in caught.value.hint
