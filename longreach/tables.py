"""Tables and JSON on stdout, as every command prints its result."""

import os
import sys
from collections.abc import Iterable
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

WIDE = 200  # columns, where the table goes to a file: nobody has to fold it


def share(part: float, total: float) -> str:
    """A percentage; empty where there is nothing to divide by."""
    return f"{part / total:.1%}" if total else ""


def print_table(head: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """A table on stdout: names left, numbers right."""
    table = Table(box=None, pad_edge=False)
    for position, title in enumerate(head):
        table.add_column(escape(title), justify="left" if position == 0 else "right", overflow="fold")
    for name, *values in rows:
        table.add_row(
            escape(str(name)), *(f"{value:,}" if isinstance(value, int) else escape(str(value)) for value in values)
        )
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(highlight=False, width=None if known else WIDE).print(table)


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())
