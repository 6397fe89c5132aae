"""Whatever the bytes, a file gives documents and notes and nothing else."""

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped

NAMES = [
    *("a.txt", "a.html", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.pdf", "a.docx", "a.epub", "a.parquet"),
    *("a.txt.gz", "a.jsonl.zst", "a.json.gz", "a.csv.zst", "a.html.gz", "a"),
]
QUIET = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MARKUP = st.lists(
    st.sampled_from(
        [
            '{"text":',
            '"',
            "[",
            "]",
            "{",
            "}",
            ",",
            "\n",
            "\r\n",
            "\\",
            "\\ud800",
            "text",
            "<p>",
            "<table>",
            "</pre>",
            "<td>",
            "\t",
            "\ufeff",
        ]
    )
    | st.text(max_size=5)
).map(lambda parts: "".join(parts).encode("utf-8", "surrogatepass"))


def check(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    items = list(Corpus([str(path)], min_chars=1))
    assert items
    assert all(isinstance(item, Document | Skipped) for item in items)
    for item in items:
        if isinstance(item, Document):
            item.text.encode("utf-8")
            item.id.encode("utf-8")
        else:
            item.detail.encode("utf-8")
            assert item.reason
    ids = [item.id for item in items if isinstance(item, Document)]
    assert len(ids) == len(set(ids))


@QUIET
@given(data=st.binary(max_size=300) | MARKUP)
@pytest.mark.parametrize("name", NAMES)
def test_any_bytes(tmp_path: Path, name: str, data: bytes) -> None:
    check(tmp_path / name, gzip.compress(data) if name.endswith("gz") else data)


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"text": ["word " * 20] * 50, "id": ["x"] * 50}), out, row_group_size=10)
    return out.getvalue()


def book() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("META-INF/container.xml", '<c><rootfile full-path="a.opf"/></c>')
        members.writestr("a.opf", '<p><item id="x" href="x.html"/><itemref idref="x"/></p>')
        members.writestr("x.html", "<p>text " * 50)
        members.writestr("_rels/.rels", '<r><e Type="/officeDocument" Target="d.xml"/></r>')
        members.writestr("d.xml", "<d><p><t>text</t></p><tbl><tr><tc><p><t>x</t></p></tc></tr></tbl></d>")
    return out.getvalue()


GOOD = {
    "a.parquet": parquet(),
    "a.epub": book(),
    "a.docx": book(),
    "a.jsonl.gz": gzip.compress(b'{"text": "some words"}\n' * 50),
    "a.json": b'[{"text": "some words", "n": [1, {"a": null}]}, "more"]' * 3,
    "a.csv": b'id,text\n1,"a ""quoted"" one\nof two lines"\n2,plain\n' * 3,
}


@QUIET
@given(flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=4), end=st.floats(0.1, 1.0))
@pytest.mark.parametrize("name", GOOD)
def test_spoilt_files(tmp_path: Path, name: str, flips: list[tuple[int, int]], end: float) -> None:
    data = bytearray(GOOD[name])
    for place, value in flips:
        data[place % len(data)] = value
    check(tmp_path / name, bytes(data[: int(len(data) * end) or 1]))
