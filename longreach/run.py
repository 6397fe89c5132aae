"""A run folder: held by one process, never a mix of two settings, its files whole or absent."""

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import filelock
import orjson

from longreach.errors import UserError
from longreach.jsonl import write_json

KEYS = frozenset({"status", "settings", "shaping", "counts"})  # of every manifest
RUNNING, FINISHED = "running", "finished"
GENERATE, PREPARE = "generate", "prepare"  # commands whose runs other commands read
ONLY_IN = {GENERATE: "docs", PREPARE: "source"}  # a setting that no other command's run.json has


class RunFolder:
    """The folder of one run, locked while it is open. `run.json` says what made it and whether it finished."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(path / ".lock")

    def __enter__(self) -> Self:
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout as error:
            raise UserError(
                f"another process is working in {self.path}", "wait for it to end, or choose another --out"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def manifest(self) -> dict[str, Any]:
        """What run.json holds; empty where there is none yet."""
        return read_manifest(self.path) if (self.path / "run.json").exists() else {}

    def claim(self, shaping: Mapping[str, Any]) -> None:
        """Refuse to go on in a folder that was made with other settings; `shaping` is what decides the output."""
        before = self.manifest().get("shaping")
        if before is None or before == shaping:
            return
        changed = [
            f"  {name}: was {before.get(name)!r}, now {shaping.get(name)!r}" for name in differing(before, shaping)
        ]
        raise UserError(
            f"{self.path} was made with other settings:\n" + "\n".join(changed),
            "choose another --out, or give the settings as they were; nothing was changed",
        )

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace run.json."""
        write_json(self.path / "run.json", manifest)


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names whose values are not the same in both."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def read_manifest(folder: Path) -> dict[str, Any]:
    """What run.json of a run folder holds."""
    path = folder / "run.json"
    try:
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{folder} is no run folder: it has no run.json", "give the --out of a run") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}", "was this file edited or cut off?") from error
    if not isinstance(manifest, dict):
        raise UserError(f"{path} is no JSON object", "was this file edited?")
    return manifest


def read_finished(folder: Path, command: str) -> dict[str, Any]:
    """The manifest of a run of GENERATE or PREPARE that came to its end."""
    manifest = read_manifest(folder)
    if not (manifest.keys() >= KEYS and all(isinstance(manifest[key], dict) for key in KEYS - {"status"})):
        raise UserError(f"{folder / 'run.json'} is not what longreach writes", "was this file edited?")
    if ONLY_IN[command] not in manifest["settings"]:
        raise UserError(f"{folder} is no run of {command}: another command made it", f"give the --out of {command}")
    if manifest["status"] != FINISHED:
        raise UserError(f"{folder} is not finished", f"run its {command} command again: it goes on where it was")
    return manifest


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of those packages that are installed."""
    found = {"python": sys.version.split()[0]}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
