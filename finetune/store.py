"""Examples on the disk: their content end to end in one file, and an index with one entry for each.

Tokenized once, then read at random in every epoch: two million examples open in half a second, and writing holds
two buffers. A mask is kept as the (start, end) of its runs, 8 bytes for each answer.

`store.json` is written last, when everything is on the disk: where it stands, the store is whole. It vouches for the
index, which is checked at opening; the index vouches for the content of each example, which is checked whenever it is
read. So damage is one message and never a strange loss.
"""

import hashlib
import os
import zlib
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import orjson
from numpy.typing import ArrayLike, NDArray

from finetune.item import Item
from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.rows.rows import Tokens
from longreach.rows.shards import token_dtype

MANIFEST, INDEX, CONTENT = "store.json", "index.bin", "examples.bin"
KEYS = {"vocab_size": int, "bytes": int, "index_sha256": str}  # of the manifest
ENTRY = np.dtype(
    [
        ("start", "<i8"),  # of its content, which is spans, tokens and place
        ("length", "<i8"),
        ("answer", "<i8"),  # how many of its tokens
        ("cut", "<i8"),
        ("key", "<u8"),
        ("group", "<u8"),
        ("spans", "<i4"),
        ("place", "<i4"),  # bytes
        ("crc", "<u4"),
    ]
)
SPAN = np.dtype([("start", "<i4"), ("end", "<i4")])
BUFFER = 1 << 20
ANEW = "remove the folder and run the command again: it reads the data anew"

Bools = NDArray[np.bool_]


class StoreWriter:
    """Appends examples to a folder. What an earlier writer left there goes; nothing can be read before `finish`."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        self.folder, self.vocab_size = folder, vocab_size
        self.examples = 0  # so far
        self._dtype = token_dtype(vocab_size)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        self._content = (folder / CONTENT).open("wb", buffering=BUFFER)
        self._index = (folder / INDEX).open("wb", buffering=BUFFER)
        self._entry = np.zeros((), ENTRY)  # of the next example
        self._sha256 = hashlib.sha256()

    def append(self, tokens: NDArray[Any], answer: Bools, key: int, group: int, cut: int, place: str) -> None:
        """One example: its tokens and which of them are answers; the same `key` for the same conversation and the same
        `group` for all about one document; how many tokens were cut from its context, and where it comes from."""
        if not len(tokens) or len(tokens) != len(answer) or not 0 <= tokens.min() <= tokens.max() < self.vocab_size:
            raise ValueError(f"{place}: {len(tokens)} tokens below {self.vocab_size} and a mask of {len(answer)}")
        spans, text = runs_of(answer), place.encode(errors="replace")
        content = b"".join((spans.tobytes(), tokens.astype(self._dtype).tobytes(), text))
        entry = self._entry
        entry["length"], entry["answer"], entry["cut"] = len(tokens), np.count_nonzero(answer), cut
        entry["key"], entry["group"] = key, group
        entry["spans"], entry["place"], entry["crc"] = len(spans), len(text), zlib.crc32(content)
        self._content.write(content)
        self._index.write(entry.data)
        self._sha256.update(entry.data)
        entry["start"] += len(content)
        self.examples += 1

    def finish(self) -> None:
        """Put everything on the disk, and then say so."""
        for file in (self._content, self._index):
            file.flush()
            os.fsync(file.fileno())
        self._close()
        manifest = {
            "format": 1,
            "vocab_size": self.vocab_size,
            "bytes": int(self._entry["start"]),
            "index_sha256": self._sha256.hexdigest(),
        }
        write_json(self.folder / MANIFEST, manifest)

    def _close(self) -> None:
        self._content.close()
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._close()
        except OSError:  # a full disk: the error that brought us here says so
            if error is None:
                raise


def runs_of(mask: Bools) -> NDArray[np.void]:
    """The start and the end of each run of true values."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return edges.astype(SPAN["start"]).view(SPAN)


