"""A corpus becomes packed rows: every token once a copy, the mix as planned, the same bytes however it was worked."""

import gzip
import hashlib
import itertools
import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from longreach.rows.rows import Rows
from longreach.text.tokenize import load_tokenizer
from pretrain import prepare as body
from pretrain import tokenized
from pretrain.cli import main

SEQ_LEN = 1024


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "reference.jsonl"
    rows = [{"id": name, "text": text, "q": len(text) % 5} for name, text in sorted(topics.items())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def prepare(out: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["prepare", *arguments, "--out", str(out)], catch_exceptions=False)


def made(out: Path, *arguments: str) -> dict[str, Any]:
    """The manifest of a run that went well."""
    result = prepare(out, *arguments, "--workers", "1")
    assert result.exit_code == 0, result.output
    return dict(json.loads((out / "manifest.json").read_text()))


def digests(out: Path) -> dict[str, str]:
    """Of every file whose bytes are promised."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".lock", "lengths.png")
    }


def documents_of(rows: Rows) -> Counter[bytes]:
    """The tokens of every document, put together from its pieces."""
    pieces: dict[tuple[int, int, int], list[tuple[int, bytes]]] = {}
    seen: Counter[tuple[int, int, int]] = Counter()
    segments, first = np.load(rows.folder / "segments.npy"), np.load(rows.folder / "rows.npy")
    for row in range(len(rows)):
        tokens = rows[row].tokens
        for segment in segments[first[row] : first[row + 1]]:
            piece = (int(segment["source"]), int(segment["document"]), int(segment["offset"]))
            copy = seen[piece]
            seen[piece] += 1
            part = tokens[segment["start"] : segment["start"] + segment["length"]].tobytes()
            pieces.setdefault((*piece[:2], copy), []).append((piece[2], part))
    return Counter(b"".join(part for _, part in sorted(parts)) for parts in pieces.values())


@pytest.mark.parametrize("pack", ["best-fit", "concat"])
def test_every_document_is_in_the_rows_whole_and_once(docs: Path, tmp_path: Path, pack: str) -> None:
    manifest = made(tmp_path, "--source", f"ref={docs}", "--seq-len", "1024", "--validation", "0", "--pack", pack)
    rows, tokenizer = Rows(tmp_path), load_tokenizer("")
    rows.verify()
    expected = Counter(
        np.array([tokenizer.bos_id, *tokenizer.ids(text), tokenizer.eos_id][not tokenizer.adds_bos :], "<u2").tobytes()
        for text in topics.values()
    )
    assert documents_of(rows) == expected
    assert manifest["lost_tokens"] == 0
    assert manifest["tokens"] == sum(map(len, expected.elements())) // 2
    long = sum(len(document) // 2 > SEQ_LEN for document in expected.elements())
    assert manifest["cut_documents"] == long if pack == "best-fit" else manifest["cut_documents"] > long
    assert manifest["rows"] == math.ceil(manifest["tokens"] / SEQ_LEN)
    for number in range(len(rows)):
        assert rows[number].lengths.sum() <= SEQ_LEN


def test_the_mix_comes_out_as_planned(docs: Path, tmp_path: Path) -> None:
    library = Path(json.__file__).parent.parent
    manifest = made(
        tmp_path,
        *("--source", f"ref={docs}@0.7", "--source", f"code={library}/asyncio/*.py@0.3"),
        *("--seq-len", "1024", "--long-tokens", "2000", "--long-share", "0.4", "--tokens", "60k", "--validation", "0"),
    )
    shares = {(each["name"], each["bucket"]): each for each in manifest["sources"]}
    assert math.isclose(sum(each["realised_share"] for each in shares.values()), 1)
    assert shares["ref", "long"]["planned_share"] == pytest.approx(0.7 * 0.4)
    for each in shares.values():
        assert abs(each["realised_share"] - each["planned_share"]) <= 0.02, each
    assert abs(shares["ref", "long"]["realised_share"] - 0.28) <= 0.005
    segments = np.load(tmp_path / "segments.npy")
    of_source = np.bincount(segments["source"], weights=segments["length"])
    assert of_source[0] == shares["ref", "short"]["tokens"] + shares["ref", "long"]["tokens"]
    assert of_source.sum() == manifest["tokens"]


def test_two_copies_of_a_document_never_meet_in_a_row(docs: Path, tmp_path: Path) -> None:
    made(tmp_path, "--source", f"ref={docs}", "--seq-len", "1024", "--tokens", "300k", "--validation", "0")
    segments, first = np.load(tmp_path / "segments.npy"), np.load(tmp_path / "rows.npy")
    for begin, end in itertools.pairwise(first):
        documents = segments["document"][begin:end].tolist()
        assert len(set(documents)) == len(documents)


def test_one_and_several_processes_give_the_same_bytes(docs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    arguments = ("--source", f"ref={docs}", "--seq-len", "512")
    made(tmp_path / "one", *arguments)
    assert prepare(tmp_path / "three", *arguments, "--workers", "3").exit_code == 0
    assert digests(tmp_path / "one") == digests(tmp_path / "three")


def test_held_out_documents_are_not_trained_on(docs: Path, tmp_path: Path) -> None:
    manifest = made(tmp_path, "--source", f"ref={docs}", "--seq-len", "512", "--validation", "0.1")
    training, held_out = documents_of(Rows(tmp_path)), documents_of(Rows(tmp_path / "validation"))
    assert not training.keys() & held_out.keys()
    assert (training + held_out).total() == len(topics)
    assert manifest["validation"]["tokens"] / (manifest["tokens"] + manifest["validation"]["tokens"]) > 0.07


def test_a_dry_run_shows_the_plan_and_its_tokens_are_used(docs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    arguments = ("--source", f"ref={docs}", "--seq-len", "512", "--workers", "1")
    result = prepare(tmp_path, *arguments, "--dry-run")
    assert result.exit_code == 0
    assert "planned" in result.stdout
    assert not list(tmp_path.glob("*.bin"))
    monkeypatch.setattr(tokenized, "encoded", lambda *_, **__: pytest.fail("tokenized again"))
    assert prepare(tmp_path, *arguments).exit_code == 0
    assert Rows(tmp_path).manifest["tokens"]


def test_json_is_the_manifest_and_nothing_else(docs: Path, tmp_path: Path) -> None:
    result = prepare(tmp_path, "--source", f"ref={docs}", "--seq-len", "512", "--workers", "1", "--json")
    assert json.loads(result.stdout) == json.loads((tmp_path / "manifest.json").read_text())
    again = prepare(tmp_path, "--source", f"ref={docs}", "--seq-len", "512", "--workers", "1", "--json")
    assert json.loads(again.stdout)["rows"] == json.loads(result.stdout)["rows"]


def test_quality_is_a_filter_and_a_weight(docs: Path, tmp_path: Path) -> None:
    common = ("--source", f"ref={docs}", "--seq-len", "512", "--validation", "0", "--quality-field", "q")
    made(tmp_path / "filter", *common, "--min-quality", "2")
    skipped = [json.loads(line) for line in (tmp_path / "filter/skipped.jsonl").read_text().splitlines()]
    low = sum(len(text) % 5 < 2 for text in topics.values())
    assert Counter(each["reason"] for each in skipped) == {"low quality": low}
    made(tmp_path / "weight", *common, "--quality-weight", "--tokens", "150k")
    numbers = [json.loads(line) for line in (tmp_path / "weight/documents.jsonl").read_text().splitlines()]
    segments = np.load(tmp_path / "weight/segments.npy")
    taken = np.bincount(segments["document"], weights=segments["length"], minlength=len(numbers))
    quality = np.array([len(text) % 5 for _, text in sorted(topics.items())])
    lengths = np.array([each["tokens"] for each in numbers])
    epochs = [taken[quality == each].sum() / lengths[quality == each].sum() for each in range(5)]
    assert epochs[0] == 0
    assert epochs[4] > 2 * epochs[1] > 0


def test_bad_input_is_listed_and_stops_nothing(docs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    good = docs.read_bytes().splitlines(keepends=True)
    bad = b'{"text": "cut off\n{"body": "no text"}\n{"text": 7}\n{"text": "\xff\xfe bad"}\n{"text": ""}\n'
    (folder / "mixed.jsonl").write_bytes(b"".join([*good[:20], bad, *good[20:]]))
    (folder / "cut.jsonl.gz").write_bytes(gzip.compress(b"".join(good[:30]))[:-200])
    (folder / "page.pdf").write_bytes(b"%PDF-1.4 nothing more")
    (folder / "picture.xyz").write_bytes(b"\0\1\2")
    manifest = made(tmp_path / "out", "--source", f"all={folder}", "--seq-len", "512", "--validation", "0")
    skipped = [json.loads(line) for line in (tmp_path / "out/skipped.jsonl").read_text().splitlines()]
    reasons = Counter(each["reason"] for each in skipped)
    assert reasons["broken json"] and reasons["bad utf-8"] and reasons["no text field"] and reasons["empty"]
    assert reasons["truncated gz"] == reasons["broken pdf"] == reasons["unknown format"] == 1
    assert all(each["source"] == "all" and each["path"] for each in skipped)
    run = json.loads((tmp_path / "out/run.json").read_text())["counts"]["documents"]
    assert run["found"] == run["read"] + run["skipped"]
    assert run["skipped"] == len(skipped)
    assert run["read"] >= len(good)
    assert manifest["lost_tokens"] == 0


CASES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "give --source"),
    (("--source", "corpus"), "no name"),
    (("--source", "a=missing/folder"), "no such file"),
    (("--source", "a={docs}", "--seq-len", "4"), "at least 16"),
    (("--source", "a={docs}", "--seq-len", "many"), "--seq-len"),
    (("--source", "a={docs}", "--long-share", "1.5"), "from 0 to 1"),
    (("--source", "a={docs}", "--long-share", "0.5", "--upsample-long", "3"), "give one"),
    (("--source", "a={docs}", "--tokens", "1B"), "--max-epochs"),
    (("--source", "a={docs}", "--preset", "prolog"), "did you mean 'prolong'"),
    (("--source", "a={docs}", "--tokenizer", "missing/tokenizer"), "no tokenizer"),
    (("--source", "a={docs}", "--quality-weight"), "need --quality-field"),
    (("--source", "a={docs}", "--quality-field", "nope"), "no document could be read"),
    (("--source", "a={docs}", "--text-field", "body"), "no document could be read"),
)


@pytest.mark.parametrize(("arguments", "problem"), CASES)
def test_a_mistake_gives_one_message(docs: Path, tmp_path: Path, arguments: tuple[str, ...], problem: str) -> None:
    result = prepare(tmp_path / "out", *(each.format(docs=docs) for each in arguments), "--workers", "1")
    assert result.exit_code == 1
    assert problem in result.stderr
    assert "Traceback" not in result.stderr
    assert not list((tmp_path / "out").glob("*.bin"))


def test_a_folder_of_other_settings_is_left_alone(docs: Path, tmp_path: Path) -> None:
    made(tmp_path, "--source", f"ref={docs}", "--seq-len", "512")
    before = digests(tmp_path)
    result = prepare(tmp_path, "--source", f"ref={docs}", "--seq-len", "1024", "--workers", "1")
    assert result.exit_code == 1
    assert "seq_len: was 512, now 1024" in result.stderr
    assert digests(tmp_path) == before


def test_what_became_of_the_inputs_is_said(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    rows = docs.read_text(encoding="utf-8").splitlines(keepends=True)[:20]
    (tmp_path / "docs/rows.jsonl").write_text("".join(rows) + "no json\n", encoding="utf-8")
    out = tmp_path / "out"
    result = prepare(out, "--source", f"ref={tmp_path / 'docs'}", "--seq-len", "512", "--validation", "0.2")
    held_out = json.loads((out / "manifest.json").read_text())["validation"]
    assert held_out["tokens"]
    said = result.stdout.splitlines()[-1]
    assert said.startswith("21 inputs: 20 documents, ") and said.endswith(f"1 skipped, listed in {out}/skipped.jsonl")
    assert "documents, 0 of them held out" not in said


def test_no_room_on_the_disk_is_said_before_rows_are_written(docs: Path, tmp_path: Path, monkeypatch: Any) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(body.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    result = prepare(tmp_path, "--source", f"ref={docs}", "--seq-len", "512", "--workers", "1")
    assert result.exit_code == 1
    assert "MB free" in result.stderr
    assert not list(tmp_path.glob("*.bin"))
    monkeypatch.undo()
    assert prepare(tmp_path, "--source", f"ref={docs}", "--seq-len", "512", "--workers", "1").exit_code == 0


def test_documents_that_changed_between_two_tries_are_noticed(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.jsonl"
    shutil.copy(docs, own)
    arguments = ("--source", f"ref={own}", "--seq-len", "512", "--workers", "1")
    monkeypatch.setattr("pretrain.encode.BATCH_ITEMS", 4)
    monkeypatch.setattr(tokenized, "COMMIT_BATCHES", 1)
    stop = after(6, tokenized.as_batch)
    monkeypatch.setattr(tokenized, "as_batch", stop)
    with pytest.raises(KeyError, match="stop"):
        prepare(tmp_path / "out", *arguments)
    monkeypatch.undo()
    lines = own.read_text().splitlines()
    own.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")
    result = prepare(tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert "not those that an earlier try has read" in result.stderr


def after(calls: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, until it breaks."""
    left = [calls]

    def breaking(*args: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise KeyError("stop")
        return function(*args)

    return breaking
