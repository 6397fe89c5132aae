"""Records that generate made of real text: their context is found in the prompt, to the character."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from finetune.conversation import NotThisForm
from finetune.forms import read, recognise
from longreach.jsonl import read_lines
from longreach.placing import MARKS
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


def test_a_record_that_does_not_hold_together_is_refused(records: list[Row]) -> None:
    broken = {**records[0], "context": {"start": 5}}
    with pytest.raises(NotThisForm, match=r"broken record: .* has no start and end"):
        read(broken, "record")
