"""Documents behind a URL are those of the same files on a disk: texts, order and notes; and what goes wrong is said once."""

import gzip
import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem

from longreach import stores
from longreach.errors import UserError
from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped
from longreach.text.values import Values
from pretrain.cli import main as pretrain
from selfinstruct.cli import main as selfinstruct

TEXT = "The lighthouse stands on the northern end of the island. "


def rows(*names: str) -> bytes:
    return b"".join(json.dumps({"id": name, "text": f"{name}. {TEXT * 5}"}).encode() + b"\n" for name in names)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Files of many formats, some broken, some hidden, in folders whose names sort between those of files."""
    folder = tmp_path / "place"
    for name in ("a", "a-b/c", "b/.hidden", "b/deep", ".git"):
        (folder / name).mkdir(parents=True)
    (folder / "a/rows.jsonl").write_bytes(rows("one", "two") + b"no json\n")
    (folder / "a.txt").write_text(TEXT * 6)
    (folder / "a-b/packed.jsonl.gz").write_bytes(gzip.compress(rows("three", "four")))
    (folder / "a-b/c/cut.jsonl.gz").write_bytes(gzip.compress(rows(*"abcdefghij"))[:-20])
    (folder / "b/deep/picture.xyz").write_bytes(b"\0")
    (folder / "b/deep/odd #1 [x].md").write_text(TEXT * 7)
    (folder / "b/.hidden/secret.txt").write_text(TEXT * 8)
    (folder / ".git/config.txt").write_text(TEXT * 8)
    (folder / "b/empty.jsonl").write_bytes(b"")
    (folder / "b/broken.pdf").write_bytes(b"%PDF-1.4 nothing more")
    pq.write_table(
        pa.table({"text": [TEXT * 9, TEXT * 10], "other": [1, 2]}), folder / "b/table.parquet", row_group_size=1
    )
    (folder / "b/torn.parquet").write_bytes((folder / "b/table.parquet").read_bytes()[:-30])
    (folder / "b/words.docx").write_bytes(docx(TEXT * 5))
    (folder / "zz").write_text(TEXT * 11)
    return folder


def docx(text: str) -> bytes:
    """The least that is a Word document."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as parts:
        parts.writestr("_rels/.rels", '<r><a Type="x/officeDocument" Target="word/document.xml"/></r>')
        parts.writestr("word/document.xml", f"<d><b><p><r><t>{text}</t></r></p></b></d>")
    return held.getvalue()


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, place: Path) -> Iterator[str]:
    """The same files behind a URL."""
    if request.param == "file":
        yield f"file://{place}"
        return
    memory = fsspec.filesystem("memory")
    for path in place.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/bucket/place/{path.relative_to(place)}", path.read_bytes())
    yield "memory://bucket/place"
    memory.rm("/bucket", recursive=True)


def seen(paths: list[str], root: str) -> list[tuple[Any, ...]]:
    """All that a corpus gives, its places below `root`."""
    return [
        (item.id.replace(root, ""), item.path.replace(root, ""), item.text)
        if isinstance(item, Document)
        else (item.path.replace(root, ""), item.reason, item.line, item.byte)
        for item in Corpus(paths)
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("",),
        ("/",),
        ("/a", "/b"),
        ("/a.txt", "/zz", "/a/rows.jsonl"),
        ("/*.txt", "/*"),
        ("/**/*.jsonl*",),
        ("/b/*/*",),
        ("/b/**",),
        ("/?/*.[jp]*",),
        ("/b/table.parquet", "/b"),
    ],
)
def test_the_same_documents_as_on_a_disk(place: Path, url: str, names: tuple[str, ...]) -> None:
    there = seen([f"{url}{name}" for name in names], url)
    assert there == seen([f"{place}{name}" for name in names], str(place))
    assert any(len(item) == 3 for item in there)


def test_every_reason_of_a_disk_is_met(place: Path, url: str) -> None:
    reasons = {item[1] for item in seen([url], url) if len(item) == 4}
    assert reasons == {"broken json", "truncated gz", "unknown format", "empty", "broken pdf", "truncated parquet"}


def test_names_are_as_the_user_gave_them(url: str) -> None:
    ids = [item.id for item in Corpus([f"{url}/a"]) if isinstance(item, Document)]
    assert ids == [f"{url}/a/rows.jsonl#1:one", f"{url}/a/rows.jsonl#2:two"]


