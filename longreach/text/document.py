"""A document, and the note left where an input gave none."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Document:
    """One text with its origin. Offsets into it are in characters (Unicode code points)."""

    id: str  # unique in a run: the path, or path#line for a row of a file
    path: str  # the file or dataset it came from, as the user named it
    text: str
    source: str = ""  # what the row said of its origin, when it did
    license: str = ""
    quality: float | None = None  # the number in the quality field, where one was asked for

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the UTF-8 text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Skipped:
    """An input file, line or row that gave no document, and why; a line of skipped.jsonl."""

    path: str
    reason: str  # one word or two, counted in run.json: "broken json", "bad utf-8", ...
    detail: str = ""  # for a person
    line: int | None = field(default=None)  # 1-based line, or row number of a table
    byte: int | None = field(default=None)  # 0-based offset of the row's first byte in the (decompressed) file
