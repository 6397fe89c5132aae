"""The bar: 1,000 good rows, a bad one in the middle: every good row is kept, the bad one is listed with its place."""

import gzip
import json
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons
from spoilt import MIDDLE, packed, planted

GOOD = [{"id": f"r{n}", "text": f'Row {n}, "quoted", ü, a comma.\nA second line. ' + "word " * 40} for n in range(1000)]
TEXTS = [row["text"] for row in GOOD]
LONG = b"x" * 300


def read(path: Path) -> tuple[list[Document], list[Skipped]]:
    items = list(Corpus([str(path)]))
    return [x for x in items if isinstance(x, Document)], [x for x in items if isinstance(x, Skipped)]


def check(path: Path, reason: str, line: int, byte: int | None) -> None:
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS
    assert len({document.id for document in documents}) == len(TEXTS)
    assert [(note.path, note.reason, note.line, note.byte) for note in skipped] == [(str(path), reason, line, byte)]


JSON_ROWS = [json.dumps(row, ensure_ascii=False).encode() for row in GOOD]
VALUE_DEFECTS = {
    "cut short": (b'{"text": "' + LONG, reasons.BROKEN_JSON),
    "a page of HTML": (b"<html>502 Bad Gateway</html>", reasons.BROKEN_JSON),
    "raw control character": (b'{"text": "' + LONG + b'\x07"}', reasons.BROKEN_JSON),
    "deep nesting": (b'{"text": ' + b"[" * 100_000, reasons.BROKEN_JSON),
    "a number of 5,000 digits": (
        b'{"text": "' + LONG + b'", "n": NaN, "m": ' + b"9" * 5000 + b"}",
        reasons.BROKEN_JSON,
    ),
    "bad utf-8": (b'{"text": "' + LONG + b'\xff\xfe"}', reasons.BAD_UTF8),
    "utf-8 surrogate": (b'{"text": "' + LONG + b'\xed\xa0\x80"}', reasons.BAD_UTF8),
    "escaped surrogate": (b'{"text": "' + LONG + b'\\ud800"}', reasons.LONE_SURROGATE),
    "escaped nul": (b'{"text": "' + LONG + b'\\u0000"}', reasons.NUL_BYTES),
    "no text field": (b'{"content": "' + LONG + b'", "n": 1}', reasons.NO_TEXT_FIELD),
    "null": (b'{"text": null}', reasons.NOT_A_STRING),
    "a number": (b'{"text": 17}', reasons.NOT_A_STRING),
    "a list": (b'["a", "b"]', reasons.NOT_A_STRING),
    "empty": (b'{"text": " \\n "}', reasons.EMPTY),
    "too short": (b'{"text": "short"}', reasons.TOO_SHORT),
}
LINE_DEFECTS = {
    **VALUE_DEFECTS,
    "two values": (b'{"text": "a"} {"text": "b"}', reasons.BROKEN_JSON),
    "a hole of nul bytes": (b"\0" * 4096, reasons.NUL_BYTES),
}
LIST_DEFECTS = {
    **VALUE_DEFECTS,
    "no comma": (b'{"text": "' + LONG + b'" "id": 3}', reasons.BROKEN_JSON),
    "no closing brace": (b'{"text": "' + LONG + b'"', reasons.BROKEN_JSON),
}


@pytest.mark.parametrize("name", LINE_DEFECTS)
@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson.gz", ".jsonl.zst"])
def test_json_lines(tmp_path: Path, name: str, suffix: str) -> None:
    bad, reason = LINE_DEFECTS[name]
    data, byte = planted(JSON_ROWS, bad)
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(packed(data, path.suffix))
    check(path, reason, MIDDLE + 1, byte)


@pytest.mark.parametrize("name", LIST_DEFECTS)
@pytest.mark.parametrize("end", [b",", b",\n  "], ids=["one line", "indented"])
def test_list_in_a_json_file(tmp_path: Path, name: str, end: bytes) -> None:
    bad, reason = LIST_DEFECTS[name]
    data, byte = planted(JSON_ROWS, bad, end)
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + data.rstrip(b", \n") + b"]")
    check(path, reason, MIDDLE + 1, byte + 1)


