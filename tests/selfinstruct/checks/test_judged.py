"""Checks that ask a model: leak, round trip, critique, with scripted replies."""

import asyncio
from typing import Any

import pytest

from longreach.engines.base import Completion, Request, RequestFailed
from longreach.record import Verdict
from selfinstruct.checks.judged import Judge
from selfinstruct.parse import Pair
from selfinstruct.prompts import Prompts
from selfinstruct.tasks import CRITIQUE_SCHEMA, TASKS, Task

SHORT, LONG = TASKS["short_answer"], TASKS["long_answer"]
TEXT = "The Tarrowmere Bridge has a main span of 212 metres."
PAIR = Pair("How long is the main span of the Tarrowmere Bridge?", "212 metres")
WHY = Pair(
    "Why was the western pier hard to found?",
    "The divers found soft clay in the west, so the caisson had to be sunk three times before it held level.",
)


class Court:
    """A judge with one reply, and what it was asked."""

    def __init__(self, prompts: Prompts, scripted: Any) -> None:
        self._prompts, self._scripted = prompts, scripted
        self.asked: list[Request] = []

    def rule(self, check: str, reply: Any, pair: Pair = PAIR, task: Task = SHORT, **given: Any) -> Verdict:
        engine = self._scripted([reply])
        self.asked = engine.asked
        options = {"language": "German", "structured": False, "min_score": 7.0, **given}
        judge = Judge(engine.complete, self._prompts, **options)
        if check == "leak":
            return asyncio.run(judge.leak(pair, task, "doc"))
        if check == "round trip":
            return asyncio.run(judge.round_trip(pair, task, TEXT, "doc"))
        return asyncio.run(judge.critique(pair, TEXT, "doc"))

    @property
    def prompt(self) -> str:
        (request,) = self.asked
        return request.messages[0].content


@pytest.fixture
def court(prompts: Prompts, scripted: Any) -> Court:
    return Court(prompts, scripted)


@pytest.mark.parametrize(
    "reply", ["212 metres", "212 m", "Answer: 212 metres.", "It is 212 metres long.", "two hundred and twelve"]
)
def test_what_a_model_knows_without_the_document_leaks(court: Court, reply: str) -> None:
    verdict = court.rule("leak", reply)
    assert not verdict.passed
    assert verdict.score is not None
    assert verdict.score >= 0.8
    assert verdict.reason.startswith("answered without the document: ")


@pytest.mark.parametrize(
    "reply", ["not answerable", "", "211 metres", "I do not know.", "<think>212 metres?</think>64 m"]
)
def test_what_a_model_does_not_know_is_no_leak(court: Court, reply: str) -> None:
    assert court.rule("leak", reply).passed


@pytest.mark.parametrize("reply", ["212 metres", "212 m", "The main span is 212 metres.", '"212 metres"'])
def test_a_round_trip_that_agrees_passes(court: Court, reply: str) -> None:
    verdict = court.rule("round trip", reply)
    assert verdict.passed
    assert verdict.reason == ""


@pytest.mark.parametrize("reply", ["64 metres", "not answerable", "", "The Duchess of Velmar"])
def test_a_round_trip_that_disagrees_rejects(court: Court, reply: str) -> None:
    verdict = court.rule("round trip", reply)
    assert not verdict.passed
    assert verdict.reason == f"answered otherwise: {reply!r}"


def test_long_answers_agree_in_part(court: Court) -> None:
    close = "Because of the soft clay that the divers found in the west, the caisson had to be sunk three times."
    assert court.rule("round trip", close, WHY, LONG).passed
    assert court.rule("leak", close, WHY, LONG).passed is False
    partly = "Since the divers met soft clay there, it took several tries until the caisson stood level on the bed."
    assert court.rule("round trip", partly, WHY, LONG).passed  # right, in other words
    assert court.rule("leak", partly, WHY, LONG).passed  # but not what only the document says
    vague = "Perhaps the money was short and the workers left for the war."
    assert not court.rule("round trip", vague, WHY, LONG).passed
    assert court.rule("leak", vague, WHY, LONG).passed


def test_the_leak_question_is_asked_without_the_document(court: Court) -> None:
    court.rule("leak", "no")
    assert TEXT not in court.prompt
    assert PAIR.question in court.prompt
    assert PAIR.answer not in court.prompt
    assert "German" in court.prompt


def test_the_round_trip_question_is_asked_with_the_document_and_without_the_answer(court: Court) -> None:
    court.rule("round trip", "no", Pair(PAIR.question, "four furlongs"))
    assert TEXT in court.prompt
    assert PAIR.question in court.prompt
    assert "four furlongs" not in court.prompt


@pytest.mark.parametrize("check", ["leak", "round trip", "critique"])
def test_a_check_is_greedy_and_goes_where_the_document_is(court: Court, check: str) -> None:
    court.rule(check, "<score>9</score>")
    (request,) = court.asked
    assert request.sampling.temperature == 0
    assert request.affinity == "doc"


@pytest.mark.parametrize(
    ("reply", "passed", "score"),
    [
        ("<rationale>Right.</rationale><score>10</score>", True, 10.0),
        ("<rationale>Right.</rationale><score>7</score>", True, 7.0),
        ("<rationale>Right.</rationale><score>6.9</score>", False, 6.9),
        ("<rationale>Right.</rationale><score>1</score>", False, 1.0),
        ('{"rationale": "Right.", "score": 8}', True, 8.0),
        ("Rationale: Right.\nScore: 8/10", True, 8.0),
    ],
)
def test_a_critique_passes_from_its_threshold(court: Court, reply: str, passed: bool, score: float) -> None:
    verdict = court.rule("critique", reply)
    assert (verdict.passed, verdict.score) == (passed, score)
    assert verdict.reason == ("Right." if passed else f"low score: {score:g}, Right.")


def test_another_threshold_rules_otherwise(court: Court) -> None:
    assert court.rule("critique", "<score>5</score>", min_score=5.0).passed
    assert not court.rule("critique", "<score>9</score>", min_score=9.5).passed


@pytest.mark.parametrize(
    "reply", ["", "Fine.", "<score>ten</score>", "<score>0</score>", "<score>11</score>", '{"score": null}']
)
def test_a_score_that_cannot_be_read_rejects(court: Court, reply: str) -> None:
    verdict = court.rule("critique", reply)
    assert (verdict.passed, verdict.score) == (False, None)
    assert verdict.reason.startswith("no score")


def test_a_critique_sees_text_question_and_answer(court: Court) -> None:
    court.rule("critique", "<score>9</score>")
    assert all(part in court.prompt for part in (TEXT, PAIR.question, PAIR.answer))


def test_a_schema_is_sent_where_the_engine_enforces_it(court: Court) -> None:
    court.rule("critique", '{"score": 9}', structured=True)
    assert court.asked[0].schema == CRITIQUE_SCHEMA
    court.rule("critique", "<score>9</score>")
    assert court.asked[0].schema is None


@pytest.mark.parametrize("check", ["leak", "round trip", "critique"])
def test_a_request_that_fails_is_no_verdict(court: Court, check: str) -> None:
    with pytest.raises(RequestFailed):
        court.rule(check, RequestFailed("timeout"))


def test_a_reply_that_ran_out_of_tokens_is_still_read(court: Court) -> None:
    assert court.rule("critique", Completion("<score>9</score><rationale>It is", "length")).passed
