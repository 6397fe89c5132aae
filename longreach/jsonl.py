"""JSON lines out and in, and files that are whole or absent."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from longreach.errors import UserError


class LineWriter:
    """Writes rows to `<path>.partial`; `publish` makes it `path` at one stroke. A kill leaves the old one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.rows = 0
        self._file = self.partial.open("wb")

    def write(self, row: dict[str, Any]) -> None:
        """Append one row."""
        self._file.write(orjson.dumps(row) + b"\n")
        self.rows += 1

    def publish(self) -> None:
        """Flush to the disk and take the final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.partial.replace(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            try:
                self._file.close()
            except OSError:  # a full disk: the error that brought us here says so
                if error is None:
                    raise


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON lines file that longreach wrote."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield orjson.loads(line)
                except orjson.JSONDecodeError as error:
                    raise UserError(f"{path}, line {number}: {error}", "was this file edited or cut off?") from error
    except FileNotFoundError as error:
        raise UserError(f"no such file: {path}", "is this the --out folder of a finished run?") from error


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it is whole or absent."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON so that it is whole or absent."""
    write_whole(path, orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
