"""Files read one after the other, all that each gives, and how far reading has come.

What is made of a row is the caller's; a file that breaks ends with a note and the next one follows.
"""

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TypeVar

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.division import readers
from longreach.text.formats.kinds import reader
from longreach.text.formats.source import Damaged, Row, Source
from longreach.text.shard import Shard

Made = TypeVar("Made")


class Files:
    """What `inputs.find` found, to be read as often as wanted; of them a shard reads its own."""

    def __init__(self, found: list[Source | Skipped], shard: Shard | None = None) -> None:
        self.found = found
        self.shard = shard or Shard()
        self.readers = readers(found, self.shard.count)
        self.total_bytes = sum(  # on disk, datasets not counted
            file.size for _, file, _ in self._own() if isinstance(file, Source)
        )
        self._finished_bytes = 0
        self._current: Source | None = None

    @property
    def read_bytes(self) -> int:
        """How much of `total_bytes` the latest pass has read: it never falls during a pass, and ends at the total."""
        return self._finished_bytes + (min(self._current.consumed, self._current.size) if self._current else 0)

    @property
    def sha256(self) -> str:
        """Of the names and sizes of all files, those of other shards included: what the division is made from."""
        digest = hashlib.sha256()
        for file in self.found:
            named = (file.name, file.size) if isinstance(file, Source) else (file.path, file.reason)
            digest.update(repr(named).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def read(self, make: Callable[[Source, Row], Made | Skipped]) -> Iterator[Made | Skipped]:
        """One pass: what `make` makes of each row, and a note for all that gave none."""
        return (item for _, item in self.numbered(make))

    def numbered(self, make: Callable[[Source, Row], Made | Skipped]) -> Iterator[tuple[int, Made | Skipped]]:
        """One pass, each item with the number of its file, from 0. Of a file that several shards read, each takes the
        items in turn."""
        self._finished_bytes = 0
        for number, file, sharing in self._own():
            first = self.shard.index - sharing.start
            for item in islice(self._items(file, make), first, None, len(sharing)):
                yield number, item

    def _own(self) -> Iterator[tuple[int, Source | Skipped, range]]:
        """The files that this shard reads, each with its number and the shards that read it."""
        for number, (file, sharing) in enumerate(zip(self.found, self.readers, strict=True)):
            if self.shard.index in sharing:
                yield number, file, sharing

    def _items(self, file: Source | Skipped, make: Callable[[Source, Row], Made | Skipped]) -> Iterator[Made | Skipped]:
        """All that one file gives."""
        if isinstance(file, Skipped):
            yield file
            return
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