def test_progress_and_values(url: str) -> None:
    corpus = Corpus([url])
    assert len(list(corpus)) > 10
    assert corpus.read_bytes == corpus.total_bytes > 1000
    values = list(Values([f"{url}/a/rows.jsonl"]))
    assert [item.value["id"] for item in values if not isinstance(item, Skipped)] == ["one", "two"]


def test_the_rows_and_records_of_a_url_are_those_of_its_files(url: str, place: Path, tmp_path: Path) -> None:
    """Through both commands; the tokens of a shard, too."""
    common = ("--seq-len", "64", "--validation", "0", "--workers", "1")
    for name, source in (("there", url), ("here", str(place))):
        made = CliRunner().invoke(
            pretrain, ["prepare", "--source", f"x={source}@0.5", *common, "--out", str(tmp_path / name)]
        )
        assert made.exit_code == 0, made.output
    for file in ("tokens-00000.bin", "segments.npy"):
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()
    asked = [
        "generate",
        "--docs",
        f"{url}/b",
        "--min-chars",
        "9",
        "--near-duplicates",
        "0",
        "--out",
        str(tmp_path / "g"),
    ]
    done = CliRunner().invoke(selfinstruct, asked)
    assert done.exit_code == 0, done.output
    assert f'"path":"{url}/b/' in (tmp_path / "g/skipped.jsonl").read_text()


# What goes wrong


def problem(*paths: str) -> str:
    with pytest.raises(UserError) as caught:
        list(Corpus(list(paths)))
    return str(caught.value)


def test_nothing_there_and_what_cannot_be_read(url: str) -> None:
    assert f"{url}/nowhere: no such file or folder" in problem(f"{url}/nowhere")
    assert f"{url}/*.nothing: no file that can be read" in problem(f"{url}/*.nothing", f"{url}/a")


def test_stores_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "fil:// is no store; did you mean 'file'?" in problem("fil:///tmp/x")
    assert "chained URLs are not read" in problem("simplecache::memory://x")
    real = fsspec.get_filesystem_class

    def without(protocol: str) -> Any:
        if protocol == "s3":
            raise ImportError("Install s3fs to access S3")
        return real(protocol)

    monkeypatch.setattr("fsspec.core.get_filesystem_class", without)
    said = problem("s3://bucket/books")
    assert said == "s3://bucket/books: s3:// needs a package: Install s3fs to access S3\n  hint: pip install s3fs"
    monkeypatch.setattr(stores, "find_spec", lambda _: None)
    assert "pip install 'longreach[remote]'" in problem("memory://x")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("ftp://me:hush@host/x", "ftp://***@host/x"),
        ("https://hush@host/x.jsonl", "https://***@host/x.jsonl"),
        ("https://host/x.jsonl?X-Amz-Signature=hush&a=b", "https://host/x.jsonl?***"),
        ("s3://hush:hush@bucket/a/b", "s3://***@bucket/a/b"),
        ("s3://hush:+hu/hush@bucket/a/b", "s3://***@bucket/a/b"),  # half of the keys of S3 have a slash
        ("ftp://me:hush@hush@host/x", "ftp://***@host/x"),
        ("HTTPS://hush@host/x.jsonl", "HTTPS://***@host/x.jsonl"),
    ],
)
def test_a_url_with_a_key_is_refused_and_the_key_not_shown(given: str, shown: str, tmp_path: Path) -> None:
    assert f"{shown}: a URL must hold no key" in problem(given)
    out = tmp_path / "out"
    for main, words in (
        (pretrain, ["prepare", "--source", f"a={given}@0.5", "--out", str(out)]),
        (selfinstruct, ["generate", "--docs", given, "--out", str(out)]),
    ):
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 1
        assert shown in done.stderr
        assert "hush" not in done.output
        assert not out.exists()


@pytest.mark.parametrize(
    "good",
    [
        "s3://bucket/a@2024/x.txt",
        "s3://bucket/a:b@c",
        "hf://datasets/me/set@main",
        "sftp://me@host/x",
        "http://host:8080/a@b/x.txt",
        "http://[::1]:8080/x.txt",
    ],
)
def test_an_at_sign_is_no_key(good: str) -> None:
    from longreach.urls import with_keys

    assert not with_keys([good, f"name={good}@0.5", "a:b@c", "/x?y=z"])


