"""qa on records that generate made of real text: scripted models whose scores are known, and the ways it can go wrong."""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evaluation import qa
from evaluation.config import QaSettings
from evaluation.qa import CLOSED, measure_qa
from evaluation.questions import drawn, read_questions
from evaluation.results import PREDICTIONS, Results, read_results
from evaluation.subject import Subject
from longreach.engines.base import Request, RequestFailed, RequestRefused
from longreach.errors import Unfinished, UserError
from longreach.jsonl import read_lines
from longreach.text.tokenize import Tokenizer
from selfinstruct.cli import main as selfinstruct

DOCUMENTS = Path(__file__).parents[1] / "data" / "heldout_documents.jsonl"
TASKS = {"short_answer", "long_answer", "section_summary", "summary"}
Row = dict[str, Any]
Answer = Callable[[Request], Any]
Measure = Callable[..., Results]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    words = f"--engine extractive --tasks {','.join(sorted(TASKS))} --tasks-per-chunk all"
    sizes = "--context-tokens 1400 --chunk-tokens 300 --chunks-per-doc all"
    command = ["generate", "--docs", str(DOCUMENTS), "--out", str(out), *words.split(), *sizes.split()]
    ended = CliRunner().invoke(selfinstruct, command)
    assert ended.exit_code == 0, ended.output
    return out


@pytest.fixture(scope="module")
def records(run: Path) -> list[Row]:
    return list(read_lines(run / "records.jsonl"))


