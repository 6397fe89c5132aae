"""The tokens of every document, on disk between reading the sources and packing the rows.

One set of flat files for each source: tokens, lengths, keys (of the text, the same for the same text), qualities. What
was appended counts only once `commit` has written how long each file is; after a kill the files are cut back to that,
so the bytes are those of one undisturbed run.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from longreach.errors import UserError
from longreach.jsonl import write_json

STATE = "state.json"
SKIPPED, DOCUMENTS = "skipped.jsonl", "documents.jsonl"
COLUMNS: dict[str, np.dtype[Any]] = {"lengths": np.dtype("<i8"), "keys": np.dtype("<u8"), "quality": np.dtype("<f4")}


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

    items: int
    chain: str
    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint64]
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
        path = self.folder / STATE
        if not path.exists():
            return True
        state = orjson.loads(path.read_bytes())
        if state["made_from"] != self.made_from:
            return False
        self.progress = [Progress(**each) for each in state["progress"]]
        self.sizes = state["sizes"]
        return True

    def _sizes_of(self, number: int) -> dict[str, int]:
        progress = self.progress[number]
        columns = {f"{number}.{name}": progress.documents * kind.itemsize for name, kind in COLUMNS.items()}
        return {f"{number}.tokens": progress.tokens * self.dtype.itemsize, **columns}

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
        for name, values in {"tokens": np.ascontiguousarray(batch.tokens, self.dtype), **columns}.items():
            self._file(f"{number}.{name}").write(values.data)
        for name, lines in ((DOCUMENTS, batch.documents), (SKIPPED, batch.skipped)):
            self._file(name).write(lines)
            self.sizes[name] += len(lines)
        progress = self.progress[number]
        progress.items += batch.items
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

    def column(self, number: int, name: str) -> npt.NDArray[Any]:
        """One value for each document of a source, mapped from the disk."""
        path = self.folder / f"{number}.{name}"
        return np.memmap(path, COLUMNS[name], "r") if path.stat().st_size else np.empty(0, COLUMNS[name])

    def tokens(self, number: int) -> "TokenFile":
        """The tokens of a source."""
        return TokenFile(self.folder / f"{number}.tokens", self.dtype)


class TokenFile:
    """Tokens on the disk, read where they are asked for: mapped pages would count as memory."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self._file = path.open("rb", buffering=0)
        self._dtype = dtype

    def __len__(self) -> int:
        return os.fstat(self._file.fileno()).st_size // self._dtype.itemsize

    def read(self, start: int, length: int) -> npt.NDArray[Any]:
        """`length` tokens from token `start` on."""
        size = self._dtype.itemsize
        return np.frombuffer(os.pread(self._file.fileno(), length * size, start * size), self._dtype)


def total(progress: Sequence[Progress]) -> Progress:
    """Counts over all sources."""
    return Progress(
        items=sum(each.items for each in progress),
        documents=sum(each.documents for each in progress),
        tokens=sum(each.tokens for each in progress),
    )
