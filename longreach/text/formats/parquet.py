"""Parquet: batches of rows from one row group after the other; a row group that cannot be read costs its own rows.

Only the columns asked for are read, a few rows at a time, so that memory follows neither the file nor the row group.
Rows have no byte offset here: `line` is the row's number in the file, from 1.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.fields import missing_field, take
from longreach.text.formats.source import Damaged, Row, Source

BATCH_ROWS = 64  # documents may be long
BUFFER_BYTES = 1 << 20
MAGIC = b"PAR1"


def read(source: Source) -> Iterator[Row | Skipped]:
    """A row or a note for each row of the table; one note for the rows that a damaged row group holds back."""
    with _open(source) as table:
        names = table.schema_arrow.names
        if source.text_field not in names:
            raise Damaged(reasons.NO_TEXT_FIELD, missing_field(source.text_field, names))
        kind = table.schema_arrow.field(source.text_field).type
        if not _is_text(kind):
            raise Damaged(reasons.NOT_A_STRING, f"the column {source.text_field!r} holds {kind}")
        columns = [name for name in source.fields if name in names]
        first = 1
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            yield from _group(source, table, group, columns, range(first, first + rows))
            first += rows
            source.consumed = source.size * (group + 1) // table.num_row_groups


def _open(source: Source) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(source.path, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        with Path(source.path).open("rb") as file:
            begins = file.read(len(MAGIC)) == MAGIC
            file.seek(-min(len(MAGIC), source.size), 2)
            ends = file.read() == MAGIC
        reason = reasons.TRUNCATED_PARQUET if begins and not ends else reasons.BROKEN_PARQUET
        raise Damaged(reason, str(error)) from error


def _group(
    source: Source, table: pq.ParquetFile, group: int, columns: list[str], numbers: range
) -> Iterator[Row | Skipped]:
    done = 0
    try:
        for batch in table.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
            for values in zip(*(_values(source, name, batch.column(name)) for name in columns), strict=True):
                yield _row(source, dict(zip(columns, values, strict=True)), numbers[done])
                done += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        lost = numbers.start + done
        detail = f"rows {lost} to {numbers.stop - 1} (row group {group}): {error}"
        yield source.skipped(reasons.BROKEN_PARQUET, detail, lost)


def _row(source: Source, values: dict[str, Any], line: int) -> Row | Skipped:
    text = values[source.text_field]
    fields = {
        name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value for name, value in values.items()
    }
    try:
        fields[source.text_field] = None if text is None else text.decode("utf-8")
    except UnicodeDecodeError as error:
        detail = f"0x{error.object[error.start]:02x} at byte {error.start} of the text"
        return source.skipped(reasons.BAD_UTF8, detail, line)
    return take(source, fields, line, None)


def _values(source: Source, name: str, column: pa.Array) -> list[Any]:
    number = name == source.quality_field and not _is_text(column.type)
    return list(column.to_pylist()) if number else _strings(column)


def _strings(column: pa.Array) -> list[bytes | None]:
    """The values as bytes: only bytes can say which row is not UTF-8."""
    return column.cast(pa.large_binary()).to_pylist() if _is_text(column.type) else [None] * len(column)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.null())
