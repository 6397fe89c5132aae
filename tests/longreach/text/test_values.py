"""Rows with all their fields: every good one is kept, a bad one is listed with its place, a text is no row."""

import datetime
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.text.corpus import Corpus
from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.values import Value, Values
from spoilt import MIDDLE, packed, planted


def chat(number: int) -> dict[str, Any]:
    turns = [("user", f'Row {number}, "quoted",\nü; asks.'), ("assistant", "An answer. " * 9)]
    return {"id": f"r{number}", "n": number, "messages": [{"role": role, "content": text} for role, text in turns]}


GOOD = [chat(number) for number in range(1000)]
JSON_ROWS = [json.dumps(row, ensure_ascii=False).encode() for row in GOOD]
FLAT = [{"instruction": f'Row {n}, "quoted",\nü', "input": "", "output": "An answer."} for n in range(1000)]


def read(*paths: Path) -> tuple[list[Value], list[Skipped]]:
    items = list(Values([str(path) for path in paths]))
    return [x for x in items if isinstance(x, Value)], [x for x in items if isinstance(x, Skipped)]


def check(path: Path, good: list[dict[str, Any]], reason: str, line: int, byte: int | None) -> Skipped:
    values, [note] = read(path)
    assert [value.value for value in values] == good
    assert {value.path for value in values} == {note.path} == {str(path)}
    assert len({value.line for value in values} | {line}) == len(good) + 1
    assert (note.reason, note.line, note.byte) == (reason, line, byte)
    return note


TURN = b'{"messages": [{"role": "user", "content": "'
DEFECTS = {
    "cut short": (TURN + b"x" * 300, reasons.BROKEN_JSON),
    "a page of HTML": (b"<html>502 Bad Gateway</html>", reasons.BROKEN_JSON),
    "raw control character": (TURN + b'\x07"}]}', reasons.BROKEN_JSON),
    "nested too deep": (b'{"a": ' + b"[" * 100_000, reasons.BROKEN_JSON),
    "bad utf-8": (TURN + b'\xff"}]}', reasons.BAD_UTF8),
    "escaped surrogate": (TURN + b'\\ud800"}]}', reasons.LONE_SURROGATE),
    "surrogate in a name": (b'{"\\udfff": 1}', reasons.LONE_SURROGATE),
    "surrogate in a name within": (b'{"a": {"\\udfff": 1}}', reasons.LONE_SURROGATE),
    "escaped nul": (TURN + b'\\u0000"}]}', reasons.NUL_BYTES),
    "nul deep inside": (b'{"a": {"b": ["c\\u0000"]}}', reasons.NUL_BYTES),
    "a list": (b'["a", "b"]', reasons.NOT_AN_OBJECT),
    "a string": (b'"a text"', reasons.NOT_AN_OBJECT),
    "no fields": (b"{}", reasons.EMPTY),
}


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson.gz", ".jsonl.zst"])
def test_json_lines(tmp_path: Path, name: str, suffix: str) -> None:
    bad, reason = DEFECTS[name]
    data, byte = planted(JSON_ROWS, bad)
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(packed(data, path.suffix))
    check(path, GOOD, reason, MIDDLE + 1, byte)


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_list_in_a_json_file(tmp_path: Path, name: str, suffix: str) -> None:
    bad, reason = DEFECTS[name]
    data, byte = planted(JSON_ROWS, bad, b",\n")
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(packed(b"[" + data.rstrip(b",\n") + b"]", path.suffix))
    check(path, GOOD, reason, MIDDLE + 1, byte + 1)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'"never closed,,', reasons.BROKEN_CSV),
        (b"a,b,c,d", reasons.BROKEN_CSV),
        (b"a,b", reasons.BROKEN_CSV),
        (b"a,b,\xe4", reasons.BAD_UTF8),
        (b"a,b,\0", reasons.NUL_BYTES),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst"])
