"""The tokens of every document, on disk between reading the sources and packing the rows.

One set of flat files for each source: tokens, lengths, digests of the texts, qualities, and what came of which file.
What was appended counts only once `commit` has written how long each file is; after a kill the files are cut back to
that, so the bytes are those of one undisturbed run.
"""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from longreach.errors import UserError
from longreach.jsonl import write_json

STATE = "state.json"
SKIPPED, DOCUMENTS = "skipped.jsonl", "documents.jsonl"
DIGEST_BYTES = 32  # sha256
COLUMNS: dict[str, np.dtype[Any]] = {  # a value for each document
    "lengths": np.dtype("<i8"),
    "digests": np.dtype(f"V{DIGEST_BYTES}"),
    "quality": np.dtype("<f4"),
}
ITEMS = np.dtype("<i4")  # a value for each document and note, in their order: the number n of its file, ~n of a note's
OPEN_FILES = 256  # of tokens at once: a process has 1,024 in most places, and shards may be more
BLOCK_BYTES = 1 << 16
ANEW = "copy the shard again, or make it again"


@dataclass
class Progress:
    """How far the reading of one source has come."""

    items: int = 0  # documents and notes that the reader gave
    documents: int = 0
    tokens: int = 0
    chain: str = ""  # hex digest over the digests of all texts so far, in their order
    done: bool = False


@dataclass(frozen=True)
class Batch:
    """Some documents' tokens, end to end, and what is known of each."""

    items: npt.NDArray[np.int32]
    chain: str
    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    digests: npt.NDArray[np.void]
    quality: npt.NDArray[np.float32]
    documents: bytes = b""  # lines of documents.jsonl
    skipped: bytes = b""  # lines of skipped.jsonl


@dataclass
class TokenStore:
    """The files of all sources in `folder`; `made_from` is what decides their content."""

    folder: Path
    sources: int
    dtype: np.dtype[Any]
    made_from: dict[str, Any]
    progress: list[Progress] = field(init=False)
    sizes: dict[str, int] = field(default_factory=dict)  # committed bytes of the two lists

    def __post_init__(self) -> None:
        self.progress = [Progress() for _ in range(self.sources)]
        self.sizes = {SKIPPED: 0, DOCUMENTS: 0}
        self._files: dict[str, Any] = {}

    def open(self) -> bool:
        """Go on with what is committed, if it was made from the same; tells whether there was anything else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stale = not self._restore()
        for number in range(self.sources):
            for name, size in self._sizes_of(number).items():
                self._cut(name, size)
        for name, size in self.sizes.items():
            self._cut(name, size)
        return stale

    def _restore(self) -> bool:
        committed = _committed(self.folder)
        if committed is None:
            return True
        made_from, progress, sizes = committed
        if made_from != self.made_from:
            return False
        self.progress, self.sizes = progress, sizes
        return True

    def _sizes_of(self, number: int) -> dict[str, int]:
        progress = self.progress[number]
        columns = {f"{number}.{name}": progress.documents * kind.itemsize for name, kind in COLUMNS.items()}
        items = {f"{number}.items": progress.items * ITEMS.itemsize}
        return {f"{number}.tokens": progress.tokens * self.dtype.itemsize, **items, **columns}

    def _cut(self, name: str, size: int) -> None:
        path = self.folder / name
        with path.open("ab") as file:
            there = file.tell()
            if there < size:
                raise UserError(f"{path} is shorter than what was written", f"remove {self.folder} and start again")
            file.truncate(size)

    def append(self, number: int, batch: Batch) -> None:
        """Add a batch to source `number`; it counts after the next commit."""
        columns = {name: np.ascontiguousarray(getattr(batch, name), kind) for name, kind in COLUMNS.items()}
        tokens, items = np.ascontiguousarray(batch.tokens, self.dtype), np.ascontiguousarray(batch.items, ITEMS)
        for name, values in {"tokens": tokens, "items": items, **columns}.items():
            self._file(f"{number}.{name}").write(values.data)
        for name, lines in ((DOCUMENTS, batch.documents), (SKIPPED, batch.skipped)):
            self._file(name).write(lines)
            self.sizes[name] += len(lines)
        progress = self.progress[number]
        progress.items += len(batch.items)
        progress.documents += len(batch.lengths)
        progress.tokens += len(batch.tokens)
        progress.chain = batch.chain

    def _file(self, name: str) -> Any:
        if name not in self._files:
            self._files[name] = (self.folder / name).open("ab")
        return self._files[name]

    def commit(self) -> None:
        """Make everything appended so far survive a kill."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        state = {
            "made_from": self.made_from,
            "progress": [asdict(each) for each in self.progress],
            "sizes": self.sizes,
        }
        write_json(self.folder / STATE, state)

    def finish(self, number: int) -> None:
        """Source `number` is read to its end."""
        self.progress[number].done = True
        self.commit()
        for name in [name for name in self._files if name.startswith(f"{number}.")]:
            self._files.pop(name).close()

    def clear(self) -> None:
        """Forget everything."""
        self.close()
        self.progress = [Progress() for _ in range(self.sources)]
        self.sizes = {SKIPPED: 0, DOCUMENTS: 0}
        self.commit()
        self.open()

    def close(self) -> None:
        """Close what is open; nothing is committed."""
        while self._files:
            self._files.popitem()[1].close()

    @classmethod
    def finished(cls, folder: Path, sources: int, dtype: np.dtype[Any]) -> "TokenStore":
        """A store that was filled, to be read only; UserError where it is not, or where a file is not all there."""
        committed = _committed(folder)
        store = cls(folder, sources, dtype, committed[0] if committed else {})
        if not store._restore() or not all(each.done for each in store.progress):
            raise UserError(f"{folder} does not hold all tokens", "run the shard's own command again")
        store._require_whole()
        store._require_sums()
        return store

    def _require_whole(self) -> None:
        sizes = {name: size for number in range(self.sources) for name, size in self._sizes_of(number).items()}
        for name, size in {**sizes, **self.sizes}.items():
            path = self.folder / name
            if not path.exists():
                raise UserError(f"{path} is missing", ANEW)
            if (there := path.stat().st_size) != size:
                raise UserError(f"{path} has {there:,} bytes of {size:,}", ANEW)

    def _require_sums(self) -> None:
        """What the columns say comes to what was counted; a disk that failed leaves files of the right size."""
        lines = dict.fromkeys((DOCUMENTS, SKIPPED), 0)
        for number, progress in enumerate(self.progress):
            lines[DOCUMENTS] += progress.documents
            lines[SKIPPED] += progress.items - progress.documents
            lengths, documents = self.column(number, "lengths"), np.count_nonzero(self.items(number) >= 0)
            if documents != progress.documents:
                raise UserError(f"{self.folder / f'{number}.items'} is damaged", ANEW)
            if lengths.min(initial=0) < 0 or lengths.sum() != progress.tokens:
                raise UserError(f"{self.folder / f'{number}.lengths'} is damaged", ANEW)
        for name, count in lines.items():
            if _lines(self.folder / name) != count:
                raise UserError(f"{self.folder / name} is damaged", ANEW)

    def column(self, number: int, name: str) -> npt.NDArray[Any]:
        """One value for each document of a source, mapped from the disk."""
        return _mapped(self.folder / f"{number}.{name}", COLUMNS[name])

    def keys(self, number: int) -> npt.NDArray[np.uint64]:
        """A number of each text of a source, the same for the same text: the begin of its digest, mapped."""
        return self.column(number, "digests").view("<u8")[:: DIGEST_BYTES // 8]

    def digests(self, number: int) -> Iterator[bytes]:
        """The digest of each text of a source, read one by one."""
        for block in _blocks(self.folder / f"{number}.digests"):
            yield from (block[place : place + DIGEST_BYTES] for place in range(0, len(block), DIGEST_BYTES))

    def lines(self, name: str) -> Iterator[bytes]:
        """Those of one of the lists, read one by one."""
        rest = b""
        for block in _blocks(self.folder / name):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line + b"\n" for line in whole)

    def items(self, number: int) -> npt.NDArray[np.int32]:
        """Where each document and note of a source came from (`ITEMS`)."""
        return np.fromfile(self.folder / f"{number}.items", ITEMS)

    def token_file(self, number: int) -> Path:
        """The file of a source's tokens."""
        return self.folder / f"{number}.tokens"


