"""The data as the user names it: a name, files, and whether they are examples, packed rows or held out."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune.config import MixSettings
from longreach.errors import UserError
from longreach.run import FINISHED, read_manifest

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # a folder is called so
LONG, SHORT, PRETRAIN = "long", "short", "pretrain"
RECORDS = "records.jsonl"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Files of one name, read in this order. `runs` are the folders of generate among what was given."""

    name: str
    files: tuple[str, ...]
    runs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Specs:
    """All data of a run."""

    train: tuple[SourceSpec, ...]
    held_out: tuple[SourceSpec, ...]
    rows: str  # a folder of packed rows to train on, too; empty for none

    @property
    def names(self) -> list[str]:
        """Of all that may be trained on."""
        return [*(spec.name for spec in self.train), *([PRETRAIN] if self.rows else [])]


def parse_data(settings: MixSettings) -> Specs:
    """The sources of all options, in a fixed order; every problem is told at once."""
    problems: list[str] = []
    named = [(LONG, path) for path in settings.long] + [(SHORT, path) for path in settings.short]
    named += _named(settings.data, "--data", problems)
    held_out = list(_named(settings.validation_data, "--validation-data", problems))
    for option, given in (("--data", named), ("--validation-data", held_out)):
        if settings.pretrain and any(name == PRETRAIN for name, _ in given):
            problems.append(f"{option} {PRETRAIN}=...: this name is taken by --pretrain")
    problems += [f"--{name}: a path is empty" for name, path in named if not path]
    specs = Specs(tuple(_grouped(named, problems)), tuple(_grouped(held_out, problems)), settings.pretrain)
    if problems:
        raise UserError(
            "\n".join(problems), "write NAME=FILE, as in --data code=code.jsonl; more files: give NAME again"
        )
    return specs


def _named(given: Iterable[str], option: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    """NAME=PATH, once for each path."""
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not path:
            problems.append(f"{option} {text}: has no {'path' if equals else 'name'}")
        elif not NAME.fullmatch(name):
            problems.append(f"{option} {text}: {name!r} is no name: letters, digits, '_', '-' and '.'")
        else:
            yield name, path


def _grouped(named: Iterable[tuple[str, str]], problems: list[str]) -> Iterator[SourceSpec]:
    """One source for each name, with the records of the run folders among its paths."""
    for spec in _joined(named):
        runs = [path for path in spec.files if (Path(path) / "run.json").is_file()]
        for run in runs:
            if not (Path(run) / RECORDS).is_file() or read_manifest(Path(run)).get("status") != FINISHED:
                problems.append(f"{run} is no finished run of `selfinstruct generate`")
        files = tuple(str(Path(path) / RECORDS) if path in runs else path for path in spec.files)
        yield SourceSpec(spec.name, files, tuple(runs))


def _joined(named: Iterable[tuple[str, str]]) -> Iterator[SourceSpec]:
    paths: dict[str, list[str]] = {}
    for name, path in named:
        paths.setdefault(name, []).append(path)
    for name, each in paths.items():
        yield SourceSpec(name, tuple(dict.fromkeys(each)))