def test_csv(tmp_path: Path, bad: bytes, reason: str, suffix: str) -> None:
    rows = [",".join('"' + text.replace('"', '""') + '"' for text in row.values()).encode() for row in FLAT]
    data, byte = planted(rows, bad, b"\r\n")
    header = b"instruction,input,output\r\n"
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(packed(header + data, path.suffix))
    check(path, FLAT, reason, 2 * MIDDLE + 2, len(header) + byte)  # each good row takes two lines


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_with_the_delimiter_its_header_shows(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(delimiter.join(["prompt", "completion"]) + "\n" + delimiter.join(['"a, b; c|d\te"', "f"]) + "\n")
    assert [value.value for value in read(path)[0]] == [{"prompt": "a, b; c|d\te", "completion": "f"}]


def test_csv_that_names_a_field_twice_is_one_note(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,prompt,completion\na,b,c\nd,e,f\n")
    values, [note] = read(path)
    assert not values
    assert (note.reason, note.detail, note.line) == (reasons.BROKEN_CSV, "the header names 'prompt' twice", 1)


TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
SPOILT_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.binary())]))


@pytest.mark.parametrize(
    ("bad", "reason"), [(b"x\xff", reasons.BAD_UTF8), (b"x\0", reasons.NUL_BYTES)], ids=["bad utf-8", "nul"]
)
def test_parquet_with_turns_in_lists(tmp_path: Path, bad: bytes, reason: str) -> None:
    """The bad bytes go in as such and are then called a string, as a careless writer would."""
    turns = [row["messages"] for row in GOOD]
    turns.insert(MIDDLE, [{"role": "user", "content": bad}])
    encoded = [[{**turn, "content": text(turn["content"])} for turn in row] for row in turns]
    spoilt = pa.array(encoded, SPOILT_TURNS)
    roles, contents = spoilt.values.field("role"), spoilt.values.field("content").view(pa.string())
    column = pa.ListArray.from_arrays(
        spoilt.offsets, pa.StructArray.from_arrays([roles, contents], fields=[*TURNS.value_type])
    )
    numbers = [*range(MIDDLE), -1, *range(MIDDLE, 1000)]
    path = tmp_path / "rows.parquet"
    table = pa.table({"id": [f"r{n}" for n in numbers], "n": numbers, "messages": column})
    pq.write_table(table, path, row_group_size=300)
    check(path, GOOD, reason, MIDDLE + 1, None)


