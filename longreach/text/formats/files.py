"""Files read one after the other, all that each gives, and how far reading has come.

What is made of a row is the caller's; a file that breaks ends with a note and the next one follows.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.kinds import reader
from longreach.text.formats.source import Damaged, Row, Source

Made = TypeVar("Made")


class Files:
    """What `inputs.find` found, to be read as often as wanted."""

    def __init__(self, found: list[Source | Skipped]) -> None:
        self.found = found
        self.total_bytes = sum(file.size for file in found if isinstance(file, Source))  # on disk, datasets not counted
        self._finished_bytes = 0
        self._current: Source | None = None

    @property
    def read_bytes(self) -> int:
        """How much of `total_bytes` the latest pass has read: it never falls during a pass, and ends at the total."""
        return self._finished_bytes + (min(self._current.consumed, self._current.size) if self._current else 0)

    def read(self, make: Callable[[Source, Row], Made | Skipped]) -> Iterator[Made | Skipped]:
        """One pass: what `make` makes of each row, and a note for all that gave none."""
        self._finished_bytes = 0
        for file in self.found:
            if isinstance(file, Skipped):
                yield file
                continue
            file.consumed = 0
            self._current = file
            for item in _rows(file):
                yield make(file, item) if isinstance(item, Row) else item
            self._current = None
            self._finished_bytes += file.size


def _rows(source: Source) -> Iterator[Row | Skipped]:
    """All that a file gives, and one note where its reading ends early."""
    nothing = True
    try:
        for item in reader(source.kind)(source):
            nothing = False
            yield item
    except Damaged as damaged:
        yield source.skipped(damaged.reason, damaged.detail, damaged.line, damaged.byte)
    except OSError as error:
        yield source.skipped(reasons.UNREADABLE, str(error))
    else:
        if nothing:
            yield source.skipped(reasons.EMPTY, "no rows")
