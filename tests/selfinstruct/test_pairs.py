"""From a unit to its outcomes: what is asked, in which order checks follow, and what becomes of every reply."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from longreach.engines.base import Completion, Request, RequestFailed, RequestRefused
from longreach.errors import UserError
from longreach.text.tokenize import Tokenizer
from selfinstruct.checks.judged import Judge
from selfinstruct.config import CHECKS, GenerateSettings
from selfinstruct.extractive import extract
from selfinstruct.pairs import Outcome, PairWriter, failed_row, rejected_row
from selfinstruct.plan import Unit
from selfinstruct.prompts import Prompts
from selfinstruct.tasks import PAIR_SCHEMA, SUMMARY_SCHEMA

GOOD = {
    "short_answer": """<question>How many oak piles does the pier of basin 1 stand on?</question>
<answer>10 oak piles</answer><evidence>The pier of basin 1 stands on 10 oak piles.</evidence>""",
    "long_answer": """<question>Why may heavy barges lie at the pier of basin 1?</question>
<answer>Barges of up to 31 tonnes may lie at the pier because the clay below was dredged.</answer>
<evidence>Barges of up to 31 tonnes may lie there</evidence>""",
    "section_summary": "<summary>The pier of basin 1 was finished by Master Farraday and is of oak.</summary>",
}
CRITIQUE = "<rationale>All right.</rationale><score>9</score>"


class Bench:
    """A writer with scripted models."""

    def __init__(self, prompts: Prompts, tokenizer: Tokenizer, scripted: Any, text: str, units_of: Any) -> None:
        self._prompts, self._tokenizer, self._scripted = prompts, tokenizer, scripted
        self._text, self._units_of = text, units_of
        self.asked: list[Request] = []

    def run(
        self,
        answer: Callable[[Request], Any],
        *,
        tasks: tuple[str, ...] = ("short_answer",),
        checks: tuple[str, ...] = CHECKS,
        model: bool = True,
        structured: bool = False,
        number: int = 0,
        **given: Any,
    ) -> list[Outcome]:
        """Outcomes of a unit, the first unless told."""
        given = {"chunk_tokens": 150, "chunks_per_doc": 0, "tasks": tasks, "checks": checks, **given}
        unit: Unit = self._units_of(self._text, **given)[number]
        engine = self._scripted(answer)
        self.asked = engine.asked
        judge = Judge(engine.complete, self._prompts, language="English", structured=structured, min_score=7.0)
        writer = PairWriter(
            GenerateSettings(docs=("x",), **given), self._prompts, self._tokenizer, engine.complete, structured,
            model=judge if model else None, judge=judge if model else None,
        )  # fmt: skip
        return asyncio.run(writer.outcomes(unit))

    @property
    def kinds(self) -> list[str]:
        return [request.task for request in self.asked]


@pytest.fixture
def bench(prompts: Prompts, tokenizer: Tokenizer, scripted: Any, text: str, units_of: Any) -> Bench:
    return Bench(prompts, tokenizer, scripted, text, units_of)


def model(**replies: Any) -> Callable[[Request], Any]:
    """Good pairs, and checks that pass: nothing is known without the document, all is found with it."""
    known = {**GOOD, "critique": CRITIQUE, "closed": "not answerable", "open": "10 oak piles", **replies}

    def answer(request: Request) -> Any:
        task = request.task
        if task == "answer":
            task = "open" if "<document_part>" in request.messages[0].content else "closed"
        return known[task]

    return answer


def test_a_good_pair_passes_every_check(bench: Bench, text: str) -> None:
    (outcome,) = bench.run(model())
    assert (outcome.rejected, outcome.failed) == ("", "")
    assert outcome.pair is not None
    assert outcome.pair.answer == "10 oak piles"
    assert list(outcome.checks) == ["form", "evidence", "leak", "roundtrip", "critique"]
    assert all(verdict.passed for verdict in outcome.checks.values())
    assert [span.of(text) for span in outcome.evidence] == ["The pier of basin 1 stands on 10 oak piles."]
    assert bench.kinds == ["short_answer", "answer", "answer", "critique"]


def test_evidence_is_placed_in_the_document(bench: Bench, text: str) -> None:
    (outcome,) = bench.run(lambda request: extract(request.task, request.source, 0), model=False, number=3)
    assert outcome.unit.span.start > 0
    assert outcome.pair is not None
    (span,) = outcome.evidence
    assert outcome.unit.span.holds(span)
    assert " ".join(span.of(text).split()) == " ".join(outcome.pair.evidence.split())


def test_all_requests_of_a_unit_name_its_document(bench: Bench) -> None:
    bench.run(model(), tasks=("short_answer", "section_summary"))
    assert len({request.affinity for request in bench.asked}) == 1
    assert bench.asked[0].affinity


def test_every_task_has_its_outcome_in_order(bench: Bench) -> None:
    outcomes = bench.run(model(), tasks=("section_summary", "long_answer", "short_answer"), checks=("form", "evidence"))
    assert [outcome.task.name for outcome in outcomes] == ["section_summary", "long_answer", "short_answer"]
    assert [outcome.rejected for outcome in outcomes] == ["", "", ""]


def test_the_generator_draws_and_the_checks_are_greedy(bench: Bench) -> None:
    bench.run(model(), temperature=0.9, top_p=0.8, seed=5)
    first, *checks = [request.sampling for request in bench.asked]
    assert (first.temperature, first.top_p) == (0.9, 0.8)
    assert first.seed > 0
    assert {(sampling.temperature, sampling.seed) for sampling in checks} == {(0.0, 0)}


@pytest.mark.parametrize(("task", "schema"), [("short_answer", PAIR_SCHEMA), ("section_summary", SUMMARY_SCHEMA)])
def test_a_schema_is_sent_where_the_engine_enforces_it(bench: Bench, task: str, schema: object) -> None:
    bench.run(model(), tasks=(task,), structured=True)
    assert bench.asked[0].schema == schema
    bench.run(model(), tasks=(task,), structured=False)
    assert bench.asked[0].schema is None


@pytest.mark.parametrize(
    ("replies", "rejected", "asked"),
    [
        ({"short_answer": "I cannot."}, "form: no pair", 1),
        ({"short_answer": ""}, "form: no pair", 1),
        ({"short_answer": Completion(GOOD["short_answer"].partition(" oak piles</answer>")[0], "length")},
         "form: cut off", 1),
        ({"short_answer": GOOD["short_answer"].replace(">10 oak", ">11 oak")}, "evidence: number without support", 1),
        ({"closed": "10 oak piles"}, "leak: answered without the document", 2),
        ({"open": "12 oak piles"}, "roundtrip: answered otherwise", 3),
        ({"critique": "<score>6</score>"}, "critique: low score", 4),
        ({"critique": "fine"}, "critique: no score", 4),
    ],
)  # fmt: skip
def test_the_first_check_that_fails_rejects_and_ends_the_asking(
    bench: Bench, replies: dict[str, Any], rejected: str, asked: int
) -> None:
    (outcome,) = bench.run(model(**replies))
    assert outcome.rejected == rejected
    assert outcome.detail
    assert outcome.failed == ""
    assert len(bench.asked) == asked


def test_a_reply_without_pair_is_kept_as_it_came(bench: Bench) -> None:
    (outcome,) = bench.run(model(short_answer="I cannot."))
    row = rejected_row(outcome, {"engine": "scripted"})
    assert (row["reason"], row["reply"], row["question"]) == ("form: no pair", "I cannot.", "")
    assert row["generator"] == {"engine": "scripted"}
    assert row["task"] == "short_answer"


@pytest.mark.parametrize("check", ["form", "evidence", "leak", "roundtrip", "critique"])
def test_a_check_that_is_not_wanted_is_not_made(bench: Bench, check: str) -> None:
    (outcome,) = bench.run(model(), checks=tuple(name for name in CHECKS if name != check))
    assert check not in outcome.checks
    assert outcome.evidence  # its place is recorded all the same
    assert outcome.rejected == ""


def test_without_a_model_only_the_rest_is_checked(bench: Bench) -> None:
    (outcome,) = bench.run(model(), model=False)
    assert bench.kinds == ["short_answer"]
    assert list(outcome.checks) == ["form", "evidence", "leak"]


def test_a_summary_is_not_asked_about_without_its_document(bench: Bench) -> None:
    (outcome,) = bench.run(model(), tasks=("section_summary",))
    assert bench.kinds == ["section_summary", "critique"]
    assert outcome.rejected == ""


@pytest.mark.parametrize("at", ["short_answer", "closed", "open", "critique"])
def test_a_failed_request_is_to_be_tried_again(bench: Bench, at: str) -> None:
    (outcome,) = bench.run(model(**{at: RequestFailed("http 503", "busy")}))
    assert (outcome.failed, outcome.detail, outcome.rejected) == ("http 503", "busy", "")
    row = failed_row(outcome)
    assert (row["reason"], row["detail"], row["task"]) == ("http 503", "busy", "short_answer")
    assert row["chunk"] == {"start": 0, "end": outcome.unit.span.end}


def test_a_refused_request_is_rejected_for_good(bench: Bench) -> None:
    (outcome,) = bench.run(model(short_answer=RequestRefused("prompt too long", "9,000 tokens")))
    assert (outcome.rejected, outcome.detail, outcome.failed) == ("engine: prompt too long", "9,000 tokens", "")


def test_one_failed_request_leaves_the_other_tasks_be(bench: Bench) -> None:
    tasks = ("short_answer", "section_summary")
    outcomes = bench.run(model(short_answer=RequestFailed("timeout")), tasks=tasks, checks=("form",))
    assert [outcome.failed for outcome in outcomes] == ["timeout", ""]


def test_what_dooms_all_requests_ends_the_run(bench: Bench) -> None:
    with pytest.raises(UserError, match="wrong key"):
        bench.run(model(short_answer=UserError("wrong key")))


# Summaries of whole documents


def merging(request: Request) -> str:
    """Summaries that name what they are of: a part its last section, a merged one how many of each it was made from."""
    if request.task == "critique":
        return CRITIQUE
    of = request.source
    name = f"Part {of.split('section ')[-1].split()[0]}" if request.task == "section_summary" else (
        f"Merged {of.count('Part')}+{of.count('Merged')}"
    )  # fmt: skip
    return f"<summary>{name} tells of a pier in the harbour of Orvane.</summary>"


def test_parts_are_summarized_and_merged_to_one(bench: Bench) -> None:
    (outcome,) = bench.run(merging, tasks=("summary",), checks=("form", "critique"), chunk_tokens=300)
    parts = len(outcome.unit.parts)
    assert parts > 4
    assert bench.kinds.count("section_summary") == parts
    assert outcome.pair is not None
    assert outcome.pair.answer.startswith("Merged")
    assert outcome.rejected == ""
    merges = [request for request in bench.asked if request.task == "summary"]
    assert sum(request.source.count("Part") for request in merges) == parts  # every part once, in order
    order = [request.source for request in bench.asked if request.task == "section_summary"]
    assert order == sorted(order, key=outcome.unit.document.text.index)


def test_the_critique_sees_what_the_last_summary_was_written_from(bench: Bench) -> None:
    bench.run(merging, tasks=("summary",), checks=("form", "critique"), chunk_tokens=300)
    last = [request for request in bench.asked if request.task == "summary"][-1]
    assert last.source in bench.asked[-1].messages[0].content
    assert bench.asked[-1].task == "critique"


def test_many_small_chunks_are_merged_in_rounds(bench: Bench) -> None:
    (outcome,) = bench.run(merging, tasks=("summary",), checks=("form",), chunk_tokens=60)
    merges = [request.source for request in bench.asked if request.task == "summary"]
    assert outcome.rejected == ""
    assert sum(source.count("Part") for source in merges) == len(outcome.unit.parts)
    assert any("Merged" in source for source in merges)
    assert outcome.pair is not None
    assert outcome.pair.answer.startswith("Merged 0+")


@pytest.mark.timeout(20)
def test_summaries_as_long_as_a_chunk_are_merged_two_by_two(bench: Bench) -> None:
    def answer(request: Request) -> str:
        return merging(request).replace(" tells", " of oak and clay, of tolls and barges, tells" * 3)

    (outcome,) = bench.run(answer, tasks=("summary",), checks=("form",), chunk_tokens=40)
    merges = [request.source for request in bench.asked if request.task == "summary"]
    assert outcome.rejected == ""
    assert {len(source.split("\n\n")) for source in merges} <= {2, 3}
    assert len(merges) < len(outcome.unit.parts)


def test_a_document_of_one_chunk_is_summarized_at_once(bench: Bench, text: str) -> None:
    (outcome,) = bench.run(merging, tasks=("summary",), checks=("form",), chunk_tokens=8_000)
    assert bench.kinds == ["section_summary"]
    assert outcome.pair is not None
    assert bench.asked[0].source == text


def test_a_part_without_summary_rejects_the_whole(bench: Bench) -> None:
    replies = iter(["", "I cannot."])

    def answer(request: Request) -> str:
        return next(replies, "") if "section 3\n" in request.source else merging(request)

    (outcome,) = bench.run(answer, tasks=("summary",), checks=("form",), chunk_tokens=300)
    assert outcome.rejected == "form: no summary"
    assert outcome.pair is None
    assert "summary" not in bench.kinds  # nothing is merged


def test_a_failed_part_is_to_be_tried_again(bench: Bench) -> None:
    def answer(request: Request) -> Any:
        return RequestFailed("timeout") if "section 3\n" in request.source else merging(request)

    (outcome,) = bench.run(answer, tasks=("summary",), checks=("form",), chunk_tokens=300)
    assert (outcome.failed, outcome.rejected) == ("timeout", "")