def text(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def test_parquet_of_bytes_and_times_gives_what_json_would(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {
        "prompt": pa.array([b"caf\xc3\xa9"], pa.binary()),
        "kind": pa.array(["short"]).dictionary_encode(),
        "at": pa.array([1], pa.timestamp("ns")),
        "day": pa.array([datetime.date(2024, 2, 29)]),
        "far": pa.array([1 << 61], pa.timestamp("ms")),
        "score": pa.array([None], pa.float64()),
    }
    pq.write_table(pa.table(columns), path)
    [value] = read(path)[0]
    assert value.value | {"far": ""} == {
        "prompt": "café",
        "kind": "short",
        "at": "1970-01-01 00:00:00.000000001",
        "day": "2024-02-29",
        "far": "",
        "score": None,
    }


def test_a_value_that_python_cannot_hold_costs_its_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    times = pa.array([[1], [1 << 61], [3]], pa.list_(pa.timestamp("ms")))
    pq.write_table(pa.table({"n": [1, 2, 3], "times": times}), path)
    values, [note] = read(path)
    assert [value.value["n"] for value in values] == [1, 3]
    assert (note.reason, note.line) == (reasons.BROKEN_PARQUET, 2)
    assert "the column 'times'" in note.detail


def test_damaged_row_group_costs_only_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    plain = {"row_group_size": 250, "use_dictionary": False, "compression": "none", "write_page_checksum": True}
    pq.write_table(pa.Table.from_pylist(GOOD), path, **plain)
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(data)
    values, [note] = read(path)
    assert [value.value for value in values] == GOOD[:500] + GOOD[750:]
    assert (note.reason, note.line) == (reasons.BROKEN_PARQUET, 501)


def test_truncated_compression_keeps_the_lines_before_the_break(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    start = sum(len(row) + 1 for row in JSON_ROWS[:MIDDLE])
    gzipper = zlib.compressobj(wbits=31)
    readable = b"\n".join(JSON_ROWS)[: start + 50]
    path.write_bytes(gzipper.compress(readable) + gzipper.flush(zlib.Z_SYNC_FLUSH))
    check(path, GOOD[:MIDDLE], reasons.TRUNCATED_GZ, MIDDLE + 1, start)


def test_a_json_file_of_one_object_is_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(GOOD[0], indent=2))
    assert read(path) == ([Value(str(path), 1, None, GOOD[0])], [])


def test_a_saved_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(GOOD[:3]).save_to_disk(str(tmp_path / "saved"))
    values, skipped = read(tmp_path / "saved")
    assert [(value.line, value.value) for value in values] == list(enumerate(GOOD[:3], 1))
    assert not skipped


def test_a_text_among_rows_is_listed(tmp_path: Path) -> None:
    for name in ("README.md", "a.pdf", "b.txt.gz", "c.html", "picture.png"):
        (tmp_path / name).write_bytes(b"x" * 500)
    (tmp_path / "rows.jsonl").write_bytes(JSON_ROWS[0])
    values, skipped = read(tmp_path)
    assert [value.value for value in values] == GOOD[:1]
    assert [(Path(note.path).name, note.reason) for note in skipped] == [
        ("README.md", reasons.NOT_ROWS),
        ("a.pdf", reasons.NOT_ROWS),
        ("b.txt.gz", reasons.NOT_ROWS),
        ("c.html", reasons.NOT_ROWS),
        ("picture.png", reasons.UNKNOWN_FORMAT),
    ]
    assert ".md is one text; rows come from .jsonl" in skipped[0].detail


def test_inputs_that_hold_no_rows_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "odd.data").write_text("text")
    (tmp_path / "chats.jsonl").write_bytes(JSON_ROWS[0])
    with pytest.raises(UserError) as error:
        Values(["notes.txt", "odd.data", "chat.jsonl"])
    assert error.value.problem == (
        "notes.txt: no file that can be read (not rows: 1)\nodd.data: no file that can be read (unknown format: 1)\n"
        "chat.jsonl: no such file or folder"
    )
    assert "rows come from .jsonl" in error.value.hint
    assert "did you mean chats.jsonl?" in error.value.hint
    with pytest.raises(UserError, match="no rows were named"):
        Values([])


def test_progress_reaches_the_total_and_never_falls(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(JSON_ROWS * 5))
    values = Values([str(path)])
    for _ in range(2):
        seen = [values.read_bytes for _ in values]
        assert seen == sorted(seen)
        assert 0 < seen[0] < seen[2500] < values.total_bytes == path.stat().st_size
        assert values.read_bytes == values.total_bytes


def test_values_and_corpus_read_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    rows = [{"text": f"{number} " * 300, "id": f"r{number}"} for number in range(20)]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    texts = [item.text for item in Corpus([str(path)]) if not isinstance(item, Skipped)]
    assert [value.value["text"] for value in read(path)[0]] == texts == [row["text"] for row in rows]


def test_a_corpus_keeps_a_text_whose_id_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    ids = pa.array([b"a", b"b\xff"]).view(pa.string())
    pq.write_table(pa.table({"text": ["word " * 50] * 2, "id": ids}), path)
    assert [item.id for item in Corpus([str(path)]) if not isinstance(item, Skipped)] == [
        f"{path}#1:a",
        f"{path}#2:b\ufffd",
    ]
    assert [(value.line, value.value["id"]) for value in read(path)[0]] == [(1, "a")]


SIGNS = st.lists(st.sampled_from(['{"a":', '"', "[", "]", "{", "}", ",", "\n", "\r", "\\", "\\ud800", "a", "\t"]))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300) | SIGNS.map(lambda signs: "".join(signs).encode()))
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz"])
def test_any_bytes_give_values_and_notes(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(packed(data, path.suffix))
    values, skipped = read(path)
    assert values or skipped
    assert all(json.dumps(value.value, ensure_ascii=False).encode() for value in values)
    assert all(note.reason and note.detail.encode() for note in skipped)


@pytest.mark.parametrize(
    ("name", "expected"), [("org/chats", ("org/chats", "train")), ("org/chats:train_sft", ("org/chats", "train_sft"))]
)
def test_a_dataset_may_name_its_split(name: str, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def load_dataset(repository: str, *, split: str, streaming: bool) -> datasets.IterableDataset:
        asked.append((repository, split))
        return datasets.Dataset.from_list([{"messages": [{"role": "user"}]}]).to_iterable_dataset()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    [value] = Values([name])
    assert isinstance(value, Value)
    assert (value.path, value.line, value.value) == (name, 1, {"messages": [{"role": "user"}]})
    assert set(asked) == {expected}
