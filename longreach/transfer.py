"""Finished folders to a store and back: whole or not there, checked, and going on where a kill left off.

Journals, locks and files that take their name at one stroke need a disk, and training maps its rows into memory; so a
run works in a local folder and its result travels. In the store `upload.json` is written last: it lists every file
with its size and sha256, and without it there is no upload. Until then `upload.partial.json` lists what has arrived.
"""

import hashlib
import sys
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from longreach.errors import UserError
from longreach.progress import ProgressLine
from longreach.run import FINISHED, RunFolder, differing, read_manifest
from longreach.stores import Store

DONE, ARRIVED = "upload.json", "upload.partial.json"
TELLING = frozenset(("run.json", "manifest.json", "longreach.json"))  # whose presence tells a reader that all is there
NOTED_BYTES = 1 << 30  # between two notes of what has arrived
NOTED_FILES = 100


@dataclass(frozen=True)
class File:
    """A file of the folder, as the lists have it."""

    path: str  # below the folder
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Moved:
    """How a transfer ended."""

    files: int
    bytes: int
    already: int  # files that were there from an earlier try


def upload(folder: Path, url: str) -> Moved:
    """Copy a finished folder to a store; UserError where it is not finished, or where other files or another run's are
    there."""
    store = Store.at(url)
    with ExitStack() as stack:
        if (folder / "run.json").exists():
            stack.enter_context(RunFolder(folder))  # nothing changes meanwhile
        files = _files_of(folder)
        there = dict(store.files()) if store.info() else {}
        done, partly = (_listed(store, name) if name in there else [] for name in (DONE, ARRIVED))
        _require_ours(store, there.keys() - {file.path for file in files} - {DONE, ARRIVED})
        if "run.json" in there:
            _require_same_run(store, folder)
        known = {file for file in [*done, *partly] if there.get(file.path) == file.bytes}
        arrived = [file for file in files if file in known]
        if done != files or arrived != files:
            _send(folder, store, files, arrived, replaced=DONE in there)
        elif ARRIVED in there:  # left by a kill in the last moment
            store.remove(ARRIVED)
    return _moved(files, len(arrived))


def _send(folder: Path, store: Store, files: list[File], arrived: list[File], *, replaced: bool) -> None:
    """What has not arrived yet, and the lists around it."""
    store.write(ARRIVED, _as_json(arrived))
    if replaced:
        store.remove(DONE)
    with ProgressLine("upload", sum(file.bytes for file in files)) as line:
        sent, total = list(arrived), sum(file.bytes for file in arrived)
        here = set(arrived)
        for file in files:
            if file in here:
                continue
            store.put(folder / file.path, file.path, file.bytes)
            sent.append(file)
            total += file.bytes
            if len(sent) % NOTED_FILES == 0 or file.bytes >= NOTED_BYTES:
                store.write(ARRIVED, _as_json(sent))
            line.update(total, f"{len(sent):,} of {len(files):,} files")
    store.write(DONE, _as_json(files))
    store.remove(ARRIVED)


def download(url: str, folder: Path) -> Moved:
    """Copy an upload to a folder, checking every file; UserError where there is no whole upload, or another folder."""
    store = Store.at(url)
    if DONE not in (dict(store.files()) if store.info() else {}):
        raise UserError(f"{url} holds no finished upload: there is no {DONE}", "end `longreach upload` first")
    files = _listed(store, DONE)
    here = {file for file in files if _is_here(folder, file)}
    with ProgressLine("download", sum(file.bytes for file in files)) as line:
        done = 0
        for file in files:
            if file not in here:
                _fetch(store, folder, file)
            done += file.bytes
            line.update(done, file.path)
    return _moved(files, len(here))


def _is_here(folder: Path, file: File) -> bool:
    """Whether an earlier try has brought it; UserError where something else has its name."""
    path = folder / file.path
    if not path.exists():
        return False
    if path.stat().st_size != file.bytes or _sha256(path) != file.sha256:
        raise UserError(f"{path} is there and is another file", "choose another folder: nothing is overwritten")
    return True


def _fetch(store: Store, folder: Path, file: File) -> None:
    path = folder / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    store.get(file.path, partial)
    if (digest := _sha256(partial)) != file.sha256:
        partial.unlink()
        raise UserError(
            f"{store.url}/{file.path} is not what was uploaded: its sha256 is {digest}, not {file.sha256}",
            "upload the folder again, or fetch it again",
        )
    partial.replace(path)


def _files_of(folder: Path) -> list[File]:
    """The files of a finished folder, those last that tell a reader that all is there."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder", "give the --out of a run")
    if (folder / "run.json").exists() and read_manifest(folder).get("status") != FINISHED:
        raise UserError(f"{folder} is not finished", "run its command again: it goes on where it was")
    names = sorted(_names(folder), key=_place)
    if not names:
        raise UserError(f"{folder} holds no files", "give the --out of a run")
    if taken := {DONE, ARRIVED}.intersection(names):
        raise UserError(f"{folder / taken.pop()} has the name of a list that uploads have", "remove it")
    return [File(name, (folder / name).stat().st_size, _sha256(folder / name)) for name in names]


def _place(name: str) -> tuple[bool, int, str]:
    """In the order of the files: of those that tell, the one of the folder itself after those inside."""
    path = PurePosixPath(name)
    return path.name in TELLING, -len(path.parts), name


def _names(folder: Path) -> Iterator[str]:
    """What belongs to the folder: nothing hidden or half written, and no run of its own, as shards are."""
    runs = {path.parent for path in folder.rglob("run.json")} - {folder}
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts) or path.suffix == ".partial"
        if hidden or not runs.isdisjoint(path.parents):
            continue
        if path.is_file():
            yield inside.as_posix()
        elif path.is_symlink():
            raise UserError(f"{path} is a link to a folder or to nothing", "put there what it should lead to")
    for run in sorted(runs):
        sys.stderr.write(f"{run} is a run of its own and left out\n")


def _require_ours(store: Store, others: Set[str]) -> None:
    """Two folders are never mixed."""
    if others:
        some = ", ".join(sorted(others)[:3]) + (", ..." if len(others) > 3 else "")
        raise UserError(f"{store.url} holds other files: {some}", "give a place of its own for this folder")


def _require_same_run(store: Store, folder: Path) -> None:
    """A slip of the URL must not cost the store another run, whose files have the same names."""
    there, here = _shaping(store.read("run.json")), _shaping((folder / "run.json").read_bytes())
    changed = [f"  {name}: {there.get(name)!r} there, {here.get(name)!r} here" for name in differing(there, here)]
    if there and changed:
        raise UserError(
            f"{store.url} holds another run than {folder}:\n" + "\n".join(changed),
            "give a place of its own for this folder; nothing was changed",
        )


def _shaping(manifest: bytes) -> Mapping[str, Any]:
    """What decided a run's output; nothing where that cannot be told, as when its upload was cut off."""
    try:
        return dict(orjson.loads(manifest)["shaping"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return {}


def _listed(store: Store, name: str) -> list[File]:
    """The files that a list in the store names."""
    try:
        files = [File(**each) for each in orjson.loads(store.read(name))["files"]]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{store.url}/{name} is not what longreach writes", "was it edited or cut off?") from error
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{store.url}/{name} names {file.path}, outside its folder", "nothing was copied")
    return files


def _as_json(files: list[File]) -> bytes:
    return orjson.dumps({"format": 1, "files": [asdict(file) for file in files]}, option=orjson.OPT_INDENT_2) + b"\n"


def _moved(files: list[File], already: int) -> Moved:
    return Moved(len(files), sum(file.bytes for file in files), already)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
