"""Parquet: batches of rows from one row group after the other; a row group that cannot be read costs its own rows.

Only the columns asked for are read, a few rows at a time, so that memory follows neither the file nor the row group.
Rows have no byte offset here: `line` is the row's number in the file, from 1.
"""

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.fields import missing_field
from longreach.text.formats.source import Damaged, Row, Source
from longreach.urls import is_url

BATCH_ROWS = 64  # documents may be long
BUFFER_BYTES = 1 << 20
MAGIC = b"PAR1"
BYTES = (pa.binary(), pa.large_binary(), pa.binary_view())  # how some writers store text
NOT_PYTHON = (UnicodeDecodeError, ValueError, OverflowError, pa.ArrowException)  # no text; no date of Python's


def read(source: Source) -> Iterator[Row | Skipped]:
    """A row or a note for each row of the table; one note for the rows that a damaged row group holds back."""
    with _open(source) as table:
        columns = _columns(source, table.schema_arrow)
        first = 1
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            yield from _group(source, table, group, columns, range(first, first + rows))
            first += rows
            source.consumed = source.size * (group + 1) // table.num_row_groups


def _columns(source: Source, schema: pa.Schema) -> list[str]:
    """The columns to be read; Damaged where the required one is missing or holds no text."""
    required = source.required
    if not required:
        return list(schema.names)
    if required not in schema.names:
        raise Damaged(reasons.NO_TEXT_FIELD, missing_field(required, schema.names))
    if not _is_text(schema.field(required).type):
        raise Damaged(reasons.NOT_A_STRING, f"the column {required!r} holds {schema.field(required).type}")
    return [name for name in source.fields if name in schema.names]


def _open(source: Source) -> pq.ParquetFile:
    try:
        file = source.open() if is_url(source.path) else source.path
        return pq.ParquetFile(file, buffer_size=BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        with source.open() as file:
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
            for item in _rows(source, batch, numbers[done:]):
                yield item
                done += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        lost = numbers.start + done
        detail = f"rows {lost} to {numbers.stop - 1} (row group {group}): {error}"
        yield source.skipped(reasons.BROKEN_PARQUET, detail, lost)


def _rows(source: Source, batch: pa.RecordBatch, numbers: range) -> Iterator[Row | Skipped]:
    """The rows of a batch; all at once is fast, but a value that Python cannot hold is found only one by one."""
    columns = {name: _as_json(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    try:
        lists = [column.to_pylist() for column in columns.values()]
    except NOT_PYTHON:
        yield from (_row(source, columns, at, number) for at, number in zip(range(len(batch)), numbers, strict=False))
        return
    for number, values in zip(numbers, zip(*lists, strict=True), strict=False):
        yield Row(dict(zip(columns, values, strict=True)), number)


def _row(source: Source, columns: Mapping[str, pa.Array], at: int, line: int) -> Row | Skipped:
    """One row. Where only some fields are wanted, those beside the required one may lose what is not UTF-8."""
    fields = {}
    for name, column in columns.items():
        try:
            fields[name] = column[at].as_py()
        except UnicodeDecodeError as error:
            if source.required in ("", name):
                detail = f"0x{error.object[error.start]:02x} at byte {error.start} of the column {name!r}"
                return source.skipped(reasons.BAD_UTF8, detail, line)
            fields[name] = error.object.decode("utf-8", "replace")
        except NOT_PYTHON as error:
            return source.skipped(reasons.BROKEN_PARQUET, f"the column {name!r}: {error}", line)
    return Row(fields, line)


def _as_json(column: pa.Array) -> pa.Array:
    """The column with the types that JSON would give it: bytes are read as text, a date or time is written out."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind in BYTES:
        return column.cast(pa.large_binary()).view(pa.large_string())  # unchecked: only a row's own value is refused
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind):
        return column.cast(pa.string())
    return column


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind in (pa.string(), pa.large_string(), pa.string_view(), *BYTES, pa.null())
