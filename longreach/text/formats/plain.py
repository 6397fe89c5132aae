"""Plain text and source code: the file is the text."""

from collections.abc import Iterator

from longreach.text.formats.compressed import chunks
from longreach.text.formats.encoding import decode
from longreach.text.formats.source import Row, Source, whole


def read(source: Source) -> Iterator[Row]:
    """One text."""
    yield Row(decode(whole(chunks(source))))
