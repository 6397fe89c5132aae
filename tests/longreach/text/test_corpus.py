"""What is found and in what order, what is told at once, and what memory it takes."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longreach.errors import UserError
from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped
from longreach.text.formats import lines, reasons, source

PROSE = "Some text that is long enough. " * 10


def fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}: {PROSE}")


def outcome(*paths: str) -> list[str]:
    """The ids of documents, and path and reason of notes."""
    return [item.id if isinstance(item, Document) else f"{item.path}: {item.reason}" for item in Corpus(paths)]


def test_folders_in_the_order_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(
        tmp_path,
        "docs/b/z.txt",
        "docs/b.txt",
        "docs/a.md",
        "docs/B.txt",
        "docs/b/a.rst",
        "docs/.git/x.txt",
        "docs/.h.txt",
    )
    (tmp_path / "docs/a.png").write_bytes(b"\x89PNG")
    (tmp_path / "docs/empty").mkdir()
    expected = ["docs/B.txt", "docs/a.md", "docs/b/a.rst", "docs/b/z.txt", "docs/b.txt"]
    assert [item for item in outcome("docs") if ":" not in item] == expected
    assert "docs/a.png: unknown format" in outcome("docs")
    assert outcome("docs/") == outcome("docs") == list(outcome("./docs"))
    assert outcome("docs/b.txt", "docs")[0] == "docs/b.txt"
    assert sorted(outcome("docs/b.txt", "docs", "docs/b")) == sorted(outcome("docs"))  # each file once


def test_globs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "docs/b/z.txt", "docs/a.txt", "docs/a.odd", "docs/.h/x.txt", "docs/[x].txt")
    assert outcome("docs/**/*.txt") == ["docs/[x].txt", "docs/a.txt", "docs/b/z.txt"]
    assert outcome("docs/*.odd") == ["docs/a.odd"]  # asked for, so read as text
    assert outcome("docs/[x].txt") == ["docs/[x].txt"]
    assert outcome(f"{tmp_path}/docs/?") == [f"{tmp_path}/docs/b/z.txt"]
    with pytest.raises(UserError, match=r"docs/\*\.pdf: no file that can be read \(nothing there\)"):
        Corpus(["docs/*.pdf"])


def test_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "docs/real/a.txt", "secret/key.txt")
    docs = tmp_path / "docs"
    (docs / "again").symlink_to(docs / "real")
    (docs / "loop").symlink_to(docs)
    (docs / "self").symlink_to(docs / "self")
    (docs / "nothing.txt").symlink_to(docs / "gone.txt")
    (docs / "out").symlink_to(tmp_path / "secret")
    (docs / "out.txt").symlink_to(tmp_path / "secret/key.txt")
    assert sorted(outcome("docs")) == [
        "docs/again/a.txt",
        "docs/nothing.txt: unreadable",
        "docs/out.txt: link outside folder",
        "docs/out: link outside folder",
        "docs/self: unreadable",
    ]
    assert outcome("docs/out.txt") == ["docs/out.txt"]  # named outright


def test_what_cannot_be_opened_is_listed(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "b.txt", "c.txt")
    os.mkfifo(tmp_path / "d.txt")
    corpus = Corpus([str(tmp_path)])
    (tmp_path / "b.txt").unlink()
    items = list(corpus)
    notes = {Path(item.path).name: item for item in items if isinstance(item, Skipped)}
    assert [Path(item.path).name for item in items if isinstance(item, Document)] == ["a.txt", "c.txt"]
    assert {name: note.reason for name, note in notes.items()} == {
        "b.txt": reasons.UNREADABLE,
        "d.txt": reasons.UNREADABLE,
    }
    assert "No such file" in notes["b.txt"].detail


def test_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text(PROSE)
    [document] = Corpus([str(tmp_path)])
    assert isinstance(document, Document)
    assert document.id == f"{tmp_path}/caf\\xe9.txt"


def test_all_mistakes_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, "docs/a.txt", "pictures/a.png", "pictures/b.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        Corpus(["dcos", "empty", "pictures", "docs", "no/such/file.txt"])
    assert error.value.problem == (
        "dcos: no such file or folder\nempty: no file that can be read (nothing there)\n"
        "pictures: no file that can be read (unknown format: 2)\nno/such/file.txt: no such file or folder"
    )
    assert "did you mean docs?" in error.value.hint
    with pytest.raises(UserError, match="no documents were named"):
        Corpus([])


def test_missing_package_is_told_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    absent = {"zstandard", "selectolax", "pypdfium2", "pyarrow", "datasets"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else real(name))
    for name, package in {
        "a.txt.zst": "zstandard",
        "a.html": "selectolax",
        "a.pdf": "pypdfium2",
        "a.parquet": "pyarrow",
    }.items():
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(UserError, match=f"{name} needs {package}") as error:
            Corpus([str(tmp_path / name)])
        assert error.value.hint == "pip install 'longreach[documents]'"
    with pytest.raises(UserError, match=r"owner/name as a Hugging Face dataset needs datasets"):
        Corpus(["owner/name"])


def test_progress_reaches_the_total_and_never_falls(tmp_path: Path) -> None:
    row = json.dumps({"text": PROSE}) + "\n"
    (tmp_path / "a.jsonl").write_text(row * 5000)
    (tmp_path / "b.txt").write_text(PROSE)
    corpus = Corpus([str(tmp_path)])
    assert corpus.total_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    for _ in range(2):
        seen = [corpus.read_bytes for _ in corpus]
        assert seen == sorted(seen)
        assert 0 < seen[0] < seen[2500] < corpus.total_bytes
        assert corpus.read_bytes == corpus.total_bytes


def test_two_passes_are_equal(tmp_path: Path) -> None:
    fill(tmp_path, "a.txt", "b/c.txt")
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\nbroken\n')
    corpus = Corpus([str(tmp_path)])
    assert list(corpus) == list(corpus) == list(Corpus([str(tmp_path)]))


def test_what_is_too_large_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_BYTES", 1000)
    monkeypatch.setattr(source, "MAX_BYTES", 1000)
    (tmp_path / "a.txt").write_text(PROSE * 10)
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in (PROSE, PROSE * 10, PROSE)))
    items = list(Corpus([str(tmp_path)]))
    assert [(Path(item.path).name, item.reason, item.line) for item in items if isinstance(item, Skipped)] == [
        ("a.txt", reasons.TOO_LARGE, None),
        ("b.jsonl", reasons.TOO_LARGE, 2),
    ]
    assert sum(isinstance(item, Document) for item in items) == 2


def test_saved_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": [PROSE, None, PROSE], "id": ["a", "b", "c"], "n": [1, 2, 3]})
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(str(tmp_path / "saved"))
    items = list(Corpus([str(tmp_path / "saved")]))
    assert [item.id for item in items if isinstance(item, Document)] == [
        f"{tmp_path}/saved#1:a",
        f"{tmp_path}/saved#3:c",
    ]
    assert [(item.reason, item.line) for item in items if isinstance(item, Skipped)] == [(reasons.NOT_A_STRING, 2)]


PEAK = """
import resource, sys
from longreach.text.corpus import Corpus
from longreach.text.distinct import distinct
for item in distinct(Corpus(sys.argv[1:]), near=0): pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_follow_the_corpus(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        for name, before, between in (("a.jsonl", "", "\n"), ("b.json", "[", ","), ("c.csv", "text\n", "\n")):
            texts = (json.dumps(f"{name} {number} {PROSE * 50}") for number in range(rows))
            rest = texts if name == "c.csv" else (f'{{"text": {text}}}' for text in texts)
            (tmp_path / name).write_text(before + between.join(rest))
        run = subprocess.run([sys.executable, "-c", PEAK, str(tmp_path)], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert peak(2000) < 1.25 * peak(200)  # 94 MB and 9 MB of text


RATED = [{"text": PROSE, "q": 0.5}, {"text": PROSE}, {"text": PROSE, "q": "high"}, {"text": PROSE, "q": -1}]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_the_quality_field_is_read_and_a_row_without_one_is_listed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rated{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in RATED))
    elif suffix == ".csv":
        path.write_text("text,q\n" + "".join(f'"{row["text"]}",{row.get("q", "")}\n' for row in RATED))
    else:
        numbers = [row["q"] if isinstance(row.get("q"), (int, float)) else None for row in RATED]
        pq.write_table(pa.table({"text": [PROSE] * 4, "q": pa.array(numbers, pa.float32())}), path)
    items = list(Corpus([str(path)], quality_field="q"))
    assert [item.quality for item in items if isinstance(item, Document)] == [0.5]
    assert [item.reason for item in items if isinstance(item, Skipped)] == ["no quality"] * 3
    assert all(item.quality is None for item in Corpus([str(path)]) if isinstance(item, Document))
