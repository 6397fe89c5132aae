"""JSON lines: one row a line, each line on its own. A blank line is no row."""

import json
from collections.abc import Iterator

import orjson

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.compressed import chunks
from longreach.text.formats.encoding import without_mark
from longreach.text.formats.lines import lines
from longreach.text.formats.source import MAX_BYTES, Row, Source


def read(source: Source) -> Iterator[Row | Skipped]:
    """A row or a note for each line that holds anything."""
    for data, number, byte in lines(chunks(source)):
        if data is None:
            yield source.skipped(reasons.TOO_LARGE, f"a line of more than {MAX_BYTES >> 20} MB", number, byte)
            continue
        if number == 1:
            data = without_mark(data)
        if data and not data.isspace():
            yield row(source, data, number, byte)


def row(source: Source, data: bytes, line: int, byte: int) -> Row | Skipped:
    """One JSON value as a row.

    What orjson refuses is given to the standard library, which reads NaN and says of a lone surrogate that it is one:
    `\\ud800` has no place in UTF-8, so such a text could not be written again.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            detail = f"0x{data[error.start]:02x} at byte {byte + error.start}"
            return source.skipped(reasons.BAD_UTF8, detail, line, byte)
        except (ValueError, RecursionError) as error:
            reason = reasons.BROKEN_JSON if data.strip(b"\0\r\n") else reasons.NUL_BYTES
            return source.skipped(reason, str(error), line, byte)
    return Row(value, line, byte)
