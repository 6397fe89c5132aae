"""Records that generate made of real text: their context is found in the prompt, to the character."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from finetune.conversation import Context, NotThisForm
from finetune.evidence import MARKS, context_of
from finetune.forms import read, recognise
from longreach.jsonl import read_lines
from longreach.record import Span
from longreach.text.corpus import Corpus
from longreach.text.document import Document
from selfinstruct.cli import main
from selfinstruct.export import FORMS, export

DOCUMENTS = Path(__file__).parents[1] / "data" / "heldout_documents.jsonl"
Row = dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the contexts some are whole documents, some are parts."""
    out = tmp_path_factory.mktemp("run") / "run"
    words = "--engine extractive --tasks short_answer,long_answer,section_summary,summary --tasks-per-chunk all"
    sizes = "--context-tokens 1400 --chunk-tokens 300 --chunks-per-doc all --format parquet"
    command = ["generate", "--docs", str(DOCUMENTS), "--out", str(out), *words.split(), *sizes.split()]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 0, ended.output
    return out


@pytest.fixture(scope="module")
def records(run: Path) -> list[Row]:
    made = list(read_lines(run / "records.jsonl"))
    assert {record["task"] for record in made} == {"short_answer", "long_answer", "section_summary", "summary"}
    assert len({record["context"]["start"] for record in made}) > 2
    return made


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {item.id: item.text for item in Corpus([str(DOCUMENTS)]) if isinstance(item, Document)}


def unmarked(record: Row) -> Row:
    """As another template would have written it."""
    before, after = MARKS
    ask, reply = record["messages"]
    content = ask["content"].replace(before, "Text: ").replace(after, " END")
    return {**record, "messages": [{**ask, "content": content}, reply]}


@pytest.mark.parametrize("template", ["shipped", "another"])
def test_context_and_evidence_of_every_record(records: list[Row], texts: dict[str, str], template: str) -> None:
    for record in records if template == "shipped" else map(unmarked, records):
        assert recognise(record) == "record"
        talk = read(record, "record")
        if (
            template == "another" and talk.context is None
        ):  # the question quotes its section's first words: the evidence
            assert record["messages"][0]["content"].count(record["evidence"][0]["text"]) > 1
            continue
        assert talk.context is not None
        place, slice_ = talk.context, record["context"]
        content = talk.messages[place.message]["content"]
        document = texts[record["document"]["id"]]
        assert content[place.start : place.end] == document[slice_["start"] : slice_["end"]]
        shift = place.start - slice_["start"]
        kept = {Span(given["start"] + shift, given["end"] + shift) for given in record["evidence"]}
        if record["task"] == "section_summary":
            kept.add(Span(record["chunk"]["start"] + shift, record["chunk"]["end"] + shift))
        assert set(place.keep) == kept
        assert [span.start for span in place.keep] == sorted(span.start for span in kept)
        assert talk.document == record["document"]["sha256"]


def test_without_evidence_the_marks_tell_the_place(records: list[Row]) -> None:
    for record in records:
        bare = {**record, "task": "summary", "evidence": []}
        placed, expected = read(bare, "record").context, read(record, "record").context
        assert placed and expected and (placed.start, placed.end) == (expected.start, expected.end)
        assert placed.keep == ()
        assert read(unmarked(bare), "record").context is None


def test_records_in_a_table_are_the_same(run: Path, records: list[Row]) -> None:
    from longreach.text.values import Value, Values

    rows = [value.value for value in Values([str(run / "records.parquet")]) if isinstance(value, Value)]
    assert [read(row, recognise(row)) for row in rows] == [read(record, "record") for record in records]


@pytest.mark.parametrize("form", [*FORMS, "dpo"])
def test_what_export_writes_is_recognised(run: Path, records: list[Row], form: str, tmp_path: Path) -> None:
    if form == "dpo":  # the extractive engine's rejected pairs have no answers
        worse = {key: records[0][key] for key in ("document", "chunk", "task")}
        rejected = {**worse, "answer": "Nobody knows.", "reason": "evidence: none"}
        (run / "rejected.jsonl").write_text(json.dumps(rejected) + "\n")
    rows = export(run, form, tmp_path / "rows.jsonl")
    assert rows == (1 if form == "dpo" else len(records))
    for row, record in zip(read_lines(tmp_path / "rows.jsonl"), records, strict=False):
        assert recognise(row) == {"dpo": "preference"}.get(form, form)
        assert list(read(row, recognise(row)).messages) == record["messages"]


def record(content: str, context: tuple[int, int], *evidence: tuple[int, str]) -> Row:
    return {
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}],
        "context": {"start": context[0], "end": context[1]},
        "evidence": [{"start": start, "end": start + len(text), "text": text} for start, text in evidence],
    }


@pytest.mark.parametrize(
    ("given", "start"),
    [
        (record("Read: a b. c d. Is it b?", (0, 9), (2, "b")), 6),  # only one place leaves room for the rest
        (record("b. Read: a b. Is it b?", (0, 4), (2, "b"), (0, "a")), 9),  # only one has them all
        (record("Read: b b b b b b", (0, 3), (2, "b")), None),  # more than one place
        (record("<document>\nb b\n</document>\nb b", (10, 13), (12, "b")), 11),  # of them, the marked one
        (record("<document>\nb b\n</document><document>\nb b\n</document>", (1, 4), (1, "b")), None),  # both are marked
        (record("<document>\nb b\n</document>", (10, 14)), None),  # not as long as it should be
        (record("Read: a b.", (0, 4), (2, "c")), None),  # no such evidence
        (record("a", (0, 4), (2, "b")), None),  # too short
        (record("<document>\n<document>\nb\n</document>\n</document>", (0, 24)), 11),  # marks inside the document
    ],
)
def test_the_only_place_is_taken(given: Row, start: int | None) -> None:
    context = context_of(given["messages"], given)
    assert (context.start if context else None) == start


def test_an_answer_that_repeats_the_document_is_no_place() -> None:
    given = record("Read: a b.", (0, 4), (2, "b"))
    given["messages"][1]["content"] = "It says: a b."
    assert context_of(given["messages"], given) == Context(0, 6, 10, (Span(8, 9),))


@pytest.mark.parametrize(
    "change",
    [
        {"context": {"start": 5}},
        {"context": {"start": 9, "end": 2}},
        {"evidence": [{"start": 2, "end": 3}]},
        {"evidence": [{"start": 2, "end": 4, "text": "b"}]},
        {"evidence": [{"start": 20, "end": 21, "text": "b"}]},
        {"evidence": ["b"]},
        {"evidence": 5},
        {"task": "section_summary"},
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(change: Row) -> None:
    given = {**record("Read: a b.", (0, 4), (2, "b")), **change}
    with pytest.raises(NotThisForm, match="broken record"):
        context_of(given["messages"], given)
