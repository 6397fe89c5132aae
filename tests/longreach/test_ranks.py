"""Processes under torchrun: a mistake of all is told once, one process' own by that process, and none is lost."""

import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from longreach import ranks
from longreach.ranks import tell
from parallel_runs import started

ENDING = """\
import sys
import time
import click
from longreach.cli import Command, Group
from longreach.errors import UserError
from longreach.ranks import rank

@click.group(cls=Group)
def main(): ...

@main.command(cls=Command)
@click.argument("who")
def work(who):
    if who not in ("all", str(rank())):
        time.sleep(300)  # until torchrun ends it
    raise UserError("no rows", "make some")

main()
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """`work all` ends all processes alike, `work 1` the second alone."""
    path = tmp_path / "ending.py"
    path.write_text(ENDING)
    return path


def test_what_all_meet_is_told_once(script: Path) -> None:
    said = started(4, script, "work", "all", status=1)
    assert said.count("error: no rows\n  hint: make some\n  (process ") == said.count("no rows") == 1
    assert said.count(" of 4; others may have met the same)\n") == 1


@pytest.mark.parametrize("alone", [0, 1])
def test_what_one_meets_is_told_by_it(script: Path, alone: int) -> None:
    said = started(2, script, "work", alone, status=1)
    assert f"error: no rows\n  hint: make some\n  (process {alone} of 2; " in said


def test_one_process_has_no_number(script: Path) -> None:
    assert "error: no rows\n  hint: make some\n" in (said := started(1, script, "work", "all", status=1))
    assert "(process" not in said


def test_a_missing_folder_and_a_wrong_option_of_a_real_command(tmp_path: Path) -> None:
    said = started(2, "-m", "pretrain", "continue", "--base", "b", "--data", tmp_path / "none", status=1)
    assert said.count(f"error: {tmp_path / 'none'} holds no rows") == said.count("holds no rows") == 1
    said = started(2, "-m", "finetune", "sft", "--nonsense", status=1)
    assert said.count("Usage: finetune sft") == said.count("Error: No such option") == 1
    assert said.replace(" ", "").count("exitcode:2") >= 1  # torchrun's own is always 1


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What torchrun would give two processes; this is the second."""
    for name, value in {
        "RANK": "1",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "2",
        "TORCHELASTIC_ERROR_FILE": str(tmp_path / "1/error.json"),
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_each_message_once_on_each_stderr(folder: Path) -> None:
    for name in ("console", "log"):
        with (folder / name).open("w") as file:
            for message in ("full", "gone", "full"):
                words = [sys.executable, "-c", f"from longreach.ranks import tell; tell({message!r})"]
                subprocess.run(words, env=dict(os.environ), stderr=file, check=True)
    for name in ("console", "log"):
        told = [line for line in (folder / name).read_text().splitlines() if not line.startswith("  ")]
        assert told == ["full", "gone"]


def test_nothing_in_the_environment_is_one_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "")
    tell("full")
    assert (ranks.rank(), ranks.world(), capsys.readouterr().err) == (0, 1, "full\n")


@pytest.mark.parametrize("given", ["error.json", "/dev/null", "2/error.json", ""])
def test_a_folder_that_nobody_made_for_it_is_left_alone(
    given: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", given)
    tell("full")
    tell("full")
    assert capsys.readouterr().err.count("full\n") == 2
    assert list(folder.iterdir()) == []


def test_who_cannot_know_tells(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing to share, a folder that is gone, another that holds the lock and does not come to speak."""
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE")
    tell("full")
    tell("full")
    assert capsys.readouterr().err == "full\n  (process 1 of 2; others may have met the same)\n" * 2
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "file" / "1" / "error.json"))
    (folder / "file").touch()
    tell("full")
    tell("full")
    assert capsys.readouterr().err.count("full\n") == 2
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(folder / "1/error.json"))
    monkeypatch.setattr(ranks, "PATIENCE", 0.1)
    tell("full")
    (mark,) = folder.glob("*.told")
    mark.unlink()
    with filelock.FileLock(mark.with_suffix(".lock")):
        tell("full")
    tell("full")
    assert capsys.readouterr().err.count("full\n") == 2
