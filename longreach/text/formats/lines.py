"""Lines with their number and byte offset, in memory that one line bounds."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from longreach.text.formats.source import MAX_BYTES, Damaged


class Line(NamedTuple):
    """One line as bytes, its end included; None for a line too long to hold."""

    data: bytes | None
    number: int  # from 1
    byte: int


def lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    """Split on line feeds. Where the stream breaks, the half line is the place that `Damaged` names."""
    number, byte = 1, 0
    held: list[bytes] = []  # the line under way
    length = 0
    try:
        for chunk in chunks:
            *complete, rest = chunk.split(b"\n")
            for end in complete:
                length += len(end) + 1
                if held:
                    end = b"".join((*held, end))
                    held.clear()
                yield Line(end + b"\n" if length <= MAX_BYTES else None, number, byte)
                number, byte, length = number + 1, byte + length, 0
            length += len(rest)
            if length > MAX_BYTES:
                held.clear()
            elif rest:
                held.append(rest)
    except Damaged as damaged:
        raise Damaged(damaged.reason, damaged.detail, number, byte) from damaged
    if length:
        yield Line(b"".join(held) if length <= MAX_BYTES else None, number, byte)