@pytest.mark.parametrize("name", ["a/rows.jsonl", "b/table.parquet", "b/words.docx", "b/broken.pdf"])
@pytest.mark.parametrize("how", ["fails", "ends"])
def test_a_store_that_fails_stops_the_run(place: Path, name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not taken for a broken file, whatever library reads it."""
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/failing/x/" + name, (place / name).read_bytes())
    real = MemoryFileSystem._open

    def failing(self: Any, path: str, *arguments: Any, **named: Any) -> Any:
        file = real(self, path, *arguments, **named)
        return Failing(file.getvalue(), how)

    monkeypatch.setattr(MemoryFileSystem, "_open", failing)
    said = problem("memory://failing/x")
    assert f"memory://failing/x/{name}: " in said
    assert ("connection reset" if how == "fails" else "it ends after") in said
    assert "the same command goes on" in said
    memory.rm("/failing", recursive=True)


class Failing(io.BytesIO):
    """A file whose store breaks down half way."""

    def __init__(self, data: bytes, how: str) -> None:
        super().__init__(data)
        self.size = len(data)
        self.how = how

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() + (size or 0) <= self.size // 2:
            return super().read(size)
        if self.how == "fails":
            raise ConnectionResetError("connection reset")
        return super().read(max(self.size // 2 - self.tell(), 0))


def test_a_bug_is_no_store_that_fails() -> None:
    with pytest.raises(ZeroDivisionError), stores.told("memory://x"):
        raise ZeroDivisionError


def test_fsspec_is_loaded_for_urls_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT * 9)
    code = "import sys; from longreach.text.corpus import Corpus; print(len(list(Corpus(sys.argv[1:]))), 'fsspec' in sys.modules)"
    for path, said in ((str(tmp_path), "1 False"), (f"file://{tmp_path}", "1 True")):
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == said


def test_a_saved_dataset_is_told(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/state.json").write_text("{}")
    shutil.copy(__file__, tmp_path / "set/data.py")
    assert "a saved dataset is read from a disk" in problem(f"file://{tmp_path}/set")


def test_the_mark_of_a_folder_is_no_file() -> None:
    """What the consoles of stores leave where a person makes a folder: an empty object whose name ends in a slash."""
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/marked/a/b.txt", TEXT.encode() * 9)
    real = MemoryFileSystem.find

    def find(self: Any, path: str, **named: Any) -> Any:
        return {f"{path}/": {"name": f"{path}/", "size": 0, "type": "file"}, **real(self, path, **named)}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryFileSystem, "find", find)
        assert [item.path for item in Corpus(["memory://marked", "memory://marked/*"])] == ["memory://marked/a/b.txt"]
    memory.rm("/marked", recursive=True)


def test_a_name_that_a_url_cannot_hold_costs_that_file_only() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("a::b.txt", "what?x=1.txt", "plain.txt"):
        memory.pipe_file(f"/odd/{name}", TEXT.encode() * 9)
    found = list(Corpus(["memory://odd"]))
    memory.rm("/odd", recursive=True)
    assert [item.path for item in found if isinstance(item, Document)] == ["memory://odd/plain.txt"]
    notes = [(item.path, item.reason) for item in found if isinstance(item, Skipped)]
    assert notes == [("memory://odd/a::b.txt", "unreadable"), ("memory://odd/what?***", "unreadable")]


class SendsOn(SimpleHTTPRequestHandler):
    """A server whose files are behind signed URLs that have run out, as those of model hubs."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5000")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self) -> None:
        signed = "?X-Amz-Signature=hush" in self.path
        self.send_response(403 if signed else 302)
        self.send_header("Location", f"{self.path}?X-Amz-Signature=hush")
        self.end_headers()


@contextmanager
def serving(handler: Callable[..., Any]) -> Iterator[str]:
    """The URL of a web server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_the_signature_of_a_url_that_a_server_sends_on_to_is_not_shown() -> None:
    with serving(SendsOn) as url:
        said = problem(f"{url}/x.txt")
    assert "403" in said
    assert "hush" not in said


def test_a_web_server(place: Path) -> None:
    """That of the standard library cannot begin in the middle of a file, which fsspec tells by a ValueError."""
    (place / "large.txt").write_text("word " * 3_000_000)  # more than is fetched at once
    with serving(partial(SimpleHTTPRequestHandler, directory=str(place))) as url:
        assert [item.path for item in Corpus([f"{url}/zz"]) if isinstance(item, Document)] == [f"{url}/zz"]
        assert "doesn't appear to support range requests" in problem(f"{url}/large.txt")
        assert "no such file" in problem(f"{url}/nothing.txt")
