"""The judge is asked in both orders: what it says of a place is no vote."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from evaluation.sidebyside.examples import Pairing
from evaluation.sidebyside.judging import judge_examples


def answers_of(request: Any) -> tuple[str, str]:
    """What stands first and second."""
    text = request.messages[0].content
    first, second = (text.split(f"<<answer {place} ")[1].split("\n")[1] for place in (1, 2))
    return first, second


def prefers_a(request: Any) -> str:
    return "Verdict: " + ("1" if answers_of(request)[0].startswith("A") else "2")


@pytest.mark.parametrize(
    ("judge", "choices", "places", "turned"),
    [
        (prefers_a, ["a"] * 7, {"1": 7, "2": 7}, 0),
        (lambda request: "Verdict: 1", ["tie"] * 7, {"1": 14}, 7),
        (lambda request: "Verdict: 2", ["tie"] * 7, {"2": 14}, 7),
        (lambda request: "Verdict: tie", ["tie"] * 7, {"tie": 14}, 0),
        (lambda request: "Well.", [None] * 7, {}, 0),
    ],
)
def test_two_orders_make_a_vote(
    scripted: Any, pairing: Pairing, tmp_path: Path, judge: Any, choices: list[str | None], places: Any, turned: int
) -> None:
    found = judge_examples(scripted(judge), pairing.examples[:7], tmp_path)
    assert found.choices == choices
    assert found.places == Counter(places)
    assert found.turned == turned


def test_a_tie_in_one_order_and_a_choice_in_the_other_is_a_tie(scripted: Any, pairing: Pairing, tmp_path: Path) -> None:
    def judge(request: Any) -> str:
        return prefers_a(request) if answers_of(request)[0].startswith("A") else "Verdict: tie"

    found = judge_examples(scripted(judge), pairing.examples[:7], tmp_path)
    assert found.choices == ["tie"] * 7
    assert found.turned == 7


def test_half_a_verdict_is_none_and_is_said(scripted: Any, pairing: Pairing, tmp_path: Path) -> None:
    def judge(request: Any) -> str:
        return "Well." if answers_of(request)[1] == "A says 3" else prefers_a(request)

    found = judge_examples(scripted(judge), pairing.examples[:7], tmp_path)
    assert found.choices == ["a", "a", "a", None, "a", "a", "a"]
    notes = " ".join(found.notes())
    assert "1 examples without a verdict" in notes and "Well." in notes
    assert "changed its verdict on 0 of 6" in notes
    assert "first place in 53.8%" in notes  # 7 of 13
