"""A file on its way to becoming documents: what readers are given, and the three things they can say of it.

A reader yields a `Row` for each text and a `Skipped` for each row that is bad on its own; it raises `Damaged` where the
rest of the file is lost. Whatever was yielded before stands, so no reader has to clean up after a broken file.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from longreach.text.document import Skipped
from longreach.text.formats import reasons

MAX_BYTES = 256 << 20  # of one line, record or whole-file text: the bound on memory, far above any book
READ_BYTES = 1 << 18
BESIDES = ("id", "source", "license")  # what else a row may say of its text


@dataclass(frozen=True, slots=True)
class Row:
    """A text and where it stood. A whole file that is one text has neither line nor byte."""

    text: str
    line: int | None = None  # 1-based line, or row number of a table or list
    byte: int | None = None
    id: str = ""  # what the row calls itself
    source: str = ""
    license: str = ""
    quality: float | None = None  # the number in the quality field


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
    text_field: str
    kind: str  # a key of `kinds.reader`
    consumed: int = 0  # bytes on disk read so far
    quality_field: str = ""  # none is read where empty

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of a row that are read: the text first."""
        wanted = (self.text_field, *BESIDES, *((self.quality_field,) if self.quality_field else ()))
        return tuple(dict.fromkeys(wanted))

    @property
    def name(self) -> str:
        return as_text(self.path)

    def skipped(self, reason: str, detail: str = "", line: int | None = None, byte: int | None = None) -> Skipped:
        """A note on this file or one of its rows; what is quoted from a file may hold what UTF-8 cannot."""
        return Skipped(self.name, reason, detail.encode("utf-8", "replace").decode("utf-8"), line, byte)

    def blocks(self) -> Iterator[bytes]:
        """The bytes on disk, counting them as they go by."""
        with Path(self.path).open("rb") as file:
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
