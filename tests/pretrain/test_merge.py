"""Shards and their merge: the bytes of the run without --shard, however files and documents fall; and every way it can
go wrong."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result

from longreach.errors import UserError
from pretrain import tokenized
from pretrain.cli import main
from pretrain.gathered import Order
from pretrain.tokenstore import ITEMS

ROOT = Path(__file__).parents[2]
N = 3
SETTINGS = ("--seq-len", 512, "--long-tokens", 600, "--upsample-long", 2, "--validation", 0.05, "--shard-tokens", "20k")
SOURCES = ("--source", "all=docs", "--source", "one=one.jsonl.gz")


def rows(first: int, last: int) -> str:
    texts = [text for _, text in sorted(topics.items())][first:last]
    return "".join(json.dumps({"id": f"d{number}", "text": text}) + "\n" for number, text in enumerate(texts))


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Large files and small, one text or many in each, defects among them; and a source of one file."""
    folder = tmp_path_factory.mktemp("place")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "b-large.jsonl").write_text(rows(0, 60) + "no json\n" + rows(10, 20) + '{"body": 1}\n', encoding="utf-8")
    for number in range(6):
        (docs / f"small{number}.jsonl").write_text(rows(number * 2, number * 2 + 2) + "{\n", encoding="utf-8")
    for number, (name, text) in enumerate(sorted(topics.items())[60:70]):
        (docs / f"text{number}-{name.lower()}.txt").write_text(text, encoding="utf-8")
    (docs / "a-picture.xyz").write_bytes(b"\0\1")
    (docs / "cut.jsonl.gz").write_bytes(gzip.compress(rows(20, 40).encode())[:-300])
    (docs / "empty.jsonl").write_bytes(b"")
    (docs / "z.pdf").write_bytes(b"%PDF-1.4 nothing more")
    (folder / "one.jsonl.gz").write_bytes(gzip.compress((rows(30, 61) + "broken\n").encode()))
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


def pretrain(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)


def prepare(out: object, *more: object, sources: tuple[str, ...] = SOURCES) -> Result:
    done = pretrain("prepare", *sources, *SETTINGS, "--workers", 1, "--out", out, *more)
    assert done.exit_code == 0, done.output
    return done


def merged(out: object, *shards: object) -> Result:
    done = pretrain("merge", out, *shards)
    assert done.exit_code == 0, done.output
    return done


def divided(folder: Path, count: int, *more: object, sources: tuple[str, ...] = SOURCES) -> list[Path]:
    folders = [folder / str(index) for index in range(count)]
    for index, each in enumerate(folders):
        prepare(each, "--shard", f"{index}/{count}", *more, sources=sources)
    return folders


def digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".lock", "lengths.png")
    }


