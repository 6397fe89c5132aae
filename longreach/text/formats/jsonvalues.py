"""A `.json` file: one object, a list of objects or strings, or values one after the other; read piece by piece.

Values are found with the standard library's scanner on the bytes read as Latin-1: JSON's own signs are ASCII, so a
position in that string is a byte offset, bad UTF-8 does no harm yet, and each value's bytes can then be read on their
own like a line of JSON lines. Where a value is broken, reading goes on at the next comma or line break that is
followed by what a row starts with, so that a mistake costs its own row. Memory holds one value and one chunk.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from json import JSONDecodeError, JSONDecoder

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.compressed import chunks
from longreach.text.formats.encoding import without_mark
from longreach.text.formats.jsonrows import row
from longreach.text.formats.source import MAX_BYTES, READ_BYTES, Damaged, Row, Source

BETWEEN = re.compile(r"[\s,]*")
NEXT_OBJECT = re.compile(r"(?<=[,\n])[ \t]*+\{")
NEXT_STRING = re.compile(r"(?<=[,\n])[ \t]*+[\"{]")
CUT_CHARS = 16  # a word, number or escape that the window's end cuts in two fails this close to it
SCAN = JSONDecoder().raw_decode


class Window:
    """The part of the file in memory, as Latin-1, and the place where reading stands in it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks
        self.text = ""
        self.at = 0
        self.start = 0  # byte offset of text[0]
        self.damage: Damaged | None = None

    @property
    def byte(self) -> int:
        return self.start + self.at

    def open(self) -> bool:
        """Step over what may stand before the first value; whether the values are in a list."""
        self.fill()
        head = self.text[:4].encode("latin-1")
        self.at = len(head) - len(without_mark(head))
        listed = self.skip(BETWEEN) and self.text[self.at] == "["
        self.at += listed
        return listed

    def fill(self) -> bool:
        """Read on, at least doubling what is unread, so that a long value is not scanned over and over."""
        self._forget()
        parts, length = [self.text], len(self.text)
        wanted = 2 * length or 1
        try:
            for chunk in self.chunks:
                parts.append(chunk.decode("latin-1"))
                length += len(chunk)
                if length >= wanted:
                    break
        except Damaged as damaged:
            self.damage = damaged
        grown = length > len(self.text)
        if self.damage and not grown:
            raise self.damage
        self.text = "".join(parts)
        return grown

    def _forget(self) -> None:
        self.text, self.start, self.at = self.text[self.at :], self.byte, 0

    def skip(self, between: re.Pattern[str]) -> bool:
        """Step over what may stand between values; whether anything comes after it."""
        while True:
            found = between.match(self.text, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.text):
                return True
            if not self.fill():
                return False

    def seek(self, wanted: re.Pattern[str]) -> bool:
        """Leave the broken value for the next place where one may start."""
        self.at += 1
        if self.at > max(READ_BYTES >> 2, len(self.text) >> 3):
            self._forget()  # the json module counts the lines before each mistake
        while not (found := wanted.search(self.text, self.at)):
            self.at = max(self.at, len(self.text) - 1)  # its last character may be the comma looked for
            if not self.fill():
                return False
        self.at = found.end() - 1
        return True

    def value(self) -> bytes:
        """The bytes of the value that starts here; JSONDecodeError, with reading where it was, when there is none."""
        while True:
            try:
                end = SCAN(self.text, self.at)[1]
            except JSONDecodeError as error:
                if not self._may_be_cut(error) or not self.fill():
                    raise
            else:
                if self.text[end - 1] in '"}]' or end < len(self.text) or not self.fill():
                    data = self.text[self.at : end].encode("latin-1")
                    self.at = end
                    return data

    def _may_be_cut(self, error: JSONDecodeError) -> bool:
        unread = len(self.text) - self.at
        near_end = len(self.text) - error.pos < CUT_CHARS or error.msg.startswith("Unterminated")
        return near_end and unread <= MAX_BYTES


def read(source: Source) -> Iterator[Row | Skipped]:
    """A row or a note for each value, counted by `line`. A file that is one value has no line."""
    window = Window(chunks(source))
    number = 0
    try:
        listed = window.open()
        for number, (byte, value) in enumerate(_values(window, listed), 1):
            if isinstance(value, str):
                yield source.skipped(reasons.BROKEN_JSON, value, number, byte)
                continue
            item = row(source, value, number, byte)
            alone = number == 1 and not listed and not window.skip(BETWEEN)
            yield replace(item, line=None, byte=None) if alone and isinstance(item, Row) else item
    except Damaged as damaged:
        raise Damaged(damaged.reason, damaged.detail, number + 1, window.byte) from damaged


def _values(window: Window, listed: bool) -> Iterator[tuple[int, bytes | str]]:
    """Where each value starts, and its bytes or what is wrong with it."""
    wanted = None
    while window.skip(BETWEEN):
        if listed and window.text[window.at] == "]":
            window.at += 1
            listed = False
            continue
        wanted = wanted or (NEXT_OBJECT if window.text[window.at] == "{" else NEXT_STRING)
        byte = window.byte
        try:
            value: bytes | str = window.value()
        except JSONDecodeError as error:
            value = f"{error.msg} at byte {window.start + error.pos}"
        except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists in lists in lists
            value = str(error)
        yield byte, value
        if isinstance(value, str) and not window.seek(wanted):
            return
    if listed:
        yield window.byte, "the list has no end"
