"""The shards of a run, as any merge is given them: in order, each there once, and made alike; all that is wrong is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from longreach.errors import UserError
from longreach.parts import Part, read_parts
from longreach.run import PREPARE


def shard(folder: Path, named: str, *, status: str = "finished", **shaping: Any) -> Path:
    """The run folder of one."""
    folder.mkdir()
    settings = {"shard": named, "source": []}
    manifest = {"status": status, "settings": settings, "shaping": {"shard": named, **shaping}, "counts": {}}
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def read(*folders: Path) -> list[Part]:
    return read_parts(folders, PREPARE)


def problem(*folders: Path) -> str:
    with pytest.raises(UserError) as caught:
        read(*folders)
    assert caught.value.hint
    return str(caught.value)


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    return [shard(tmp_path / str(index), f"{index}/11", seed=3) for index in range(11)]


def test_they_come_in_order(shards: list[Path]) -> None:
    parts = read(*sorted(shards, key=str, reverse=True))
    assert [part.folder for part in parts] == shards
    assert parts[0].shaping == {"seed": 3}


def test_one_that_is_missing_and_one_given_twice(shards: list[Path]) -> None:
    said = problem(*shards[1:10], shards[4])
    assert f"shard 4/11 is given twice: {shards[4]} and {shards[4]}" in said
    assert "missing: shard 0/11, 10/11" in said


def test_all_that_are_none_are_told_together(shards: list[Path], tmp_path: Path) -> None:
    running = shard(tmp_path / "running", "0/11", status="running")
    undivided = shard(tmp_path / "undivided", "")
    said = problem(running, undivided, tmp_path / "none", *shards)
    assert f"{running} is not finished" in said
    assert f"{undivided} is no shard: it was made without --shard" in said
    assert f"{tmp_path / 'none'} is no run folder" in said
    assert "by its own prepare command" in said
    assert str(shards[0]) not in said


def test_of_different_divisions(shards: list[Path], tmp_path: Path) -> None:
    half = shard(tmp_path / "half", "0/2", seed=3)
    said = problem(*shards, half)
    assert "divided in more than one way" in said
    assert f"{half} is shard 0/2" in said


def test_of_different_settings(shards: list[Path], tmp_path: Path) -> None:
    other = shard(tmp_path / "other", "10/11", seed=5, pack="concat")
    said = problem(*shards[:10], other)
    assert f"{other} has pack 'concat', but {shards[0]} None" in said
    assert f"{other} has seed 5, but {shards[0]} 3" in said