def test_values_one_after_the_other_in_a_json_file(tmp_path: Path) -> None:
    data, byte = planted(JSON_ROWS, b'{"text": "' + LONG)
    path = tmp_path / "rows.json"
    path.write_bytes(data)
    check(path, reasons.BROKEN_JSON, MIDDLE + 1, byte)


CSV_ROWS = [b'%s,"%s"' % (row["id"].encode(), row["text"].replace('"', '""').encode()) for row in GOOD]
CSV_DEFECTS = {
    "unclosed quote": (b'bad,"' + LONG, reasons.BROKEN_CSV),
    "text after a quote": (b'bad,"' + LONG + b'" and more,', reasons.BROKEN_CSV),
    "a field too many": (b"bad," + LONG + b",more", reasons.BROKEN_CSV),
    "a field too few": (LONG, reasons.BROKEN_CSV),
    "bad utf-8": (b"bad," + LONG + b"\xe4", reasons.BAD_UTF8),
    "nul": (b"bad," + LONG + b"\0", reasons.NUL_BYTES),
    "empty": (b"bad,", reasons.EMPTY),
    "too short": (b"bad,short", reasons.TOO_SHORT),
    "lone carriage return": (b"bad,a\r" + LONG, reasons.BROKEN_CSV),
}


@pytest.mark.parametrize("name", CSV_DEFECTS)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv(tmp_path: Path, name: str, suffix: str) -> None:
    bad, reason = CSV_DEFECTS[name]
    data, byte = planted(CSV_ROWS, bad, b"\r\n")
    header = b"id,text\r\n"
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(packed(header + data, path.suffix))
    check(path, reason, 2 * MIDDLE + 2, len(header) + byte)  # each good row takes two lines


def test_unclosed_quote_that_no_other_quote_betrays(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"r{n},{'word ' * 50}".encode() for n in range(20)]
    path.write_bytes(b"\n".join([b"id,text", *rows[:10], b'bad,"never closed ' + LONG, *rows[10:]]))
    documents, skipped = read(path)
    assert [document.id.partition(":")[2] for document in documents] == [f"r{n}" for n in range(20)]
    assert [(note.reason, note.line) for note in skipped] == [(reasons.BROKEN_CSV, 12)]