def _blocks(path: Path) -> Iterator[bytes]:
    """The file piece by piece, open only while one is read: the files of all shards are read in turn."""
    for place in range(0, path.stat().st_size, BLOCK_BYTES):
        with path.open("rb") as file:
            file.seek(place)
            block = file.read(BLOCK_BYTES)
        yield block


def _committed(folder: Path) -> tuple[dict[str, Any], list[Progress], dict[str, int]] | None:
    """What the files were made from, and how far each source and list was when that was written; None: nothing was."""
    path = folder / STATE
    try:
        state = orjson.loads(path.read_bytes())
        made_from, sizes = dict(state["made_from"]), dict(state["sizes"])
        return made_from, [Progress(**each) for each in state["progress"]], sizes
    except FileNotFoundError:
        return None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what longreach writes", f"remove {folder} and make it again") from error


def _lines(path: Path) -> int:
    return sum(block.count(b"\n") for block in _blocks(path))


def _mapped(path: Path, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.memmap(path, kind, "r") if path.stat().st_size else np.empty(0, kind)


class TokenFiles:
    """The tokens of files laid end to end, read where they are asked for: mapped pages would count as memory."""

    def __init__(self, paths: Sequence[Path], dtype: np.dtype[Any], most_open: int = OPEN_FILES) -> None:
        self.paths = paths
        self._dtype = dtype
        self._most_open = most_open
        self.starts = list(accumulate((path.stat().st_size // dtype.itemsize for path in paths), initial=0))
        self._files: dict[int, FileIO] = {}

    def __len__(self) -> int:
        return self.starts[-1]

    def read(self, start: int, length: int) -> npt.NDArray[Any]:
        """`length` tokens from token `start` on, all of one file."""
        number = bisect_right(self.starts, start, hi=len(self.paths)) - 1
        size, place = self._dtype.itemsize, start - self.starts[number]
        return np.frombuffer(os.pread(self._opened(number).fileno(), length * size, place * size), self._dtype)

    def _opened(self, number: int) -> FileIO:
        if number not in self._files:
            if len(self._files) == self._most_open:
                self._files.pop(next(iter(self._files))).close()
            self._files[number] = self.paths[number].open("rb", buffering=0)
        return self._files[number]


def total(progress: Sequence[Progress]) -> Progress:
    """Counts over all sources."""
    return Progress(
        items=sum(each.items for each in progress),
        documents=sum(each.documents for each in progress),
        tokens=sum(each.tokens for each in progress),
    )
