"""What came of a task, from what the harness returns."""

from types import SimpleNamespace
from typing import Any

import pytest

from evaluation.harness.outcome import Answered, Outcome, as_bytes, from_bytes, outcome_of
from evaluation.harness.suites import Entry
from longreach.errors import UserError

ENTRY = Entry(task="mmlu", group="mmlu", data="mmlu", metric="acc,none", source="x", parts="mmlu_*")


def part(name: str, **more: Any) -> Any:
    """A task of the harness."""
    return SimpleNamespace(
        config=SimpleNamespace(task=name), aggregation=lambda: {"acc": lambda rows: max(row[0] for row in rows)}, **more
    )


def sample(number: int, acc: Any, **more: Any) -> dict[str, Any]:
    """A row that it logs."""
    asked = {
        "arguments": [(f"Q{number}", {})],
        "resps": [["said"]],
        "target": "right",
        "doc": {},
        "doc_hash": f"{number}",
    }
    return {"doc_id": number, "filter": "none", "acc": acc, **asked, **more}


def told(number: int, likelihoods: list[float], target: Any, *answers: str) -> dict[str, Any]:
    """A row whose answers are given."""
    arguments = [(f"Q{number}", f" {answer}") for answer in answers]
    return sample(number, 1.0, arguments=arguments, resps=[[(each, False)] for each in likelihoods], target=target)


def found(**samples: list[dict[str, Any]]) -> dict[str, Any]:
    """What the harness returns, each part's figure the mean of its scores."""
    results = {name: {"acc,none": sum(row["acc"] for row in rows) / len(rows)} for name, rows in samples.items()}
    return {"samples": samples, "results": results}


def test_every_question_of_all_parts_counts_alike() -> None:
    rows = {"mmlu_a": [sample(0, 1.0)], "mmlu_b": [sample(0, 0.0), sample(1, 0.0), sample(2, 1.0)]}
    outcome = outcome_of(ENTRY, [part("mmlu_a"), part("mmlu_b")], found(**rows), cut=2)
    assert (outcome.value, outcome.cut, outcome.is_mean) == (50.0, 2, True)
    assert [each.id for each in outcome.answered] == [
        "mmlu/mmlu_a/0",
        "mmlu/mmlu_b/0",
        "mmlu/mmlu_b/1",
        "mmlu/mmlu_b/2",
    ]
    assert outcome.interval.low < 50 < outcome.interval.high


def test_of_several_filters_one_counts() -> None:
    entry = Entry(task="gsm8k", group="math", data="gsm8k", metric="acc,strict", source="x")
    rows = [sample(0, 1.0, filter="strict"), sample(0, 0.0, filter="flexible")]
    results = {"gsm8k": {"acc,strict": 1.0, "acc,flexible": 0.0}}
    outcome = outcome_of(entry, [part("gsm8k")], {"samples": {"gsm8k": rows}, "results": results})
    assert [(each.id, each.score) for each in outcome.answered] == [("gsm8k/0", 100.0)]


def test_a_figure_that_is_no_mean_keeps_the_width_of_its_interval() -> None:
    entry = Entry(task="s", group="s", data="s", metric="acc,none", source="x", scale=1.0)
    rows = [sample(n, (value,)) for n, value in enumerate((10.0, 30.0, 50.0))]  # scored together: for one, its maximum
    outcome = outcome_of(entry, [part("s")], {"samples": {"s": rows}, "results": {"s": {"acc,none": 25.0}}})
    assert [each.score for each in outcome.answered] == [10.0, 30.0, 50.0]
    assert not outcome.is_mean
    mean = Outcome("s", "acc", 30.0, outcome.answered, 0).interval
    assert (outcome.interval.low, outcome.interval.high) == pytest.approx((mean.low - 5, mean.high - 5))


def test_of_given_answers_the_likeliest_is_said() -> None:
    rows = [
        told(0, [-3.0, -1.0], 0, "yes", "no"),
        told(1, [-1.0, -2.0], "no", "yes", "no"),
        told(2, [0.0, -1.0], 7, "a", "b"),
    ]
    answered = outcome_of(ENTRY, [part("mmlu_a")], found(mmlu_a=rows)).answered
    assert [(each.output, each.references) for each in answered] == [("no", ("yes",)), ("yes", ("no",)), ("a", ("7",))]


def test_where_prompts_are_chosen_from_they_are_the_answers() -> None:
    row = told(0, [-3.0, -1.0], "as it was old", "as it was old", "as it was old")
    row["arguments"] = [(f"The {each} fell", " as it was old") for each in ("mill", "bridge")]
    task = part("mmlu_a", multiple_input=2, doc_to_text=lambda doc: 0)
    (answered,) = outcome_of(ENTRY, [task], found(mmlu_a=[row])).answered
    assert (answered.output, answered.references) == ("The bridge fell", ("The mill fell",))


def test_several_right_answers_are_kept() -> None:
    (answered,) = outcome_of(ENTRY, [part("mmlu_a")], found(mmlu_a=[sample(0, 1.0, target=["a", "b"])])).answered
    assert (answered.output, answered.references, answered.prompt) == ("said", ("a", "b"), "Q0")


def test_a_metric_that_the_task_does_not_have() -> None:
    entry = Entry(task="x", group="x", data="x", metric="f1,none", source="x")
    with pytest.raises(UserError, match="x has no metric f1,none") as caught:
        outcome_of(entry, [part("x")], found(x=[sample(0, 1.0)]))
    assert "acc,none" in caught.value.hint


def test_it_comes_back_from_disk_unless_something_changed() -> None:
    outcome = Outcome("x", "acc", 1.5, (Answered("x/0", "0a", "Q", "said", ("a", "b"), 1.5),), 3)
    content = as_bytes(outcome, "key")
    assert from_bytes(content, "key") == outcome
    assert from_bytes(content, "other") is None
