"""From kept pairs to records: the document around the chunk, nothing over the budget, evidence at every depth."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from longreach.record import Record, Span
from longreach.text.tokenize import Tokenizer
from selfinstruct.assemble import Assembler, evidence_depth
from selfinstruct.checks.evidence import Source, check_evidence
from selfinstruct.config import TEMPLATE_TOKENS
from selfinstruct.extractive import extract
from selfinstruct.pairs import Outcome
from selfinstruct.parse import Pair, parse_pair, parse_summary
from selfinstruct.plan import Unit
from selfinstruct.prompts import Prompts

TASKS = ("short_answer", "long_answer", "section_summary")


@pytest.fixture
def assembler(prompts: Prompts, tokenizer: Tokenizer) -> Callable[..., Assembler]:
    return lambda tokens, seed=0: Assembler(prompts, tokenizer, tokens, seed, {"engine": "e", "model": "m"})


def outcomes(units: list[Unit]) -> list[Outcome]:
    """A kept pair for each task of each unit, by the built-in engine."""
    found = []
    for unit in units:
        for task in unit.tasks:
            read = parse_pair if task.asks else parse_summary
            pair = read(extract(task.name, unit.text, unit.seed(0, task.name)), False)
            if pair and pair.answer:
                spans = check_evidence(pair, task, Source(unit.text))[1]
                start = unit.span.start
                placed = [Span(start + span.start, start + span.end) for span in spans]
                found.append(Outcome(unit, task, pair, evidence=placed))
    return found


def made_of(outcome: Outcome, assemble: Assembler, ordinal: int = 0) -> Record:
    """As the pipeline makes it."""
    room = assemble.room_for(outcome)
    assert room > 0
    return assemble.record(outcome, room, ordinal)


@pytest.fixture
def made(
    text: str, units_of: Callable[..., list[Unit]], assembler: Callable[..., Assembler]
) -> list[tuple[Outcome, Record]]:
    """Records of 1,400 tokens of a document of some 9,000."""
    units = units_of(text * 4, tasks=TASKS, chunk_tokens=150, context_tokens=1_400, chunks_per_doc=0)
    assemble = assembler(1_400)
    found = [(each, made_of(each, assemble, ordinal)) for ordinal, each in enumerate(outcomes(units))]
    assert len(found) > 60
    return found


def test_a_record_holds_its_chunk_and_evidence_whole(text: str, made: list[tuple[Outcome, Record]]) -> None:
    document = text * 4
    for outcome, record in made:
        assert outcome.pair is not None
        prompt, answer = record.messages
        assert (prompt.role, answer.role) == ("user", "assistant")
        assert answer.content == outcome.pair.answer
        assert record.context.of(document) in prompt.content
        assert record.context.holds(record.chunk)
        assert record.chunk == outcome.unit.span
        assert record.evidence
        for span in record.evidence:
            assert span["text"] == document[span["start"] : span["end"]]
            assert record.context.start <= span["start"] < span["end"] <= record.context.end
        if outcome.task.asks:
            assert prompt.content.rstrip().endswith(outcome.pair.question)


def test_a_record_fills_its_budget_and_never_exceeds_it(
    made: list[tuple[Outcome, Record]], tokenizer: Tokenizer
) -> None:
    for _, record in made:
        length = sum(tokenizer.count(turn.content) for turn in record.messages)
        assert 1_400 - TEMPLATE_TOKENS - 150 < length <= 1_400 - TEMPLATE_TOKENS


def test_evidence_is_found_at_every_depth(made: list[tuple[Outcome, Record]]) -> None:
    depths = [evidence_depth(record) for _, record in made]
    fifths = Counter(int(5 * depth) for depth in depths if depth is not None)
    assert sorted(fifths) == [0, 1, 2, 3, 4]
    assert min(fifths.values()) >= len(depths) / 12


def test_a_document_that_fits_is_given_whole(
    text: str, units_of: Callable[..., list[Unit]], assembler: Callable[..., Assembler]
) -> None:
    for each in outcomes(units_of(text, tasks=TASKS, chunk_tokens=150)):
        record = made_of(each, assembler(16_384))
        assert record.context == Span(0, len(text))
        assert record.document["chars"] == len(text)


def test_a_summary_is_of_what_its_prompt_holds(
    text: str, units_of: Callable[..., list[Unit]], assembler: Callable[..., Assembler], tokenizer: Tokenizer
) -> None:
    (unit,) = units_of(text * 4, tasks=("summary",), chunk_tokens=150, context_tokens=2_000)
    record = made_of(Outcome(unit, unit.tasks[0], Pair("", "A summary of it all.")), assembler(2_000), 7)
    assert record.context == record.chunk == unit.span
    assert unit.text in record.messages[0].content
    assert sum(tokenizer.count(turn.content) for turn in record.messages) <= 2_000


def test_a_section_summary_names_its_section_by_its_first_words(made: list[tuple[Outcome, Record]]) -> None:
    for outcome, record in made:
        if outcome.task.name == "section_summary":
            assert f'"{" ".join(outcome.unit.text.split()[:12])}"' in record.messages[0].content


def test_what_does_not_fit_is_said_beforehand(
    text: str, units_of: Callable[..., list[Unit]], assembler: Callable[..., Assembler], tokenizer: Tokenizer
) -> None:
    unit = units_of(text, tasks=("long_answer",), chunk_tokens=150)[0]
    for words in range(0, 300, 7):
        outcome = Outcome(unit, unit.tasks[0], Pair("Why is the pier so long?", "pier " * words))
        room = assembler(400).room_for(outcome)
        if room:
            turns = assembler(400).record(outcome, room, 3).messages
            assert sum(tokenizer.count(turn.content) for turn in turns) <= 400
        else:
            assert words > 50
    assert room == 0


def test_ids_tell_records_apart_and_stay(
    made: list[tuple[Outcome, Record]], assembler: Callable[..., Assembler]
) -> None:
    ids = [record.id for _, record in made]
    assert len(set(ids)) == len(ids)
    assert [made_of(outcome, assembler(1_400)).id for outcome, _ in made] == ids  # wherever they stand in the run
    assert made_of(made[0][0], assembler(1_400, seed=1)).id != ids[0]


def test_a_record_says_what_made_it(made: list[tuple[Outcome, Record]], prompts: Prompts) -> None:
    outcome, record = made[0]
    assert record.generator == {
        "engine": "e",
        "model": "m",
        "prompt": outcome.task.prompt,
        "prompt_sha256": prompts.sha256[outcome.task.prompt],
        "seed": outcome.unit.seed(0, outcome.task.name),
    }
    assert record.document["sha256"] == outcome.unit.document.sha256
    assert record.as_row()["context"] == {"start": record.context.start, "end": record.context.end}


def test_a_record_without_evidence_has_no_depth(made: list[tuple[Outcome, Record]]) -> None:
    _, record = made[0]
    assert record.evidence
    assert evidence_depth(replace(record, evidence=())) is None
    first = replace(record, context=Span(0, 200), evidence=[{"start": 50, "end": 60, "text": "x"}])
    assert evidence_depth(first) == 0.25
