"""What was read is used again only where that is right, and what is held out is what was asked for, or is said."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner

from finetune.cli import main

Row = Mapping[str, Any]


def sum_of(number: int) -> Row:
    turns = [("user", f"What is {number} plus {number}?"), ("assistant", f"It is {2 * number}.")]
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def about(document: str, number: int) -> Row:
    return {"context": document, "question": f"What is said {number}?", "answer": f"Much, {number}."}


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def mixed(out: Path, *arguments: object) -> tuple[int, Any]:
    """The exit status of a mix without a base, and what it shows, or says is wrong."""
    done = CliRunner().invoke(main, ["mix", *map(str, arguments), "--json", "--out", str(out)], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout) if done.exit_code == 0 else done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "sums.jsonl", [sum_of(number) for number in range(20)])


@pytest.mark.parametrize("named", ["sums.jsonl", "*.jsonl", "."])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_changed_is_read_again(
    scheme: str, named: str, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out, given = tmp_path_factory.mktemp("out"), f"{scheme}{data.parent / named}"
    _, before = mixed(out, "--short", given, "--validation", 0)
    assert before["sources"][0]["examples"] == 40
    write(data, [sum_of(number) for number in range(7)])
    assert mixed(out, "--short", given, "--validation", 0)[1]["sources"][0]["examples"] == 14
    write(data.parent / "more.jsonl", [sum_of(99)])
    more = 0 if named == data.name else 2
    assert mixed(out, "--short", given, "--validation", 0)[1]["sources"][0]["examples"] == 14 + more


@pytest.mark.parametrize("scheme", ["", "file://", "memory://"])
def test_a_change_that_keeps_the_size_is_seen(scheme: str, tmp_path: Path) -> None:
    path, given = tmp_path / "sums.jsonl", f"{scheme}{tmp_path / 'sums.jsonl'}"
    marks = []
    for number in (1, 2):
        write(path, [sum_of(number)])
        if scheme == "memory://":
            fsspec.filesystem("memory").pipe_file(str(path), path.read_bytes())
        mixed(tmp_path / "out", "--short", given, "--validation", 0)
        marks.append(json.loads((tmp_path / "out/data/data.json").read_bytes())["made_from"])
    assert marks[0] != marks[1]


def test_strict_stops_where_others_listed(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(data, [sum_of(1), {"rows": 3}])
    assert mixed(out, "--short", data)[0] == 0
    status, said = mixed(out, "--short", data, "--strict")
    assert status == 1
    assert "line 2: unknown form" in said


def test_what_was_removed_is_read_again(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _, before = mixed(out, "--short", data)
    store = out / "data/train/short"
    (store / "index.bin").write_bytes(b"")
    status, said = mixed(out, "--short", data)
    assert status == 1
    assert f"{store} are damaged" in said
    assert "remove the folder and run the command again" in said
    shutil.rmtree(store)
    assert mixed(out, "--short", data) == (0, before)


@pytest.mark.parametrize("option", ["--mix", "--loss"])
def test_names_are_checked_before_anything_is_read(option: str, data: Path, tmp_path: Path) -> None:
    status, said = mixed(tmp_path / "out", "--short", data, option, {"--mix": "shrt=1", "--loss": "shrt=all"}[option])
    assert status == 1
    assert "did you mean 'short'" in said
    assert not (tmp_path / "out/data").exists()


def test_examples_of_no_share_do_not_size_the_batch(data: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "long.jsonl", [about("Many words. " * 500, 1)])
    given = ("--short", data, "--long", long, "--mix", "long:short=0:1")
    assert mixed(tmp_path / "out", *given)[1]["settings"]["batch_tokens"]["value"] < 100


def test_a_document_keeps_together_and_that_is_said(tmp_path: Path) -> None:
    out, document = tmp_path / "out", "The sky over the town is blue. " * 5
    data = write(tmp_path / "one.jsonl", [about(document, number) for number in range(12)])
    status, said = mixed(out, "--short", data)
    assert status == 1
    assert "all 12 examples of short would be held out: they are about one document" in said
    assert mixed(out, "--short", data, "--validation", 0)[0] == 0
    write(data, [about(document * (1 + number % 2), number) for number in range(12)])
    assert (
        "6 of 12 examples of short are held out, to keep a document on one side"
        in mixed(out, "--short", data)[1]["notes"]
    )
    write(data, [about(document, 1)])
    assert "nothing of short is held out: it has too few examples" in mixed(out, "--short", data)[1]["notes"]
