"""Rows from the disk, at random and at no cost: files are mapped, a row is a view of their pages.

Opening checks the manifest and the sizes of the files, so that a folder that is missing, unfinished or cut off is
refused in one message before any training; `verify` reads everything and compares hashes. Reading a row costs some ten
microseconds. Rows travel to the workers of a data loader as the name of their folder, and are opened there again.
"""

import hashlib
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from longreach.errors import UserError
from longreach.rows.shards import JOURNAL, SEGMENT, Segments, token_dtype

OPEN_FILES = 128  # at once; a process may often hold no more than 1,024
KEYS = {"seq_len": int, "rows": int, "vocab_size": int, "tokenizer": str, "tokenizer_sha256": str, "shards": list}
SHARD_KEYS = {"file": str, "rows": int, "sha256": str, "segments": int, "segments_sha256": str}
ANEW = "copy the folder again, or make the rows anew with `pretrain prepare`"

Tokens = NDArray[np.uint16] | NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Row:
    """The tokens of one row, read-only, and the documents in it; what follows the last of them is padding."""

    tokens: Tokens
    lengths: NDArray[np.int32]  # of each piece of a document
    starts: NDArray[np.int64]  # where in its document each piece starts


class Rows:
    """The rows of a folder that `pretrain prepare` finished, or pieces of them of `seq_len` tokens."""

    def __init__(self, folder: str | Path, seq_len: int | None = None) -> None:
        self.folder = Path(folder)
        content = _read_manifest(self.folder)
        self.manifest = _checked_manifest(self.folder, content)
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.vocab_size: int = self.manifest["vocab_size"]
        self.tokenizer: str = self.manifest["tokenizer"]
        self.tokenizer_sha256: str = self.manifest["tokenizer_sha256"]
        self._dtype = token_dtype(self.vocab_size)
        self._stored_len: int = self.manifest["seq_len"]
        self._shards: list[dict[str, Any]] = self.manifest["shards"]
        self._check_files()
        num_segments = sum(shard["segments"] for shard in self._shards)
        self._segments: Segments = self._index("segments.npy", SEGMENT, num_segments)
        self._first: NDArray[np.int64] = self._index("rows.npy", np.dtype("<i8"), self.manifest["rows"] + 1)
        self._shard = lru_cache(OPEN_FILES)(self._map)
        self.seq_len = seq_len or self._stored_len
        if self._stored_len % self.seq_len:
            raise UserError(
                f"rows of {self._stored_len} tokens do not split into rows of {self.seq_len}",
                "choose a length that divides theirs",
            )

    def __len__(self) -> int:
        return int(self._pieces_before[-1])

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        row = int(np.searchsorted(self._pieces_before, index, side="right")) - 1
        begin = (index - int(self._pieces_before[row])) * self.seq_len
        tokens = self._stored(row)[begin : begin + self.seq_len]
        segments = self._segments[self._first[row] : self._first[row + 1]]
        lengths, starts = segments["length"], segments["offset"]
        if self.seq_len < self._stored_len:
            lengths, starts = _within(segments, begin, self.seq_len)
        return Row(tokens, lengths.astype(np.int32), starts.astype(np.int64))

    def __reduce__(self) -> tuple[type[Self], tuple[Path, int]]:
        return type(self), (self.folder, self.seq_len)

    def split(self, seq_len: int) -> "Rows":
        """The same tokens in shorter rows; what would be a row of padding only is left out."""
        return Rows(self.folder, seq_len)

    @cached_property
    def cuts(self) -> int:
        """Documents that the split cuts."""
        start = self._segments["start"]
        cut = start // self.seq_len < (start + self._segments["length"] - 1) // self.seq_len
        return len(np.unique(self._segments[["source", "document"]][cut]))

    @cached_property
    def filled(self) -> NDArray[np.int64]:
        """The tokens of each row that are no padding."""
        pieces = np.diff(self._pieces_before)
        nth = np.arange(len(self)) - np.repeat(self._pieces_before[:-1], pieces)
        return np.minimum(np.repeat(self._stored_filled, pieces) - nth * self.seq_len, self.seq_len)

    def verify(self) -> None:
        """Read every byte and compare it with the manifest."""
        damaged = list(self._damaged())
        if damaged:
            raise UserError(f"the rows in {self.folder} are damaged: {', '.join(damaged)}", ANEW)

    def _damaged(self) -> Iterator[str]:
        begin = row = 0
        for number, shard in enumerate(self._shards):
            if hashlib.sha256(self._shard(number).data).hexdigest() != shard["sha256"]:
                yield shard["file"]
            segments = self._segments[begin : begin + shard["segments"]]
            if hashlib.sha256(segments.tobytes()).hexdigest() != shard["segments_sha256"]:
                yield f"segments.npy of {shard['file']}"
            first = self._first[row : row + shard["rows"]]
            if not np.array_equal(first, begin + np.flatnonzero(segments["start"] == 0)):
                yield f"rows.npy of {shard['file']}"
            begin, row = begin + len(segments), row + len(first)

    @cached_property
    def _pieces_before(self) -> NDArray[np.int64]:
        """For each stored row the index of its first piece, and at last the number of all."""
        return np.concatenate(([0], np.cumsum(-(-self._stored_filled // self.seq_len), dtype=np.int64)))

    @cached_property
    def _stored_filled(self) -> NDArray[np.int64]:
        """The tokens of each stored row that are no padding."""
        last = self._segments[self._first[1:] - 1]
        filled: NDArray[np.int64] = last["start"].astype(np.int64) + last["length"]
        return filled

    def _stored(self, row: int) -> Tokens:
        shard, place = divmod(row, self._shards[0]["rows"])
        return self._shard(shard)[place * self._stored_len : (place + 1) * self._stored_len]

    def _map(self, number: int) -> Tokens:
        with (self.folder / self._shards[number]["file"]).open("rb") as file:
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(pages, self._dtype)

    def _check_files(self) -> None:
        """Refuse files that are not there or not as long as the manifest says."""
        problems = []
        for shard in self._shards:
            path = self.folder / shard["file"]
            expected = shard["rows"] * self._stored_len * self._dtype.itemsize
            if not path.is_file():
                problems.append(f"{path.name} is missing")
            elif path.stat().st_size != expected:
                problems.append(f"{path.name} has {path.stat().st_size:,} bytes, not {expected:,}")
        if problems:
            raise UserError(f"the rows in {self.folder} are damaged: {_few(problems)}", ANEW)

    def _index(self, name: str, dtype: np.dtype[Any], length: int) -> NDArray[Any]:
        """An array of the index, mapped."""
        try:
            array = np.load(self.folder / name, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise UserError(f"the rows in {self.folder} are damaged: {name} is missing", ANEW) from error
        except (ValueError, EOFError) as error:
            raise UserError(f"the rows in {self.folder} are damaged: {name}: {error}", ANEW) from error
        if array.dtype != dtype or array.shape != (length,):
            raise UserError(f"the rows in {self.folder} are damaged: {name} is of another corpus", ANEW)
        return np.asarray(array)


def _within(segments: Segments, begin: int, seq_len: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The lengths and starts of what the segments have in `seq_len` tokens of their row from `begin` on."""
    start = segments["start"].astype(np.int64) - begin
    end = np.minimum(start + segments["length"], seq_len)
    inside = (end > 0) & (start < seq_len)
    before = np.maximum(-start[inside], 0)
    return end[inside] - start[inside] - before, segments["offset"][inside] + before


def _read_manifest(folder: Path) -> bytes:
    try:
        return (folder / "manifest.json").read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        if any((folder / name).exists() for name in (JOURNAL, "run.json")):
            raise UserError(
                f"the rows in {folder} are not finished", "run their `pretrain prepare` again: it goes on where it was"
            ) from error
        raise UserError(f"{folder} holds no rows", "make them with `pretrain prepare --out ROWS`") from error


def _checked_manifest(folder: Path, content: bytes) -> dict[str, Any]:
    """The manifest, if it is one and agrees with itself."""
    try:
        manifest = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{folder / 'manifest.json'} is no JSON: {error}", ANEW) from error
    shards = manifest.get("shards") if isinstance(manifest, dict) else None
    if not (_has(manifest, KEYS) and shards and all(_has(shard, SHARD_KEYS) for shard in shards) and _agrees(manifest)):
        raise UserError(f"{folder / 'manifest.json'} is not what longreach writes", ANEW)
    return dict(manifest)


def _has(value: Any, keys: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in keys.items())


def _agrees(manifest: Mapping[str, Any]) -> bool:
    """Whether the files make up all rows, all but the last hold equally many, and no name leads out of the folder."""
    shards = manifest["shards"]
    each = [shard["rows"] for shard in shards]
    names = [shard["file"] for shard in shards]
    return (
        manifest["seq_len"] > 0
        and manifest["rows"] == sum(each)
        and all(rows == each[0] for rows in each[:-1])
        and 0 < each[-1] <= each[0]
        and all(Path(name).name == name for name in names)
    )


def _few(problems: list[str]) -> str:
    return ", ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
