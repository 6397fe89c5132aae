"""A file on its way to becoming documents or values: what readers are given, and the three things they can say of it.

A reader yields a `Row` for each text or row and a `Skipped` for each row that is bad on its own; it raises `Damaged`
where the rest of the file is lost. Whatever was yielded before stands, so no reader cleans up after a broken file.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from longreach.stores import Store
from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.urls import is_url

MAX_BYTES = 256 << 20  # of one line, record or whole-file text: the bound on memory, far above any book
READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Row:
    """What was read and where it stood. A whole file that is one text, or one object, has neither line nor byte."""

    value: Any  # a text, or a row's fields as a dict; a JSON row may be anything
    line: int | None = None  # 1-based line, or row number of a table or list
    byte: int | None = None


class Damaged(Exception):
    """What is left of a file cannot be read, from `line` and `byte` on."""

    def __init__(self, reason: str, detail: str, line: int | None = None, byte: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.line = line
        self.byte = byte


@dataclass(slots=True)
class Source:
    """One input file. Kept small, since a corpus holds one for each of its files."""

    path: str
    size: int
    kind: str  # a key of `kinds.reader`
    fields: tuple[str, ...] = ()  # the fields of a row that are read, the one it must have first; empty: all there are
    consumed: int = 0  # bytes on disk read so far

    @property
    def required(self) -> str:
        """The field that a table must have; empty where any will do."""
        return self.fields[0] if self.fields else ""

    @property
    def name(self) -> str:
        return as_text(self.path)

    def skipped(self, reason: str, detail: str = "", line: int | None = None, byte: int | None = None) -> Skipped:
        """A note on this file or one of its rows; what is quoted from a file may hold what UTF-8 cannot."""
        return Skipped(self.name, reason, detail.encode("utf-8", "replace").decode("utf-8"), line, byte)

    def open(self) -> BinaryIO:
        """The file, on a disk or in a store."""
        if is_url(self.path):
            return cast(BinaryIO, Store.at(self.path).open())
        return Path(self.path).open("rb")

    def blocks(self) -> Iterator[bytes]:
        """The bytes on disk, counting them as they go by."""
        with self.open() as file:
            while block := file.read(READ_BYTES):
                self.consumed += len(block)
                yield block


def as_text(path: str) -> str:
    """A path that can be written down: a file name that is not UTF-8 shows its odd bytes as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def whole(chunks: Iterator[bytes]) -> bytes:
    """All of a file that is one text, as long as it can be held in memory."""
    parts: list[bytes] = []
    length = 0
    for chunk in chunks:
        parts.append(chunk)
        length += len(chunk)
        if length > MAX_BYTES:
            raise Damaged(
                reasons.TOO_LARGE, f"one text of more than {MAX_BYTES >> 20} MB; split it, or give it as rows"
            )
    return b"".join(parts)
