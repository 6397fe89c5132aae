"""The documents of a corpus, one at a time: what every command reads, whatever the files are.

Each input file, line or row gives either a `Document` or a `Skipped` that says what is wrong and where; none stops or
shortens the others. Memory holds one text and one chunk of its file, plus a few hundred bytes for each file found.

A file that is one text has its path as its id; a row has `path#line`, followed by `:id` when the row has a short id of
its own, which is unique without remembering anything. (`line` is a row number in tables and lists.)
"""

from collections.abc import Iterator, Sequence
from typing import Any

from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons
from longreach.text.formats.fields import Flaw, no_text, number, own_id, string, unwritable
from longreach.text.formats.files import Files
from longreach.text.formats.inputs import find
from longreach.text.formats.source import Row, Source
from longreach.text.shard import Shard

BESIDES = ("id", "source", "license")  # what else a row may say of its text


class Corpus:
    """The documents of paths, globs, folders and dataset names, in a fixed order; only a shard's where one is given."""

    def __init__(
        self,
        paths: Sequence[str],
        *,
        text_field: str = "text",
        min_chars: int = 200,
        quality_field: str = "",
        shard: Shard | None = None,
    ) -> None:
        self.text_field = text_field
        self.min_chars = min_chars
        self.quality_field = quality_field
        wanted = (text_field, *BESIDES, *((quality_field,) if quality_field else ()))
        self.files = Files(find(paths, tuple(dict.fromkeys(wanted))), shard)
        self.total_bytes = self.files.total_bytes

    @property
    def read_bytes(self) -> int:
        """How much of `total_bytes` the latest pass has read: it never falls during a pass, and ends at the total."""
        return self.files.read_bytes

    def __iter__(self) -> Iterator[Document | Skipped]:
        return self.files.read(self._document)

    def numbered(self) -> Iterator[tuple[int, Document | Skipped]]:
        """Each item with the number of its file among all that were found."""
        return self.files.numbered(self._document)

    def _document(self, source: Source, row: Row) -> Document | Skipped:
        """The text of a row: the row itself when it is a string, else its text field."""
        fields: Any = {self.text_field: row.value} if isinstance(row.value, str) else row.value
        if flaw := no_text(fields, self.text_field):
            return source.skipped(*flaw, row.line, row.byte)
        text = fields[self.text_field]
        quality = number(fields.get(self.quality_field)) if self.quality_field else None
        if flaw := self._flaw(text) or self._unrated(quality):
            return source.skipped(*flaw, row.line, row.byte)
        own = own_id(fields.get("id"))
        place = "" if row.line is None else f"#{row.line}" + (f":{own}" if own else "")
        origin, license = string(fields.get("source")), string(fields.get("license"))
        return Document(source.name + place, source.name, text, origin, license, quality)

    def _unrated(self, quality: float | None) -> Flaw | None:
        """What is wrong, if a quality was asked for and the row tells none."""
        if not self.quality_field or (quality is not None and quality >= 0):
            return None
        return reasons.NO_QUALITY, f"no number of 0 or more in the field {self.quality_field!r}"

    def _flaw(self, text: str) -> Flaw | None:
        """What is wrong, if this is no text to learn from or cannot be written down again."""
        chars = len(text.strip())
        if not chars:
            return reasons.EMPTY, "no text"
        if chars < self.min_chars:
            return reasons.TOO_SHORT, f"{chars} characters, fewer than {self.min_chars}"
        return unwritable(text)
