"""Duplicates: the same question in other words, on one document or in the whole run; neighbours are not duplicates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.checks.duplicates import Duplicates
from selfinstruct.parse import Pair
from selfinstruct.tasks import TASKS

SHORT, LONG = TASKS["short_answer"], TASKS["long_answer"]
SECTION, SUMMARY = TASKS["section_summary"], TASKS["summary"]
SPAN = Pair("How long is the main span of the Tarrowmere Bridge?", "212 metres")


def kept(*pairs: Pair, task: object = SHORT, document: str = "d") -> list[bool]:
    known = Duplicates()
    return [known.check(pair, task, document).passed for pair in pairs]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        SPAN,
        Pair("how long is THE main span of the tarrowmere bridge", "212 metres."),
        Pair("What is the length of the main span of the Tarrowmere Bridge?", "212 m"),
        Pair("How long is the Tarrowmere Bridge's main span?", "It is 212 metres long"),
        Pair("How long is the main span of the Tarrowmere Bridge?", "221 metres"),  # one question, two answers
    ],
)
def test_the_same_question_is_kept_once(other: Pair) -> None:
    assert kept(SPAN, other) == [True, False]


@pytest.mark.parametrize(
    "other",
    [
        Pair("How long is the side span of the Tarrowmere Bridge?", "64 metres"),
        Pair("How high is the main tower of the Tarrowmere Bridge?", "64 metres"),
        Pair("Who opened the Tarrowmere Bridge?", "The Duchess of Velmar"),
        Pair("When was the Tarrowmere Bridge opened?", "1881"),
    ],
)
def test_a_neighbouring_question_is_another(other: Pair) -> None:
    assert kept(SPAN, other) == [True, True]


def test_like_questions_in_short_and_long_form_are_one() -> None:
    known = Duplicates()
    assert known.check(SPAN, SHORT, "d").passed
    assert not known.check(Pair(SPAN.question, "The main span is 212 metres long."), LONG, "d").passed


def test_the_reason_names_what_was_kept() -> None:
    known = Duplicates()
    known.check(SPAN, SHORT, "d")
    verdict = known.check(SPAN, SHORT, "d")
    assert verdict.reason.startswith("asked of this document before: 'How long is the main span")
    elsewhere = known.check(SPAN, SHORT, "e")
    assert elsewhere.reason == "asked in this run before: of d"


def test_across_documents_only_the_same_pair_is_a_duplicate() -> None:
    known = Duplicates()
    assert known.check(SPAN, SHORT, "a").passed
    assert known.check(Pair(SPAN.question, "64 metres"), SHORT, "b").passed  # another bridge of that name
    assert known.check(Pair("What is the length of its main span?", "212 metres"), SHORT, "c").passed
    assert not known.check(Pair("How LONG is the main span of the Tarrowmere Bridge", "212 metres!"), SHORT, "d").passed


def test_what_was_rejected_is_not_remembered() -> None:
    known = Duplicates()
    assert known.check(SPAN, SHORT, "a").passed
    other = Pair("What is the length of the main span of the Tarrowmere Bridge?", "212 m")
    assert not known.check(other, SHORT, "a").passed
    assert known.check(other, SHORT, "b").passed


def test_summaries_are_compared_with_summaries() -> None:
    text = "The bridge was opened in 1881 and its tolls were ended in 1920 by the council of Orvane."
    known = Duplicates()
    assert known.check(Pair("", text), SECTION, "d").passed
    assert not known.check(Pair("", text.replace("its tolls", "the tolls")), SUMMARY, "d").passed
    assert known.check(Pair("", "The keeper lived in the eastern tower for many years."), SECTION, "d").passed
    assert known.check(Pair("What happened to the bridge and its tolls?", text), LONG, "d").passed


def test_of_many_questions_the_one_asked_before_is_found() -> None:
    known = Duplicates()
    assert all(known.check(Pair(f"How long is pier {n} of Orvane?", f"{n} m"), SHORT, "d").passed for n in range(200))
    verdict = known.check(Pair("What is the length of pier 137 of Orvane?", "137 m"), SHORT, "d")
    assert "pier 137 of Orvane" in verdict.reason


questions = st.sampled_from(["How long is the pier?", "How old is the pier?", "Who built the gate?", "Why?", ""])
answers = st.sampled_from(["212 m", "64 m", "Farraday", "", "It is long."])


@given(st.lists(st.tuples(questions, answers, st.sampled_from("ab")), max_size=12))
def test_a_pair_is_never_kept_twice(asked: list[tuple[str, str, str]]) -> None:
    known, seen = Duplicates(), set()
    for question, answer, document in asked:
        if known.check(Pair(question, answer), SHORT, document).passed:
            assert (question, answer) not in seen
            seen.add((question, answer))
    assert bool(seen) == bool(asked)  # the first is always kept