@pytest.fixture
def measure(scripted: Any, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Measure:
    """Runs qa on a model that answers by a function of the request."""

    def ask(answer: Answer, records: str | Path, *, chat: bool = True, out: str = "out", **settings: Any) -> Results:
        subject = Subject(scripted(answer), tokenizer, chat, 0, "scripted", 4)
        monkeypatch.setattr(qa, "open_subject", lambda _: subject)
        return measure_qa(QaSettings(model="scripted", records=(str(records),), out=str(tmp_path / out), **settings))

    return ask


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(records: list[Row], *, closed: bool) -> Answer:
    """A model that knows the answer of every prompt; of one without its document only where `closed`."""
    known = {record["messages"][0]["content"]: record["messages"][1]["content"] for record in records}

    def answer(request: Request) -> str:
        asked = request.messages[0].content
        if asked in known:
            return known[asked]
        assert "<document>\n\n</document>" in asked
        [right] = {
            said for whole, said in known.items() if closed and whole.endswith(asked.split("</document>")[1])
        } or {"no idea"}
        return right

    return answer


def figures(results: Results, metric: str) -> dict[str, float]:
    """The overall figures of all tasks."""
    return {
        each.task: each.value
        for each in results.scores
        if each.metric == metric and each.length is None and each.depth is None
    }


def test_always_right_is_100_and_never_right_is_0(measure: Measure, run: Path, records: list[Row]) -> None:
    right = measure(answers(records, closed=False), run, out="right")
    assert {(each.task, each.metric, each.value) for each in right.headline} == {
        ("short_answer", "f1", 100.0),
        ("long_answer", "rouge_geo", 100.0),
        ("section_summary", "rouge_geo", 100.0),
        ("summary", "rouge_geo", 100.0),
    }
    assert {task: value for task, value in figures(right, "f1").items() if task in TASKS} == dict.fromkeys(TASKS, 100)
    wrong = measure(lambda _: "zzz", run, out="wrong")
    assert {each.value for each in wrong.scores} == {0.0}
    assert {each.value for each in wrong.headline} == {0.0}


def test_the_closed_book_shows_what_was_known(measure: Measure, run: Path, records: list[Row]) -> None:
    short = [record for record in records if record["task"] == "short_answer"]
    honest = measure(answers(records, closed=False), run, out="honest", samples=0)
    assert figures(honest, "f1")[CLOSED + "short_answer"] == 0
    leak = honest.further["closed_book"]["short_answer"]
    assert (leak["n"], leak["without"], leak["with_document"]) == (len(short), 0, 100)
    assert leak["worth"]["value"] == 100
    assert leak["as_well"]["value"] == 0
    said = "short_answer: f1 is 0.0 without the document and 100.0 with it, 100.0 (100.0–100.0) more; answered as well"
    assert any(note.startswith(said) for note in honest.notes)


def test_an_answer_known_by_heart_counts_as_a_leak(measure: Measure, records: list[Row], tmp_path: Path) -> None:
    short = [record for record in records if record["task"] == "short_answer"]
    path = written(tmp_path / "short.jsonl", short)
    known = measure(answers(short, closed=True), path)
    leak = known.further["closed_book"]["short_answer"]
    assert leak["as_well"]["value"] == 100
    assert leak["worth"] == {"value": 0, "low": 0, "high": 0}
    off = measure(answers(short, closed=True), path, closed_book=False, out="off")
    assert set(figures(off, "f1")) == {"short_answer"}
    assert off.further["closed_book"] == {}


@pytest.mark.parametrize("chat", [True, False])
def test_what_is_asked(measure: Measure, run: Path, records: list[Row], tmp_path: Path, chat: bool) -> None:
    results = measure(lambda _: " x", run, chat=chat, max_tokens=9)
    lines = {line["id"]: line for line in read_lines(tmp_path / "out" / PREDICTIONS)}
    prompts = {line["sha256"]: line for line in read_lines(tmp_path / "out" / "prompts.jsonl")}
    assert len(lines) == 2 * len(records)
    for record in records:
        content = record["messages"][0]["content"]
        line = lines[f"{record['task']}/{record['id']}"]
        closed = lines[CLOSED + line["id"]]
        document = content.split("<document>\n")[1].split("\n</document>")[0]
        for given, expected in ((line, content), (closed, content.replace(document, ""))):
            prompt = prompts[given["prompt_sha256"]]
            asked = prompt["messages"][0]["content"] if chat else prompt["text"]
            assert asked == (expected if chat else f"{expected}\n\nAnswer:")
            assert given["references"] == [record["messages"][1]["content"]]
        if record["evidence"] and record["task"] != "section_summary":
            start, end = record["evidence"][0]["start"], record["evidence"][-1]["end"]
            assert start - 1 <= record["context"]["start"] + line["depth"] * len(document) <= end + 1
        assert (closed["length"], closed["depth"]) == (None, None)
    assert results.measure == "qa"


def longer_by(record: Row, words: int) -> Row:
    """With so many more before its document."""
    ask, reply = record["messages"]
    return {**record, "messages": [{**ask, "content": "Heed this. " * words + ask["content"]}, reply]}


def test_figures_by_length_and_depth_are_of_those_questions(
    measure: Measure, records: list[Row], tmp_path: Path
) -> None:
    two = [longer_by(record, 400 * (number % 2)) for number, record in enumerate(records)]
    results = measure(lambda request: request.messages[0].content[-200:], written(tmp_path / "two.jsonl", two))
    lines = [line for line in read_lines(tmp_path / "out" / PREDICTIONS) if line["task"] == "short_answer"]
    of_task = [each for each in results.scores if (each.task, each.metric) == ("short_answer", "f1")]
    lengths = {each.length: each for each in of_task if each.length}
    depths = {each.depth: each for each in of_task if each.depth is not None}
    assert len(lengths) > 1
    assert len(depths) > 2
    for length, cell in lengths.items():
        values = [line["scores"]["f1"] for line in lines if length / 2 < line["length"] <= length]
        assert (cell.n, cell.value) == (len(values), pytest.approx(sum(values) / len(values)))
    for depth, cell in depths.items():
        values = [line["scores"]["f1"] for line in lines if abs(line["depth"] - depth) <= 0.1]
        assert (cell.n, cell.value) == (len(values), pytest.approx(sum(values) / len(values)))
    assert sum(each.n for each in lengths.values()) == sum(each.n for each in depths.values()) == len(lines)
    assert all(each.low <= each.value <= each.high for each in results.scores)


def test_the_folder_holds_the_results_and_a_picture(measure: Measure, run: Path, tmp_path: Path) -> None:
    results = measure(lambda _: "the harbour", run)
    read = read_results(tmp_path / "out")
    assert (read.scores, read.headline, read.notes) == (results.scores, results.headline, results.notes)
    assert (tmp_path / "out" / "qa.png").read_bytes().startswith(b"\x89PNG")
    again = measure(lambda _: "another", run)  # from the journal: nothing is asked twice
    assert again.scores == results.scores


def test_a_prompt_beyond_the_window_is_counted_and_said(measure: Measure, run: Path, tmp_path: Path) -> None:
    def short_sighted(request: Request) -> Any:
        if len(request.messages[0].content) > 3_000:
            return RequestRefused("prompt too long", "9 tokens, the model reads 8, answer included")
        return "x"

    results = measure(short_sighted, run)
    lines = list(read_lines(tmp_path / "out" / PREDICTIONS))
    failed = [line for line in lines if line["failed"]]
    assert 0 < len(failed) < len(lines)
    assert all(line["scores"] == {} for line in failed)
    [note] = [note for note in results.notes if "no score" in note]
    assert note.startswith(f"{len(failed):,} of {len(lines):,} prompts have no score: prompt too long: 9 tokens")
    n = {each.task: each.n for each in results.headline}
    assert sum(n.values()) == sum(not line["failed"] and not line["task"].startswith(CLOSED) for line in lines)


def test_a_model_that_reads_none_of_the_prompts_is_an_error(measure: Measure, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="questions has an answer: prompt too long"):
        measure(lambda _: RequestRefused("prompt too long", "9 tokens"), run)
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_server_that_goes_away_ends_in_another_try(measure: Measure, run: Path, tmp_path: Path) -> None:
    def flaky(request: Request) -> Any:
        return "x" if "Question:" in request.messages[0].content else RequestFailed("http 503")

    with pytest.raises(Unfinished):
        measure(flaky, run)
    assert not (tmp_path / "out" / "results.json").exists()
    assert measure(lambda _: "x", run).headline


def test_rows_that_are_no_questions_are_counted(measure: Measure, records: list[Row], tmp_path: Path) -> None:
    good = records[0]
    ask, reply = good["messages"]
    unplaced = {**good, "id": "u", "messages": [{**ask, "content": "What?"}, reply]}
    bad: list[Any] = [
        {"text": "a"},
        {**good, "messages": [ask]},
        {**good, "messages": [reply]},
        {**good, "messages": [{"role": "user", "content": None}, reply]},
        {**good, "id": 5},
        {**good, "messages": [ask, {**reply, "content": " "}]},
        {**good, "context": {"start": 5}},
        {**good, "evidence": "all"},
        7,
    ]
    path = written(tmp_path / "mixed.jsonl", [good, *bad, good, unplaced])
    results = measure(lambda _: "x", path)
    assert results.further["left_out"] == {
        "no record": 5,
        "empty answer": 1,
        "broken record": 2,
        "not an object": 1,
        "told before": 1,
    }
    assert "5 rows are left out: no record" in results.notes
    assert any(note.startswith("1 prompts do not show where their document stands") for note in results.notes)
    assert {line["id"] for line in read_lines(tmp_path / "out" / PREDICTIONS)} == {
        f"{good['task']}/{good['id']}",
        f"{CLOSED}{good['task']}/{good['id']}",
        f"{good['task']}/u",
    }


def test_bad_input_is_one_clear_error(measure: Measure, run: Path, tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(UserError) as error:
            measure(lambda _: "x", path)
        return error.value.problem

    assert said(written(tmp_path / "no.jsonl", [{"text": "a"}, {"text": "b"}])).endswith("no.jsonl: 2 no record")
    assert "nowhere" in said(tmp_path / "nowhere")
    manifest = json.loads((run / "run.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "run.json").write_text(json.dumps(manifest))
    assert said(other) == f"{other} holds no records.jsonl"
    (other / "run.json").write_text(json.dumps({**manifest, "status": "running"}))
    assert said(other) == f"{other} is not finished"


def test_a_draw_is_even_the_same_every_time_and_keeps_documents_together(run: Path, records: list[Row]) -> None:
    questions, _ = read_questions([str(run)])
    assert len(questions) == len(records)
    few = drawn(questions, 12, seed=0)
    assert [each.id for each in few] == [each.id for each in drawn(questions, 12, seed=0)]
    assert {each.id for each in few} != {each.id for each in drawn(questions, 12, seed=1)}
    assert {each.id for each in few} < {each.id for each in drawn(questions, 13, seed=0)}
    assert len(drawn(questions, 10**6, seed=0)) == len(questions)

    def runs(documents: Iterator[str]) -> int:
        given = list(documents)
        return 1 + sum(first != second for first, second in pairwise(given))

    for several in (few, drawn(questions, 0, seed=0)):
        assert runs(each.document for each in several) == len({each.document for each in several})


def test_fewer_are_asked_where_fewer_are_wanted(
    measure: Measure, run: Path, records: list[Row], tmp_path: Path
) -> None:
    results = measure(lambda _: "x", run, samples=5)
    assert sum(each.n for each in results.headline) == 5
    assert f"5 of {len(records):,} questions, drawn evenly" in results.notes
    with pytest.raises(UserError, match="made with other settings"):
        measure(lambda _: "x", run, samples=6)
