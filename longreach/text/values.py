"""The rows of files as they are, every field of them: what data with a form of its own is read from.

As with a `Corpus`, each line or row gives either a `Value` or a `Skipped` that says what is wrong and where, and none
stops or shortens the others. Memory holds one row and one chunk of its file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.fields import Flaw, kind_of, unwritable
from longreach.text.formats.files import Files
from longreach.text.formats.inputs import find
from longreach.text.formats.source import Row, Source


@dataclass(frozen=True, slots=True)
class Value:
    """One row: its fields as Python values, in lists and dicts where the file has them so."""

    path: str  # the file or dataset it came from, as the user named it
    line: int  # 1-based line, or row number of a table or list
    byte: int | None  # 0-based offset of its first byte in the (decompressed) file, where the format has such
    value: dict[str, Any]


class Values:
    """The rows of paths, globs, folders and dataset names, in a fixed order; a file that is one text is a note."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.files = Files(find(paths))
        self.total_bytes = self.files.total_bytes

    @property
    def read_bytes(self) -> int:
        """How much of `total_bytes` the latest pass has read: it never falls during a pass, and ends at the total."""
        return self.files.read_bytes

    def __iter__(self) -> Iterator[Value | Skipped]:
        return self.files.read(_value)


def _value(source: Source, row: Row) -> Value | Skipped:
    if not isinstance(row.value, dict):
        return source.skipped(reasons.NOT_AN_OBJECT, f"the row is {kind_of(row.value)}", row.line, row.byte)
    if not row.value:
        return source.skipped(reasons.EMPTY, "no fields", row.line, row.byte)
    for name, value in row.value.items():
        if flaw := _flaw(name) or _flaw(value):
            return source.skipped(flaw[0], f"in the field {name!r}: {flaw[1]}", row.line, row.byte)
    return Value(source.name, row.line or 1, row.byte, row.value)


def _flaw(value: object) -> Flaw | None:
    """What is wrong with the first bad text in it; walked with a list, since a row may be nested a thousand deep."""
    todo = [value]
    while todo:
        match todo.pop():
            case str(text):
                if flaw := unwritable(text):
                    return flaw
            case list(items):
                todo += items
            case dict(fields):
                todo += [*fields, *fields.values()]
    return None