def run_of(out: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((out / "run.json").read_text())
    return manifest


def documents_of(out: Path) -> dict[str, int]:
    found: dict[str, int] = run_of(out)["counts"]["documents"]
    return found


@pytest.fixture(scope="module")
def undivided(place: Path) -> Path:
    """The run without --shard."""
    prepare("undivided")
    return place / "undivided"


@pytest.fixture(scope="module")
def shards(place: Path) -> list[Path]:
    """The same in shards; nobody changes these folders."""
    return divided(place / "shards", N)


# What a merge gives


def test_a_merge_gives_the_bytes_of_the_undivided_run(undivided: Path, shards: list[Path], tmp_path: Path) -> None:
    before = {shard: digests(shard) for shard in shards}
    merged(tmp_path, *reversed(shards))
    assert sum(name.endswith(".bin") for name in digests(undivided)) > 3
    assert digests(tmp_path) == digests(undivided)
    one, other = run_of(tmp_path), run_of(undivided)
    assert one | {"settings": {}} == other | {"settings": {}}
    assert one["settings"] | {"out": ""} == other["settings"] | {"out": ""}
    assert {shard: digests(shard) for shard in shards} == before


def test_shards_share_the_work_and_their_counts_add_up(undivided: Path, shards: list[Path]) -> None:
    parts = [documents_of(shard) for shard in shards]
    for part in parts:
        assert part["found"] == part["read"] + part["skipped"] > part["read"] > 0
    assert documents_of(undivided) == {name: sum(part[name] for part in parts) for name in parts[0]}
    ids = [json.loads(line)["id"] for shard in shards for line in (shard / "tokens/documents.jsonl").open()]
    whole = [json.loads(line)["id"] for line in (undivided / "documents.jsonl").open()]
    assert sorted(ids) == sorted(whole)
    assert ids != whole, "no file was read by several shards"
    skipped = {json.loads(line)["reason"] for line in (undivided / "skipped.jsonl").open()}
    assert skipped >= {"broken json", "no text field", "unknown format", "truncated gz", "empty", "broken pdf"}


def test_small_files_are_opened_by_one_shard_only(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = Path.open

    def spy(path: Path, *arguments: Any, **named: Any) -> Any:
        opened.append(path.name)
        return real(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", spy)
    divided(tmp_path, N)
    assert [opened.count(f"small{number}.jsonl") for number in range(6)] == [1] * 6
    assert opened.count("one.jsonl.gz") == N  # the only one of its source


@pytest.mark.parametrize("count", [1, 2, 13])
@pytest.mark.parametrize("more", [(), ("--pack", "concat", "--tokens", "100k", "--min-chars", 2000)])
def test_any_number_of_shards(count: int, more: tuple[object, ...], tmp_path: Path) -> None:
    """More than there are documents in a file, too."""
    prepare(tmp_path / "undivided", *more)
    merged(tmp_path / "all", *divided(tmp_path, count, *more))
    assert digests(tmp_path / "all") == digests(tmp_path / "undivided")
    assert run_of(tmp_path / "all")["counts"] == run_of(tmp_path / "undivided")["counts"]


def test_a_preset_and_quality_come_out_the_same(tmp_path: Path) -> None:
    texts = [text for _, text in sorted(topics.items())]
    rated = tmp_path / "rated.jsonl"
    rated.write_text("".join(json.dumps({"text": text, "q": len(text) % 7}) + "\n" for text in texts))
    sources = ("--source", f"rated={rated}", "--source", "all=docs")
    fu = ("--seq-len", 512, "--preset", "fu", "--workers", 1, "--min-quality", 2, "--quality-weight")
    common = ("prepare", *sources[:2], *fu, "--quality-field", "q", "--out")
    assert pretrain(*common, tmp_path / "undivided").exit_code == 0
    for index in range(2):
        assert pretrain(*common, tmp_path / str(index), "--shard", f"{index}/2").exit_code == 0
    done = merged(tmp_path / "all", tmp_path / "0", tmp_path / "1")
    assert "note: preset fu" in done.stderr
    assert digests(tmp_path / "all") == digests(tmp_path / "undivided")
    assert run_of(tmp_path / "all")["shaping"] == run_of(tmp_path / "undivided")["shaping"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(undivided: Path, shards: list[Path], tmp_path: Path) -> None:
    planned = prepare(tmp_path / "rows", "--dry-run", "--json").stdout
    done = pretrain("merge", tmp_path / "all", *shards, "--dry-run", "--json")
    assert json.loads(done.stdout) == json.loads(planned)
    assert not digests(tmp_path / "all")


def test_the_same_commands_again_do_nothing(
    shards: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged(tmp_path, *shards)
    before = digests(tmp_path)
    monkeypatch.setattr(tokenized, "encoded", lambda *_, **__: pytest.fail("tokenized again"))
    assert "nothing to do" in merged(tmp_path, *shards).stderr
    assert prepare(shards[1], "--shard", f"1/{N}").stdout.startswith(f"shard 1/{N}: ")
    assert "nothing to do" in prepare(tmp_path).stderr
    assert digests(tmp_path) == before


# Killed


@pytest.mark.parametrize(
    ("moment", "point", "nth"),
    [
        ("after", "pretrain.tokenstore:TokenStore.append", 1),
        ("after", "pretrain.tokenstore:TokenStore.commit", 1),
        ("before", "longreach.run:RunFolder.write_manifest", 2),
        ("after", "longreach.run:RunFolder.write_manifest", 2),
    ],
)
def test_a_killed_shard_goes_on(shards: list[Path], tmp_path: Path, moment: str, point: str, nth: int) -> None:
    arguments = ["prepare", *SOURCES, *SETTINGS, "--workers", 1, "--shard", f"1/{N}", "--out", tmp_path]
    killed(moment, point, nth, *arguments)
    prepare(tmp_path, "--shard", f"1/{N}")
    assert digests(tmp_path) == digests(shards[1])


@pytest.mark.parametrize(
    ("moment", "point", "nth"),
    [
        ("before", "pretrain.prepare:write_rows", 1),
        ("after", "longreach.rows.shards:RowWriter.append", 40),
        ("after", "longreach.rows.shards:RowWriter._publish", 2),
        ("before", "pretrain.prepare:publish", 1),
        ("after", "pretrain.prepare:publish", 1),
        ("after", "longreach.run:RunFolder.write_manifest", 2),
    ],
)
def test_a_killed_merge_goes_on(
    undivided: Path, shards: list[Path], tmp_path: Path, moment: str, point: str, nth: int
) -> None:
    killed(moment, point, nth, "merge", tmp_path, *shards)
    merged(tmp_path, *shards)
    assert digests(tmp_path) == digests(undivided)


def killed(moment: str, point: str, nth: int, *arguments: object) -> None:
    command = [sys.executable, str(ROOT / "tests/killed.py"), "pretrain", moment, point, str(nth), *map(str, arguments)]
    path = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=path, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


# What is refused


def complaint(*arguments: object) -> str:
    """The one message of a command that refuses."""
    done = pretrain(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.count("error:") == done.stderr.count("hint:") == 1
    return done.stderr


def test_what_is_no_finished_shard_costs_nothing(undivided: Path, shards: list[Path], tmp_path: Path) -> None:
    """All that can be wrong with them: tests/longreach/test_parts.py."""
    said = complaint("merge", tmp_path / "all", undivided, *shards[1:])
    assert f"{undivided} is no shard: it was made without --shard" in said
    assert "by its own prepare command" in said
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize(
    ("more", "name"), [(("--seq-len", 1024), "seq_len"), (("--min-chars", 9), "min_chars"), (("--seed", 5), "seed")]
)
def test_shards_with_different_settings(
    shards: list[Path], more: tuple[object, ...], name: str, tmp_path: Path
) -> None:
    prepare(tmp_path / "other", "--shard", f"2/{N}", *more)
    said = complaint("merge", tmp_path / "all", *shards[:2], tmp_path / "other")
    assert f"{tmp_path / 'other'} has {name} " in said


def test_files_that_came_between_two_shards(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.jsonl").write_text(rows(0, 30))
    sources = ("--source", f"all={docs}")
    prepare(tmp_path / "0", "--shard", "0/2", sources=sources)
    (docs / "b.jsonl").write_text(rows(30, 40))
    prepare(tmp_path / "1", "--shard", "1/2", sources=sources)
    said = complaint("merge", tmp_path / "all", tmp_path / "0", tmp_path / "1")
    assert f"{tmp_path / '1'} found other files than {tmp_path / '0'}" in said


def test_an_unfinished_shard_whose_files_changed_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.jsonl").write_text(rows(0, 30))
    arguments = ("--source", f"all={docs}", *SETTINGS, "--workers", 1, "--shard", "0/2", "--out", tmp_path / "0")
    finish = tokenized.TokenStore.finish

    def stop(store: Any, number: int) -> None:
        finish(store, number)
        raise KeyError("stop")

    monkeypatch.setattr("pretrain.tokenstore.TokenStore.finish", stop)
    with pytest.raises(KeyError):
        pretrain("prepare", *arguments)
    monkeypatch.undo()
    (docs / "b.jsonl").write_text(rows(30, 70))
    done = pretrain("prepare", *arguments)
    assert done.exit_code == 0
    assert "starting anew" in done.stderr
    prepare(tmp_path / "fresh", "--shard", "0/2", sources=arguments[:2])
    assert digests(tmp_path / "0") == digests(tmp_path / "fresh")


def test_a_file_that_two_shards_read_in_turn_and_that_changed(tmp_path: Path) -> None:
    """With as many bytes as before, so that nothing but its documents tells."""
    own = tmp_path / "own.jsonl"
    own.write_text("".join(json.dumps({"text": f"{number:03d}" * 20}) + "\n" for number in range(40)))
    sources = ("--source", f"own={own}")
    prepare(tmp_path / "0", "--shard", "0/2", sources=sources)
    lines = own.read_text().splitlines(keepends=True)
    own.write_text("".join(lines[:20]) + "".join(line.replace("\n", " ") for line in lines[20:])[:-1] + "\n")
    prepare(tmp_path / "1", "--shard", "1/2", sources=sources)
    said = complaint("merge", tmp_path / "all", tmp_path / "0", tmp_path / "1")
    assert "a file has changed" in said


def test_a_shard_that_is_not_all_there(shards: list[Path], tmp_path: Path) -> None:
    cut = shutil.copytree(shards[0], tmp_path / "cut")
    with (cut / "tokens/0.tokens").open("r+b") as file:
        file.truncate(100)
    said = complaint("merge", tmp_path / "all", cut, *shards[1:])
    assert f"{cut}/tokens/0.tokens has 100 bytes of " in said
    shutil.rmtree(cut / "tokens")
    assert f"{cut}/tokens does not hold all tokens" in complaint("merge", tmp_path / "all", cut, *shards[1:])
    other = shutil.copytree(shards[0], tmp_path / "other")
    shutil.rmtree(other / "tokens")
    shutil.copytree(shards[1] / "tokens", other / "tokens")
    assert "holds other tokens than" in complaint("merge", tmp_path / "all", other, *shards[1:])


def test_a_shard_of_another_version_and_one_of_another_command(shards: list[Path], tmp_path: Path) -> None:
    older, records = (shutil.copytree(shards[0], tmp_path / name) for name in ("older", "records"))
    state = json.loads((older / "tokens/state.json").read_text())
    state["made_from"]["format"] -= 1
    (older / "tokens/state.json").write_text(json.dumps(state))
    said = complaint("merge", tmp_path / "all", older, *shards[1:])
    assert f"{older}/tokens was written by another version of longreach" in said
    manifest = run_of(records)
    (records / "run.json").write_text(json.dumps(manifest | {"settings": {"docs": ["docs"], "shard": f"0/{N}"}}))
    assert f"{records} is no run of prepare" in complaint("merge", tmp_path / "all", records, *shards[1:])
    assert not (tmp_path / "all").exists()


def test_a_folder_that_holds_something_else(undivided: Path, shards: list[Path], tmp_path: Path) -> None:
    assert "made with other settings" in complaint("merge", shards[0], *shards)
    prepare(tmp_path / "rows", "--seed", 3)
    assert "seed: was 3, now 0" in complaint("merge", tmp_path / "rows", *shards)
    prepare(tmp_path / "tried", "--dry-run")
    assert "unfinished run of all documents" in complaint("merge", tmp_path / "tried", *shards)
    other = shutil.copytree(undivided, tmp_path / "undivided")
    manifest = run_of(other)
    manifest["counts"]["inputs_sha256"][0] = "0" * 64
    (other / "run.json").write_text(json.dumps(manifest))
    before = digests(other)
    assert "holds rows of other documents" in complaint("merge", other, *shards)
    assert digests(other) == before


def test_nothing_to_read_and_nothing_to_plan(tmp_path: Path) -> None:
    sources = ("--source", "none=docs/z.pdf")
    said = complaint("merge", tmp_path / "all", *divided(tmp_path, 2, sources=sources))
    assert "no document could be read: 1 inputs were skipped" in said
    said = complaint("prepare", *SOURCES, "--shard", "0/2", "--dry-run", "--out", tmp_path / "dry")
    assert "a shard has no plan" in said
    done = pretrain("prepare", *SOURCES, "--shard", "2/2", "--out", tmp_path / "dry")
    assert (done.exit_code, "--shard: there is no 2/2" in done.stderr) == (1, True)


# The order


def items_of(*numbers: int) -> npt.NDArray[np.int32]:
    return np.array(numbers, ITEMS)


def test_items_are_ordered_by_file_and_turn() -> None:
    """Two shards take turns at file 1, of which the second is the next one's to begin; notes are ~file."""
    order = Order.of([items_of(0, ~0, 1, 1), items_of(1, ~1, 2)])
    assert order.documents.tolist() == [0, 0, 1, 0, 1]
    assert order.notes.tolist() == [0, 1]
    columns = [np.array([1, 2, 3]), np.array([10, 20])]
    assert order.joined(iter(columns)).tolist() == [1, 2, 10, 3, 20]


def test_more_shards_than_a_byte_counts() -> None:
    order = Order.of([items_of(0) for _ in range(300)])
    assert order.documents.tolist() == list(range(300))


def test_one_store_is_in_order_as_it_is() -> None:
    order, column = Order.of([items_of(0, ~0, 1)]), np.array([1, 2])
    assert order.joined(iter([column])) is column
    assert [order.documents.tolist(), order.notes.tolist()] == [[0, 0], [0]]
    assert order.documents.strides == (0,), "it takes memory"


@pytest.mark.parametrize("items", [([1], [1, 1]), ([0, 0, 0], [0]), ([0, 0], [0, 0], [0, 0, 0])])
def test_turns_that_do_not_add_up(items: tuple[list[int], ...]) -> None:
    with pytest.raises(UserError, match="a file has changed"):
        Order.of([items_of(*each) for each in items])
