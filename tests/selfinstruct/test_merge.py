"""Shards and their merge: the bytes of the run without --shard, whatever of it lies across shards; and every way it
can go wrong."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from click.testing import CliRunner, Result

from faultserver import ANSWER, Act, FaultServer, pair, status
from selfinstruct.cli import main
from serverthread import beside

ROOT = Path(__file__).parents[2]
FILES = ("records.jsonl", "rejected.jsonl", "skipped.jsonl", "failed.jsonl")
N = 3
SIZES = ("--chunk-tokens", 256, "--context-tokens", 1_300)  # most documents are longer
PREFACE = (  # of every document: its first chunks are alike, so that the same is asked of all of them
    "This document belongs to the reference of the language, which describes its exact syntax and its core semantics. "
    "It is terse, but attempts to be both exact and complete in everything that an implementer may have to know here. "
    "The semantics of types that are not essential to the language are described elsewhere, in the library reference. "
    "For an informal introduction to the language the reader may wish to turn to the tutorial, which is much longer. "
    "It is dangerous to add too many details of an implementation to a document that describes a language for people. "
)
LONG = [text for _, text in sorted(topics.items()) if 3_000 < len(text) < 8_000][:12]


def rows() -> Iterator[str]:
    """Documents that repeat others, in part or as a whole, and lines that give none."""
    for number, text in enumerate(LONG):
        yield json.dumps({"id": f"d{number}", "text": PREFACE + "\n\n" + text})
    yield '{"text": "cut o'
    yield json.dumps({"id": "short", "text": "Too short."})
    for number, text in enumerate(LONG[:4]):
        yield json.dumps({"id": f"near{number}", "text": PREFACE + "\n\n" + text + " And so it ends."})
    for number, text in enumerate(LONG[4:8]):
        yield json.dumps({"id": f"same{number}", "text": PREFACE + "\n\n" + text})


def refusing_some(digest: str, arrivals: int) -> Act:
    """Every fiftieth request is refused for good."""
    return status(400, "not this one") if int(digest[:8], 16) % 50 == 0 else ANSWER


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder in which all of this happens: a shard is a matter of the documents' ids, which hold their paths."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "docs.jsonl").write_text("".join(f"{row}\n" for row in rows()), encoding="utf-8")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    """Its answers are a function of the request."""
    server = FaultServer(refusing_some, answer=pair)
    with beside() as start:
        start(server.start()).result()
        yield server
        start(server.stop()).result()


def selfinstruct(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def generate(out: object, *more: object) -> dict[str, Any]:
    done = selfinstruct("generate", "--docs", "docs.jsonl", *SIZES, "--out", out, "--json", *more)
    assert done.exit_code == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def merged(out: object, *shards: object) -> dict[str, Any]:
    done = selfinstruct("merge", out, *shards, "--json")
    assert done.exit_code == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def files(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def counts(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())["counts"]
    return found


@pytest.fixture(scope="module")
def asking(server: FaultServer) -> tuple[object, ...]:
    return ("--base-url", server.url, "--judge-model", "tiny")


@pytest.fixture(scope="module")
def undivided(place: Path, asking: tuple[object, ...]) -> Path:
    """The run without --shard."""
    generate("undivided", *asking)
    return place / "undivided"


@pytest.fixture(scope="module")
def shards(place: Path, asking: tuple[object, ...]) -> list[Path]:
    """The same in shards; nobody changes these folders."""
    for index in range(N):
        generate(f"shards/{index}", "--shard", f"{index}/{N}", *asking)
    return [place / "shards" / str(index) for index in range(N)]


# What a merge gives


def test_the_documents_show_what_lies_across_shards(undivided: Path, shards: list[Path]) -> None:
    """Else the tests below would show nothing: repeated documents, repeated questions, refusals and depths among them."""
    home = {record["document"]["id"]: shard for shard in shards for record in lines(shard / "records.jsonl")}
    repeats = [
        (shard, row) for shard in shards for row in lines(shard / "skipped.jsonl") if "duplicate" in row["reason"]
    ]
    assert {row["reason"] for _, row in repeats} == {"exact duplicate", "near duplicate"}
    assert any(home[row["detail"].split()[-1]] != shard for shard, row in repeats)
    kept = sum(counts(shard)["requests"]["kept"] for shard in shards)
    assert counts(undivided)["requests"]["kept"] < kept, "no question is asked in two shards"
    assert any(reason.startswith("engine: ") for reason in counts(undivided)["requests"]["rejected"])
    records = [record for shard in shards for record in lines(shard / "records.jsonl")]
    contexts = {record["id"]: record["context"] for record in records}
    assert any(contexts[record["id"]] != record["context"] for record in lines(undivided / "records.jsonl"))


def test_each_shard_balances_and_is_named(undivided: Path, shards: list[Path]) -> None:
    for index, shard in enumerate(shards):
        assert json.loads((shard / "run.json").read_text())["settings"]["shard"] == f"{index}/{N}"
        assert f"| shard | {index}/{N} of the documents" in (shard / "README.md").read_text()
        documents, requests = counts(shard)["documents"], counts(shard)["requests"]
        assert documents["found"] == documents["read"] + documents["skipped"] > documents["read"] > 0
        assert requests["planned"] == requests["kept"] + sum(requests["rejected"].values()) + requests["failed"]
        assert len(lines(shard / "records.jsonl")) == requests["kept"] > 0
        assert len(lines(shard / "skipped.jsonl")) == documents["skipped"]
    for part, name in (
        ("documents", "found"),
        ("documents", "read"),
        ("documents", "skipped"),
        ("requests", "planned"),
    ):
        assert counts(undivided)[part][name] == sum(counts(shard)[part][name] for shard in shards)


def test_a_merge_gives_the_bytes_of_the_undivided_run(undivided: Path, shards: list[Path], tmp_path: Path) -> None:
    figures = merged(tmp_path, *reversed(shards))
    assert files(tmp_path) == files(undivided)
    assert counts(tmp_path) == counts(undivided)
    assert figures["usage"]["asked"] == 0
    assert (tmp_path / "README.md").read_text().count("| shard |") == 0
    manifest = json.loads((tmp_path / "run.json").read_text())
    assert (manifest["status"], manifest["settings"]["shard"]) == ("finished", "")
    assert manifest["inputs"] == json.loads((undivided / "run.json").read_text())["inputs"]
    assert not list(tmp_path.glob("*.partial"))


def test_a_merged_run_is_a_run(undivided: Path, shards: list[Path], tmp_path: Path, asking: tuple[object, ...]) -> None:
    """It can be checked again, and gone on with as the undivided one."""
    merged(tmp_path, *shards)
    assert selfinstruct("check", tmp_path, "--min-score", 7).exit_code == 0
    assert files(tmp_path) == files(undivided)
    again = generate(tmp_path, *asking)
    refused = sum(n for reason, n in again["requests"]["rejected"].items() if reason.startswith("engine: "))
    assert again["usage"]["asked"] == 0
    assert refused > 0
    assert files(tmp_path) == files(undivided)


@pytest.mark.parametrize(
    ("number", "more"),
    [
        (1, ()),
        (2, ("--limit", 7)),
        (2, ("--near-duplicates", 0)),
        (2, ("--checks", "form,evidence")),
        (24, ("--limit", 12)),
    ],
)
def test_any_number_of_shards(number: int, more: tuple[object, ...], tmp_path: Path) -> None:
    """More than there are documents, too: some have none. With the built-in engine."""
    generate(tmp_path / "undivided", *more)
    folders = [tmp_path / str(index) for index in range(number)]
    for index, folder in enumerate(folders):
        generate(folder, "--shard", f"{index}/{number}", *more)
    merged(tmp_path / "all", *folders)
    assert files(tmp_path / "all") == files(tmp_path / "undivided")
    assert counts(tmp_path / "all") == counts(tmp_path / "undivided")
    assert number < 24 or any(counts(folder)["documents"]["read"] == 0 for folder in folders)


def test_a_dry_run_of_shards_adds_up() -> None:
    whole, *parts = [
        generate("none", "--dry-run", *shard) for shard in ((), ("--shard", "0/2"), ("--shard", "1/2"))
    ]  # fmt: skip
    for name in ("tokens", "chunks", "prompt_tokens", "reply_tokens"):
        assert whole[name] == sum(part[name] for part in parts) > parts[0][name] > 0


# What is refused


def complaint(*arguments: object) -> str:
    """The one message of a command that refuses."""
    done = selfinstruct(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.count("error:") == done.stderr.count("hint:") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("more", "name"), [(("--seed", 5), "seed"), (("--limit", 9), "limit"), (("--min-score", 8), "min_score")]
)
def test_shards_with_different_settings(more: tuple[object, ...], name: str, tmp_path: Path) -> None:
    one, two = tmp_path / "0", tmp_path / "1"
    generate(one, "--shard", "0/2")
    generate(two, "--shard", "1/2", *more)
    said = complaint("merge", tmp_path / "all", two, one)
    assert f"{two} has {name} " in said
    assert len(said.splitlines()) == 2
    assert not (tmp_path / "all").exists()


def test_a_shard_with_failures_is_told_beside_what_is_none(
    undivided: Path, shards: list[Path], tmp_path: Path, asking: tuple[object, ...]
) -> None:
    """All that can be wrong with any shard: tests/longreach/test_parts.py."""
    failing = tmp_path / "failing"
    arguments = ("--docs", "docs.jsonl", "--shard", f"0/{N}", "--max-requests", 5, *asking)
    assert selfinstruct("generate", *arguments, "--out", failing).exit_code == 3
    said = complaint("merge", tmp_path / "all", failing, shards[2], undivided)
    assert f"{failing} is unfinished" in said
    assert f"requests of shard 0/{N} failed" in said
    assert f"{undivided} is no shard" in said
    assert "by its own generate command" in said
    assert not (tmp_path / "all").exists()


def test_one_folder_for_two_shards(shards: list[Path], tmp_path: Path, asking: tuple[object, ...]) -> None:
    shutil.copytree(shards[0], tmp_path / "0")
    common = ("--docs", "docs.jsonl", *SIZES, "--out", tmp_path / "0", *asking)
    assert f"shard: was '0/{N}', now '1/{N}'" in complaint("generate", *common, "--shard", f"1/{N}")
    assert f"shard: was '0/{N}', now None" in complaint("merge", tmp_path / "0", *shards)
    assert files(tmp_path / "0") == files(shards[0])
    assert asked_by(tmp_path / "0") == asked_by(shards[0])


def test_documents_that_changed_since(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(place / "docs.jsonl", tmp_path / "docs.jsonl")
    monkeypatch.chdir(tmp_path)
    for index in range(2):
        generate(index, "--shard", f"{index}/2")
    whole = (tmp_path / "docs.jsonl").read_text()
    (tmp_path / "docs.jsonl").write_text("\n".join(whole.splitlines()[1:]) + "\n")  # the first is gone
    assert "found: 21 now, 22 in the shards" in complaint("merge", "all", "0", "1")
    (tmp_path / "docs.jsonl").write_text(whole.replace("the", "eth"))
    assert re.search(r"tokens: [\d,]+ now, [\d,]+ in the shards", complaint("merge", "all", "0", "1"))
    assert not (tmp_path / "all/records.jsonl").exists()
    (tmp_path / "docs.jsonl").write_text(whole)
    merged("all", "0", "1")


def test_prompts_that_changed_since(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    shutil.copytree(ROOT / "prompts", prompts)
    for index in range(2):
        generate(tmp_path / str(index), "--shard", f"{index}/2", "--prompts", prompts)
    with (prompts / "critique.jinja").open("a") as file:
        file.write("Think twice.")
    said = complaint("merge", tmp_path / "all", tmp_path / "0", tmp_path / "1")
    assert "changed since the shards were made: prompts_sha256" in said


def test_what_no_shard_asked_is_asked_by_the_undivided_command(
    undivided: Path, shards: list[Path], tmp_path: Path, asking: tuple[object, ...]
) -> None:
    shutil.copytree(shards[0], tmp_path / "0")
    only_here = asked_by(shards[0]) - asked_by(shards[1]) - asked_by(shards[2])
    with sqlite3.connect(tmp_path / "0/journal.sqlite") as journal:
        journal.execute("DELETE FROM completions WHERE request = ?", (min(only_here),))
    said = complaint("merge", tmp_path / "all", tmp_path / "0", *shards[1:])
    assert "1 of" in said
    assert f"without --shard and with --out {tmp_path / 'all'}" in said
    assert generate(tmp_path / "all", *asking)["usage"]["asked"] == 1
    assert files(tmp_path / "all") == files(undivided)


def asked_by(shard: Path) -> set[bytes]:
    with sqlite3.connect(shard / "journal.sqlite") as journal:
        return {request for (request,) in journal.execute("SELECT request FROM completions")}


# Killed


@pytest.mark.parametrize(
    ("moment", "point", "nth"),
    [
        ("before", "longreach.journal:Journal.adopt", 2),
        ("after", "longreach.journal:Journal.adopt", 3),
        ("after", "longreach.run:RunFolder.write_manifest", 1),
        ("after", "longreach.jsonl:LineWriter.publish", 1),
        ("before", "longreach.jsonl:LineWriter.publish", 4),
        ("before", "selfinstruct.generate:write_card", 1),
        ("before", "longreach.run:RunFolder.write_manifest", 2),
    ],
)
def test_a_killed_merge_leaves_nothing_half_written(
    moment: str, point: str, nth: int, undivided: Path, shards: list[Path], tmp_path: Path
) -> None:
    script = [sys.executable, str(ROOT / "tests/killed.py"), "selfinstruct", moment, point, str(nth)]
    killed = subprocess.run(
        [*script, "merge", str(tmp_path), *map(str, shards)],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    whole = files(undivided)
    there = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert there.items() <= whole.items()
    manifest = tmp_path / "run.json"
    assert not manifest.exists() or json.loads(manifest.read_text())["status"] == "running"
    merged(tmp_path, *shards)
    assert files(tmp_path) == whole