def test_tsv_that_does_not_quote(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_bytes(b'id\ttext\n1\t"Well", he said, ' + LONG + b'\n2\t"' + LONG + b"\n3\t" + LONG + b"\tx\n4\t" + LONG)
    documents, skipped = read(path)
    assert [document.text[:6] for document in documents] == ['"Well"', '"xxxxx', "xxxxxx"]
    assert [(note.reason, note.line) for note in skipped] == [(reasons.BROKEN_CSV, 4)]


PARQUET_DEFECTS = {
    "null": (None, reasons.NOT_A_STRING),
    "bad utf-8": (LONG + b"\xff", reasons.BAD_UTF8),
    "nul": (LONG + b"\0", reasons.NUL_BYTES),
    "empty": (b"", reasons.EMPTY),
    "too short": (b"short", reasons.TOO_SHORT),
}


@pytest.mark.parametrize("name", PARQUET_DEFECTS)
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()], ids=str)
def test_parquet(tmp_path: Path, name: str, kind: pa.DataType) -> None:
    bad, reason = PARQUET_DEFECTS[name]
    values = [text.encode() for text in TEXTS]
    column = pa.array(
        [*values[:MIDDLE], bad, *values[MIDDLE:]], pa.large_binary() if kind == pa.large_string() else pa.binary()
    )
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": column.view(kind), "id": range(1001)}), path, row_group_size=300)
    check(path, reason, MIDDLE + 1, None)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_truncated_compression_keeps_the_lines_before_the_break(tmp_path: Path, suffix: str) -> None:
    lines = [row + b"\n" for row in JSON_ROWS]
    start = sum(map(len, lines[:MIDDLE]))
    readable = b"".join(lines)[: start + 50]  # flushed there, and no end mark
    path = tmp_path / f"rows.jsonl{suffix}"
    if suffix == ".gz":
        gzipper = zlib.compressobj(wbits=31)
        path.write_bytes(gzipper.compress(readable) + gzipper.flush(zlib.Z_SYNC_FLUSH))
    else:
        zstandarder = zstandard.ZstdCompressor().compressobj()
        path.write_bytes(zstandarder.compress(readable) + zstandarder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS[:MIDDLE]
    reason = reasons.TRUNCATED_GZ if suffix == ".gz" else reasons.TRUNCATED_ZST
    assert [(note.reason, note.line, note.byte) for note in skipped] == [(reason, MIDDLE + 1, start)]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_damaged_compression_keeps_the_lines_before_it(tmp_path: Path, suffix: str) -> None:
    first, second = b"".join(row + b"\n" for row in JSON_ROWS[:MIDDLE]), bytearray(packed(JSON_ROWS[MIDDLE], suffix))
    second[2] ^= 0xFF
    path = tmp_path / f"rows.jsonl{suffix}"
    path.write_bytes(packed(first, suffix) + bytes(second))
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS[:MIDDLE]
    reason = reasons.BROKEN_GZ if suffix == ".gz" else reasons.BROKEN_ZST
    assert [(note.reason, note.line, note.byte) for note in skipped] == [(reason, MIDDLE + 1, len(first))]


def test_cut_list_keeps_what_was_complete(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    data = b"[" + b",".join(JSON_ROWS) + b"]"
    path.write_bytes(data[: data.index(JSON_ROWS[MIDDLE]) + 60])
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS[:MIDDLE]
    assert [(note.reason, note.line) for note in skipped] == [(reasons.BROKEN_JSON, MIDDLE + 1)]
    path.write_bytes(data[:-1])
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS
    assert [(note.reason, note.detail) for note in skipped] == [(reasons.BROKEN_JSON, "the list has no end")]


def test_cut_gzipped_list_keeps_what_was_complete(tmp_path: Path) -> None:
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(b"[" + b",".join(JSON_ROWS) + b"]")[:-1])
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS
    assert [(note.reason, note.line) for note in skipped] == [(reasons.TRUNCATED_GZ, 1001)]


def test_cut_gzipped_csv_keeps_what_was_complete(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    data = b"\n".join([b"id,text", *CSV_ROWS])
    packed_data = gzip.compress(data)
    path.write_bytes(packed_data[: len(packed_data) // 2])
    documents, skipped = read(path)
    assert 200 < len(documents) < 900
    assert [document.text for document in documents] == TEXTS[: len(documents)]
    assert skipped[-1].reason == reasons.TRUNCATED_GZ


def test_values_read_together_with_the_break_are_kept(tmp_path: Path) -> None:
    """A long first value makes the reader read far ahead, up to the break."""
    path = tmp_path / "rows.json.gz"
    rows = [json.dumps({"text": "long " * 200_000}).encode(), *JSON_ROWS]
    path.write_bytes(gzip.compress(b"[" + b",".join(rows) + b"]")[:-1])
    documents, skipped = read(path)
    assert [document.text for document in documents[1:]] == TEXTS
    assert [note.reason for note in skipped] == [reasons.TRUNCATED_GZ]


def test_stray_sign_in_a_list(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + JSON_ROWS[0] + b"}," + JSON_ROWS[1] + b"]")
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS[:2]
    assert [(note.reason, note.byte) for note in skipped] == [(reasons.BROKEN_JSON, 1 + len(JSON_ROWS[0]))]


PLAIN_PARQUET = {"row_group_size": 250, "use_dictionary": False, "compression": "none", "write_page_checksum": True}


def test_damaged_row_group_costs_only_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path, **PLAIN_PARQUET)
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(data)
    documents, skipped = read(path)
    assert [document.text for document in documents] == TEXTS[:500] + TEXTS[750:]
    assert [(note.reason, note.line) for note in skipped] == [(reasons.BROKEN_PARQUET, 501)]
    assert "rows 501 to 750" in skipped[0].detail


def test_truncated_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": TEXTS}), path)
    path.write_bytes(path.read_bytes()[:-100])
    assert [note.reason for note in read(path)[1]] == [reasons.TRUNCATED_PARQUET]
    path.write_bytes(b"no such thing")
    assert [note.reason for note in read(path)[1]] == [reasons.BROKEN_PARQUET]


def test_missing_field_names_the_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"url": "here", "content": "' + LONG + b'"}\n')
    [note] = read(path)[1]
    assert note.detail == "no field 'text' among: url, content; set the text field to 'content'"
