"""Rows onto the disk: token files of whole rows, and an index of the documents in them.

A token file is the raw little-endian numbers of its rows, each exactly `seq_len` long, its padding stored: row r of the
folder is `seq_len` numbers of file r // (rows of a file), readable with nothing but numpy. `segments.npy` has one entry
for each piece of a document and `rows.npy` the first entry of each row.

A file takes its name when it is whole and on the disk, and then a line of `shards.jsonl` vouches for it. After a kill
the writer goes on behind the last such file: `rows` says how many rows it has, the caller appends the next one, and the
bytes come out as if nothing had happened. Memory holds the index of one file; hashes are taken while writing.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import orjson
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import ArrayLike, DTypeLike, NDArray

from longreach.jsonl import write_whole

SHARD_TOKENS = 1 << 28  # half a gigabyte of uint16
JOURNAL = "shards.jsonl"
SEGMENT = np.dtype(
    [
        ("start", "<i4"),  # inside the row
        ("length", "<i4"),
        ("source", "<i4"),
        ("document", "<i8"),  # in its source
        ("offset", "<i8"),  # of the piece's first token in its document
    ]
)

Segments = NDArray[np.void]


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """How tokens are stored: in two bytes as long as every id fits in them."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


class RowWriter:
    """Appends rows to a folder. Opened again with the same arguments, it goes on behind the last whole file."""

    def __init__(
        self, folder: Path, seq_len: int, dtype: DTypeLike, pad_id: int, shard_tokens: int = SHARD_TOKENS
    ) -> None:
        self.folder = folder
        self.seq_len = seq_len
        self.pad_id = pad_id
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._rows_of_shard = max(1, shard_tokens // seq_len)
        folder.mkdir(parents=True, exist_ok=True)
        self._shards = list(self._vouched())
        self._shard: _Shard | None = None
        self.rows: int = sum(shard["rows"] for shard in self._shards)  # that are there: where to go on
        write_whole(folder / JOURNAL, b"".join(map(_line, self._shards)))

    def append(
        self, tokens: ArrayLike, lengths: ArrayLike, sources: ArrayLike, documents: ArrayLike, offsets: ArrayLike
    ) -> None:
        """One row: the tokens of its pieces one behind the other, and for each piece its length, the number of its
        source, the number of its document in that source, and where in the document it starts."""
        segments = _segments(lengths, sources, documents, offsets)
        given = np.asarray(tokens)
        filled = int(segments["length"].sum())
        if len(given) != filled or not 0 < filled <= self.seq_len or segments["length"].min() < 1:
            raise ValueError(f"{len(given)} tokens and pieces of {filled} for a row of {self.seq_len}")
        row = np.full(self.seq_len, self.pad_id, self._dtype)
        row[:filled] = given
        if not np.can_cast(given.dtype, self._dtype) and not np.array_equal(row[:filled], given):
            raise ValueError(f"a token that does not fit into {self._dtype}")
        if self._shard is None:
            self._shard = _Shard(self.folder, len(self._shards))
        self._shard.write(row.tobytes(), segments)
        self.rows += 1
        if self._shard.rows == self._rows_of_shard:
            self._publish(self._shard)

    def finish(self) -> list[dict[str, Any]]:
        """Close the last file and write the index. Gives `shards` of the manifest, which makes the rows complete."""
        if self._shard:
            self._publish(self._shard)
        _write_index(self.folder, self._shards)
        return self._shards

    def _publish(self, shard: "_Shard") -> None:
        facts = shard.publish()
        with (self.folder / JOURNAL).open("ab") as journal:
            journal.write(_line(facts))
            _to_disk(journal)
        self._shards.append(facts)
        self._shard = None

    def _vouched(self) -> Iterator[dict[str, Any]]:
        """The files that an earlier writer left; what comes after the first flaw is written again."""
        journal = self.folder / JOURNAL
        for line in journal.read_bytes().splitlines() if journal.exists() else ():
            try:
                facts = orjson.loads(line)
            except orjson.JSONDecodeError:  # cut off by a kill
                return
            tokens = self.folder / facts["file"]
            indexed = _has_size(_part(tokens), facts["segments"] * SEGMENT.itemsize) or _joined(self.folder).exists()
            if not (indexed and _has_size(tokens, facts["rows"] * self.seq_len * self._dtype.itemsize)):
                return
            yield facts

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shard:
            self._shard.close()


class _Shard:
    """One token file while it is written."""

    def __init__(self, folder: Path, number: int) -> None:
        self.rows = 0
        self._path = folder / f"tokens-{number:05d}.bin"
        self._partial = self._path.with_suffix(".bin.partial")
        self._file = self._partial.open("wb")
        self._sha256 = hashlib.sha256()
        self._segments: list[Segments] = []

    def write(self, row: bytes, segments: Segments) -> None:
        self._file.write(row)
        self._sha256.update(row)
        self._segments.append(segments)
        self.rows += 1

    def publish(self) -> dict[str, Any]:
        """Give the file its name, after its index and its bytes are on the disk; what the manifest says of it."""
        segments = np.concatenate(self._segments)
        write_whole(_part(self._path), segments.tobytes())
        _to_disk(self._file)
        self.close()
        self._partial.replace(self._path)
        return {
            "file": self._path.name,
            "rows": self.rows,
            "sha256": self._sha256.hexdigest(),
            "segments": len(segments),
            "segments_sha256": hashlib.sha256(segments.tobytes()).hexdigest(),
        }

    def close(self) -> None:
        """Close the file as it is; one that was not published is started again by the next writer."""
        self._file.close()


def _segments(lengths: ArrayLike, sources: ArrayLike, documents: ArrayLike, offsets: ArrayLike) -> Segments:
    length = np.asarray(lengths)
    segments = np.empty(len(length), SEGMENT)
    segments["length"] = length
    segments["start"] = np.cumsum(length) - length
    segments["source"] = sources
    segments["document"] = documents
    segments["offset"] = offsets
    return segments


def _write_index(folder: Path, shards: Sequence[dict[str, Any]]) -> None:
    """Join the parts, one at a time. They are removed after the whole is there: where one is missing, it is."""
    parts = [_part(folder / shard["file"]) for shard in shards]
    if all(part.exists() for part in parts):
        total, num_rows = (sum(shard[key] for shard in shards) for key in ("segments", "rows"))
        _write_npy(folder / "rows.npy", np.dtype("<i8"), num_rows + 1, _first_segments(parts))
        _write_npy(_joined(folder), SEGMENT, total, map(_read_part, parts))
    for part in parts:
        part.unlink(missing_ok=True)


def _first_segments(parts: Sequence[Path]) -> Iterator[NDArray[np.int64]]:
    """The first segment of each row, which is the one that starts at 0, and at last their number."""
    before = 0
    for part in parts:
        segments = _read_part(part)
        yield before + np.flatnonzero(segments["start"] == 0)
        before += len(segments)
    yield np.array([before])


def _write_npy(path: Path, dtype: np.dtype[Any], length: int, chunks: Iterable[NDArray[Any]]) -> None:
    """An array that is never whole in memory, into a file that is whole or absent."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        header = {"descr": dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}  # type: ignore[no-untyped-call]
        write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
        for chunk in chunks:
            file.write(chunk.astype(dtype, copy=False).tobytes())
        _to_disk(file)
    partial.replace(path)


def _part(tokens: Path) -> Path:
    """Where the index of a token file waits for the others."""
    return tokens.with_suffix(".segments")


def _joined(folder: Path) -> Path:
    """Their index in one: there only when it is whole, and rows.npy beside it."""
    return folder / "segments.npy"


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _read_part(path: Path) -> Segments:
    return np.fromfile(path, SEGMENT)


def _line(facts: dict[str, Any]) -> bytes:
    return orjson.dumps(facts) + b"\n"


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
