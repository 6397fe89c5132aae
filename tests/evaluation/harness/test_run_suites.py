"""Every task of every suite through the command, on rows as they are published: by a script, and by a real model."""

from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lm_eval.models.huggingface
import orjson
import pytest

from evaluation.harness.suites import shipped_suites
from evaluation.results import Results

Measure = Callable[..., Results]

SUITES = shipped_suites()
LONGBENCH_RUNS = all(find_spec(package) for package in ("jieba", "fuzzywuzzy", "rouge"))
JUDGED = {"truthfulqa_gen", "toxigen_generations"}


def right_answer(request: Any) -> str:
    """What a row of that task says is right, in the form that its scorer reads."""
    doc, task = request.doc, request.task_name
    if task == "humaneval":
        return str(doc["canonical_solution"])
    if task == "mbpp":
        return str(doc["code"])
    if task == "gsm8k":
        return str(doc["answer"])
    if task.startswith("minerva"):
        return f"{doc['solution']}\nFinal Answer: The final answer is ${doc['answer']}$. I hope it is correct."
    if task == "triviaqa":
        return f" {doc['answer']['aliases'][-1]}"
    answers = doc.get("outputs") or doc.get("answers") or doc.get("answer") or ["fine"]
    return f" {answers[-1]}" if task == "nq_open" else str(answers[0])


def right_choices(request: Any) -> set[int]:
    """Which of the answers that a row gives are right."""
    doc, task = request.doc, request.task_name
    if "mc2_targets" in doc:
        return {n for n, label in enumerate(doc["mc2_targets"]["labels"]) if label}
    if "toxicity_ai" in doc:
        return {int(doc["toxicity_ai"] + doc["toxicity_human"] > 5.5)}
    if "answerKey" in doc:
        return {doc["choices"]["label"].index(doc["answerKey"])}
    if task == "scrolls_qasper":
        return {int(doc["outputs"][0].lower() != "yes")}
    if task in ("winogrande", "social_iqa"):
        return {int(doc["answer" if task == "winogrande" else "label"]) - 1}
    return {int(next(doc[key] for key in ("gold", "label", "answer") if key in doc))}


def even(request: Any) -> bool:
    """Every other row is answered rightly."""
    return bool(request.doc_id % 2 == 0)


def runnable(suite: str) -> list[str]:
    """The tasks of a suite that can run here."""
    entries = SUITES[suite].tasks
    return [entry.task for entry in entries if not entry.judge and (LONGBENCH_RUNS or suite != "longbench")]


@pytest.mark.parametrize("suite", [name for name in SUITES if runnable(name)])
def test_right_answers_score_100_and_wrong_ones_0(suite: str, measure: Measure, scripted: Any, tmp_path: Path) -> None:
    lm = scripted(
        lambda request: right_answer(request) if even(request) else "",
        lambda request: right_choices(request) if even(request) else set(range(9)) - right_choices(request),
    )
    results = measure(suite, lm=lm, run_code=True)
    assert [score.task for score in results.scores] == runnable(suite)
    assert set(results.further["cannot_run"]) == JUDGED.intersection(entry.task for entry in SUITES[suite].tasks)
    lines = [orjson.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_bytes().splitlines()]
    for line in lines:
        if line["task"] != "longreach_bold":
            expected = 100 if int(line["id"].rpartition("/")[2]) % 2 == 0 else 0
            assert list(line["scores"].values()) == [pytest.approx(expected, abs=1e-4)], line
            assert line["references"]
    asked = Counter(line["task"] for line in lines)
    for score in results.scores:
        if score.task != "longreach_bold":
            wrong = sum(line["task"] == score.task and not line["scores"][score.metric] > 50 for line in lines)
            assert score.value == pytest.approx(100 * (1 - wrong / asked[score.task]), abs=1e-4)
            assert score.low <= score.value <= score.high
        assert score.n == asked[score.task] > 1
    assert (tmp_path / "out/suites.png").stat().st_size > 1000


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tiny model says is noise: two tokens are enough of it."""
    whole = lm_eval.models.huggingface.normalize_gen_kwargs
    monkeypatch.setattr(
        lm_eval.models.huggingface, "normalize_gen_kwargs", lambda *given: {**whole(*given), "max_gen_toks": 2}
    )


def check(results: Results, tasks: list[str]) -> None:
    """Whether there are figures of all tasks."""
    assert [score.task for score in results.scores] == tasks
    assert all(score.n >= 1 and -100 <= score.low <= score.value <= score.high <= 100 for score in results.scores)


@pytest.mark.parametrize("suite", [name for name in SUITES if runnable(name)])
def test_a_real_model_is_asked(suite: str, measure: Measure, short: None) -> None:
    check(measure(suite, run_code=True, samples=1, batch_size=4, prompt_tokens=400), runnable(suite))


CHATS = (
    "longreach_zeroscrolls_quality longreach_paper_quality longreach_leval_tpo scrolls_qasper longbench2_table "
    "humaneval nq_open winogrande arc_easy truthfulqa_mc2"
).split()


def test_a_real_model_is_asked_as_a_chat(measure: Measure, short: None) -> None:
    check(measure(*CHATS, run_code=True, samples=1, batch_size=4, prompt_tokens=400, style="chat"), CHATS)
