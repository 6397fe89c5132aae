"""Which questions are examples: those that both models were asked alike and answered; the others are listed."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation.asking import PROMPTS
from evaluation.sidebyside.examples import ONLY_A, ONLY_B, OTHER_PROMPT, UNANSWERED, evenly, pair
from longreach.errors import UserError


def test_only_what_both_were_asked_alike_and_answered_is_an_example(results_of: Any) -> None:
    a = results_of("a", dict.fromkeys((1, 2, 3, 4, 5, 7), "of a"), failed=[4])
    b = results_of("b", dict.fromkeys((5, 1, 2, 4, 6, 7), "of b"), words={2: "Is it otherwise?"}, failed=[7])
    found = pair(a, b, samples=0, seed=0)
    assert [each.id for each in found.examples] == ["qa/1", "qa/5"]
    assert found.left_out == {OTHER_PROMPT: ["qa/2"], ONLY_A: ["qa/3"], UNANSWERED: ["qa/4", "qa/7"], ONLY_B: ["qa/6"]}
    assert {(each.a, each.b) for each in found.examples} == {("of a", "of b")}
    assert found.examples[0].turns[0].content == "The context of 1.\n\nIs it so?"
    assert f"1 questions left out: {ONLY_A}" in found.notes()


def test_texts_of_base_models_are_shown_as_they_are(results_of: Any) -> None:
    a, b = (results_of(name, {1: name}, chat=False) for name in "ab")
    [example] = pair(a, b, samples=0, seed=0).examples
    assert [(turn.role, turn.content) for turn in example.turns] == [("", "The context of 1.\n\nIs it so?\nAnswer:")]


def test_a_chat_and_a_text_have_nothing_in_common(results_of: Any) -> None:
    a, b = results_of("a", {1: "one"}), results_of("b", {1: "one"}, chat=False)
    with pytest.raises(UserError, match=f"no question in common.*{OTHER_PROMPT}: 1") as caught:
        pair(a, b, samples=0, seed=0)
    assert "--style" in caught.value.hint


def test_models_of_one_name_are_told_apart_by_their_folders(folders: Any) -> None:
    a, b = folders()
    for each in (a, b):
        results = json.loads((each / "results.json").read_text())
        (each / "results.json").write_text(json.dumps({**results, "model": "tiny"}))
    found = pair(a, b, samples=0, seed=0)
    assert (found.a, found.b) == (f"tiny ({a})", f"tiny ({b})")


def test_a_folder_without_prompts_or_results_is_refused(folders: Any, tmp_path: Path) -> None:
    a, b = folders()
    (a / PROMPTS).write_bytes(b"")
    with pytest.raises(UserError, match=r"lacks 8 prompts"):
        pair(a, b, samples=0, seed=0)
    (a / PROMPTS).unlink()
    with pytest.raises(UserError, match=r"no such file.*prompts\.jsonl"):
        pair(a, b, samples=0, seed=0)
    with pytest.raises(UserError, match=r"holds no results\.json"):
        pair(tmp_path, b, samples=0, seed=0)


def test_samples_are_drawn_from_equal_stretches_and_by_the_seed() -> None:
    ids = [str(number) for number in range(100)]
    drawn = evenly(ids, 10, seed=1)
    assert [int(each) // 10 for each in drawn] == list(range(10))
    assert drawn == evenly(ids, 10, seed=1) != evenly(ids, 10, seed=2)
    assert evenly(ids, 0, seed=1) == evenly(ids, 100, seed=1) == evenly(ids, 1000, seed=1) == ids
