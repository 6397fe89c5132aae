"""The shards of a run as a merge is given them: each finished, there once, and made with the same settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.run import differing, read_finished
from longreach.text.shard import Shard


@dataclass(frozen=True)
class Part:
    """A shard that came to its end, in its run folder. `shaping` is all that decides the output of the whole run."""

    folder: Path
    shard: Shard
    manifest: Mapping[str, Any]
    shaping: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path, command: str) -> "Part":
        """What run.json tells; UserError where it is no finished shard's of that command."""
        manifest = read_finished(folder, command)
        if not (named := manifest["settings"].get("shard")):
            raise UserError(f"{folder} is no shard: it was made without --shard")
        shaping = {name: value for name, value in manifest["shaping"].items() if name != "shard"}
        try:
            return cls(folder, Shard.of(str(named)), manifest, shaping)
        except ValueError as error:
            raise UserError(f"{folder / 'run.json'}: {error}", "was this file edited?") from error


def read_parts(folders: Sequence[Path], command: str, part_of: Callable[[Path, str], Part] = Part.of) -> list[Part]:
    """All shards of one run of `command`, in order; UserError where one is unfinished, missing, given twice or made
    otherwise."""
    parts, problems = [], []
    for folder in folders:
        try:
            parts.append(part_of(folder, command))
        except UserError as error:
            problems.append(error.problem)
    if problems:
        hint = f"give the --out folders of finished shards; one that is unfinished goes on by its own {command} command"
        raise UserError("\n".join(problems), hint)
    parts.sort(key=lambda part: part.shard.index)
    _require_one_division(parts)
    _require_each_once(parts)
    _require_alike(parts)
    return parts


def _require_one_division(parts: Sequence[Part]) -> None:
    if len({part.shard.count for part in parts}) > 1:
        shards = "\n".join(f"{part.folder} is shard {part.shard}" for part in parts)
        raise UserError(f"the documents were divided in more than one way:\n{shards}", "give the shards of one run")


def _require_each_once(parts: Sequence[Part]) -> None:
    given: dict[Shard, Path] = {}
    problems = []
    for part in parts:
        if part.shard in given:
            problems.append(f"shard {part.shard} is given twice: {given[part.shard]} and {part.folder}")
        given[part.shard] = part.folder
    count = parts[0].shard.count
    missing = [str(shard) for shard in (Shard(index, count) for index in range(count)) if shard not in given]
    if missing:
        problems.append(f"missing: shard {', '.join(missing)}")
    if problems:
        raise UserError("\n".join(problems), "give the --out folder of every shard once")


def _require_alike(parts: Sequence[Part]) -> None:
    """All made with the settings of the first."""
    first, *others = parts
    problems = [
        f"{other.folder} has {name} {other.shaping.get(name)!r}, but {first.folder} {first.shaping.get(name)!r}"
        for other in others
        for name in differing(first.shaping, other.shaping)
    ]
    if problems:
        raise UserError("\n".join(problems), "run the shards with the same settings, each into an --out of its own")
