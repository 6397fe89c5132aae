"""The documents of a corpus, one at a time: what every command reads, whatever the files are.

Each input file, line or row gives either a `Document` or a `Skipped` that says what is wrong and where; none stops or
shortens the others. Memory holds one text and one chunk of its file, plus a few hundred bytes for each file found.

A file that is one text has its path as its id; a row has `path#line`, followed by `:id` when the row has a short id of
its own, which is unique without remembering anything. (`line` is a row number in tables and lists.)
"""

from collections.abc import Iterator, Sequence

from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons
from longreach.text.formats.inputs import find
from longreach.text.formats.kinds import reader
from longreach.text.formats.source import Damaged, Row, Source


class Corpus:
    """The documents of paths, globs, folders and dataset names, in a fixed order."""

    def __init__(
        self, paths: Sequence[str], *, text_field: str = "text", min_chars: int = 200, quality_field: str = ""
    ) -> None:
        self.min_chars = min_chars
        self.quality_field = quality_field
        self.files = find(paths, text_field, quality_field)
        self.total_bytes = sum(
            file.size for file in self.files if isinstance(file, Source)
        )  # on disk, datasets not counted
        self._finished_bytes = 0
        self._current: Source | None = None

    @property
    def read_bytes(self) -> int:
        """How much of `total_bytes` the latest pass has read: it never falls during a pass, and ends at the total."""
        return self._finished_bytes + (min(self._current.consumed, self._current.size) if self._current else 0)

    def __iter__(self) -> Iterator[Document | Skipped]:
        self._finished_bytes = 0
        for file in self.files:
            if isinstance(file, Skipped):
                yield file
                continue
            file.consumed = 0
            self._current = file
            yield from self._read(file)
            self._current = None
            self._finished_bytes += file.size

    def _read(self, source: Source) -> Iterator[Document | Skipped]:
        """All that a file gives, and one note where its reading ends early."""
        nothing = True
        try:
            for item in reader(source.kind)(source):
                nothing = False
                yield self._document(source, item) if isinstance(item, Row) else item
        except Damaged as damaged:
            yield source.skipped(damaged.reason, damaged.detail, damaged.line, damaged.byte)
        except OSError as error:
            yield source.skipped(reasons.UNREADABLE, str(error))
        else:
            if nothing:
                yield source.skipped(reasons.EMPTY, "no rows")

    def _document(self, source: Source, row: Row) -> Document | Skipped:
        flaw = self._flaw(row.text) or self._unrated(row)
        if flaw:
            return source.skipped(*flaw, row.line, row.byte)
        place = "" if row.line is None else f"#{row.line}" + (f":{row.id}" if row.id else "")
        return Document(source.name + place, source.name, row.text, row.source, row.license, row.quality)

    def _unrated(self, row: Row) -> tuple[str, str] | None:
        """The reason and detail, if a quality was asked for and the row tells none."""
        if not self.quality_field or (row.quality is not None and row.quality >= 0):
            return None
        return reasons.NO_QUALITY, f"no number of 0 or more in the field {self.quality_field!r}"

    def _flaw(self, text: str) -> tuple[str, str] | None:
        """The reason and detail, if this is no text to learn from or cannot be written down again."""
        chars = len(text.strip())
        if not chars:
            return reasons.EMPTY, "no text"
        if chars < self.min_chars:
            return reasons.TOO_SHORT, f"{chars} characters, fewer than {self.min_chars}"
        if "\0" in text:
            return reasons.NUL_BYTES, f"at character {text.index(chr(0))}; this is no text"
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            return reasons.LONE_SURROGATE, f"U+{ord(text[error.start]):04X} at character {error.start}"
        return None