class Store:
    """The examples of a folder that a StoreWriter finished, or those of them that `select` chose; a Source of a mix."""

    def __init__(self, folder: Path) -> None:
        manifest = _read_manifest(folder)
        self.folder, self.name = folder, folder.name
        self.vocab_size: int = manifest["vocab_size"]
        self.sha256: str = manifest["index_sha256"]  # and so of all content in the folder, by its checksums
        self._dtype = token_dtype(self.vocab_size)
        self._index = _read_index(folder, manifest)
        self._file = _open_content(folder, manifest["bytes"])

    def select(self, indices: ArrayLike) -> "Store":
        """Some of the examples, in this order."""
        chosen = copy(self)
        chosen._index = self._index[np.asarray(indices, np.int64)]
        return chosen

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Item:
        spans, tokens, _ = self._read(number)
        answer = np.zeros(len(tokens), bool)
        for start, end in spans:
            answer[start:end] = True
        return Item(tokens, np.array([len(tokens)], np.int32), answer)

    def place(self, number: int) -> str:
        """Where an example comes from, for people."""
        return self._read(number)[2].decode()

    # Columns: one number for each example

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens."""
        return self._index["length"]

    @property
    def answers(self) -> NDArray[np.int64]:
        """Tokens of answers."""
        return self._index["answer"]

    @property
    def cuts(self) -> NDArray[np.int64]:
        """Tokens that were cut from the context."""
        return self._index["cut"]

    @property
    def keys(self) -> NDArray[np.uint64]:
        """Equal for equal conversations."""
        return self._index["key"]

    @property
    def groups(self) -> NDArray[np.uint64]:
        """Equal for conversations about one document."""
        return self._index["group"]

    def _read(self, number: int) -> tuple[NDArray[np.void], Tokens, bytes]:
        """Spans, tokens and place of an example."""
        if not 0 <= number < len(self):
            raise IndexError(f"example {number} of {len(self)}")
        entry = self._index[number]
        for_spans, for_tokens = int(entry["spans"]) * SPAN.itemsize, int(entry["length"]) * self._dtype.itemsize
        size = for_spans + for_tokens + int(entry["place"])
        content = os.pread(self._file.fileno(), size, int(entry["start"]))
        if zlib.crc32(content) != entry["crc"]:
            raise _damaged(self.folder, f"{CONTENT} is not what was written, at byte {entry['start']:,}")
        spans = np.frombuffer(content, SPAN, int(entry["spans"]))
        tokens = np.frombuffer(content, self._dtype, int(entry["length"]), for_spans)
        return spans, tokens, content[for_spans + for_tokens :]


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{folder} holds no finished examples: it has no {MANIFEST}", ANEW) from error
    except orjson.JSONDecodeError as error:
        raise _damaged(folder, f"{MANIFEST} is no JSON") from error
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(name), kind) for name, kind in KEYS.items()):
        raise _damaged(folder, f"{MANIFEST} is not what longreach writes")
    return manifest


def _read_index(folder: Path, manifest: Mapping[str, Any]) -> NDArray[np.void]:
    try:
        content = (folder / INDEX).read_bytes()
    except FileNotFoundError as error:
        raise _damaged(folder, f"{INDEX} is missing") from error
    if hashlib.sha256(content).hexdigest() != manifest["index_sha256"]:
        raise _damaged(folder, f"{INDEX} is not what was written")
    return np.frombuffer(content, ENTRY)


def _open_content(folder: Path, size: int) -> IO[bytes]:
    """The file, if it is as long as it should be; never read through a buffer."""
    try:
        file = (folder / CONTENT).open("rb", buffering=0)
    except FileNotFoundError as error:
        raise _damaged(folder, f"{CONTENT} is missing") from error
    found = os.fstat(file.fileno()).st_size
    if found != size:
        file.close()
        raise _damaged(folder, f"{CONTENT} has {found:,} bytes, not {size:,}")
    return file


def _damaged(folder: Path, how: str) -> UserError:
    return UserError(f"the examples in {folder} are damaged: {how}", ANEW)
