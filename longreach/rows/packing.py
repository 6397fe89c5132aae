"""Which piece of which document stands in which row, from the lengths alone.

`best_fit_decreasing` is for whole documents: the longest first, each into the open row that it fills best. It puts as
many tokens into as few rows as the classic algorithm does, since it is that algorithm, but takes all documents of one
length together: a class of equally free rows takes them in one stroke. With D different lengths there are at most some
2 D log2(row) strokes, each of which places at least one document, so a million lengths take well under a second, in
numpy alone. `concatenate` is for the stream: documents one behind the other, cut wherever a row ends.

Rows are numbered by their first document, and documents stand in a row in their own order, so that reading the rows
walks through the corpus. All is a function of the lengths: nothing depends on a seed, a thread or a machine. Memory
is some forty bytes a document at the worst moment, and twelve of them stay: every number has four bytes while it fits.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.signedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Packed:
    """The pieces of all rows, row after row: `length` tokens of document `item` from its token `offset` on.

    `rows[r]` is the first piece of row r, and `rows[-1]` the number of pieces.
    """

    rows: Ints
    item: Ints
    offset: Ints
    length: Ints

    def __len__(self) -> int:
        return len(self.rows) - 1


def best_fit_decreasing(lengths: ArrayLike, seq_len: int) -> Packed:
    """Whole documents into as few rows as best fit finds; one longer than a row gives full rows and a rest."""
    sizes = _checked(lengths, seq_len)
    item, offset, length = _pieces(sizes, seq_len, np.broadcast_to(np.int32(0), len(sizes)))
    rows, order = _by_row(_best_rows(length, seq_len))
    item = item[order]  # one at a time: the old one goes before the next comes
    offset = offset[order]
    length = length[order]
    return Packed(rows, item, offset, length)


def concatenate(lengths: ArrayLike, seq_len: int) -> Packed:
    """All documents as one stream, cut at every row's end."""
    sizes = _checked(lengths, seq_len)
    begins = _begins(sizes, seq_len)
    item, offset, length = _pieces(sizes, seq_len, begins)
    opens_row = begins[item] == 0
    opens_row |= offset > 0
    return Packed(np.append(np.flatnonzero(opens_row), len(item)), item, offset, length)


def _begins(sizes: Ints, seq_len: int) -> Ints:
    """Where in its row each document of the stream begins."""
    begins = np.cumsum(sizes, dtype=np.int64)
    begins -= sizes
    begins %= seq_len
    return begins.astype(index_dtype(int(sizes.max(initial=0)) + seq_len))  # so that an end fits, too


def index_dtype(largest: int) -> np.dtype[np.signedinteger[Any]]:
    """How numbers up to this one are held: in four bytes as long as they fit."""
    return np.dtype(np.int32 if largest < 1 << 31 else np.int64)


def _checked(lengths: ArrayLike, seq_len: int) -> Ints:
    sizes = np.asarray(lengths)
    if sizes.dtype.kind != "i":
        sizes = sizes.astype(np.int64)
    if seq_len < 1:
        raise ValueError(f"a row of {seq_len} tokens")
    if sizes.ndim != 1 or (len(sizes) and sizes.min() < 0):
        raise ValueError("lengths are a list of numbers from 0 on")
    return sizes


def _pieces(sizes: Ints, seq_len: int, begins: Ints) -> tuple[Ints, Ints, Ints]:
    """The item, offset and length of each piece, one in each row that a document touches, which begins in its first
    row at its number of `begins`; none for an empty one."""
    count = -(-(begins + sizes) // seq_len)
    count[sizes == 0] = 0
    item = np.repeat(np.arange(len(sizes), dtype=index_dtype(len(sizes))), count)
    offset = np.zeros(len(item), index_dtype(int(sizes.max(initial=0))))
    later = np.flatnonzero(item[1:] == item[:-1]) + 1  # behind the first of their document
    offset[later] = (later - np.searchsorted(item, item[later])) * seq_len - begins[item[later]]
    length = np.repeat(sizes, count)
    length -= offset
    length[later - 1] = offset[later] - offset[later - 1]
    return item, offset, length.astype(index_dtype(seq_len), copy=False)


def _by_row(row_of: Ints) -> tuple[Ints, Ints]:
    """Where each row begins, the rows numbered by their first piece, and the pieces, which come in the order of the
    corpus, in the order of the rows."""
    first = np.full(int(row_of.max(initial=-1)) + 1, len(row_of), row_of.dtype)
    np.minimum.at(first, row_of, np.arange(len(row_of), dtype=row_of.dtype))  # the first piece of each row
    number = np.empty_like(first)
    number[np.argsort(first)] = np.arange(len(first))
    row_of = number[row_of]
    rows = np.concatenate(([0], np.cumsum(np.bincount(row_of))))
    return rows, np.argsort(row_of, kind="stable")


def _best_rows(length: Ints, seq_len: int) -> Ints:
    """The row of each piece, in the order in which rows were opened."""
    longest_first = _longest_first(length, seq_len)
    row_of = np.empty(len(length), index_dtype(len(length)))
    placed = 0
    for rows, each, count in _strokes(length[longest_first], seq_len):
        row_of[longest_first[placed : placed + count]] = np.repeat(rows, each)[:count]
        placed += count
    return row_of


def _longest_first(length: Ints, seq_len: int) -> Ints:
    missing = (seq_len - length).astype(np.min_scalar_type(seq_len))  # two bytes are sorted several times as fast
    return np.argsort(missing, kind="stable")


def _strokes(falling: Ints, seq_len: int) -> Iterator[tuple[Ints, int, int]]:
    """Rows, how many of the next pieces go into each but the last, and how many that are in all.

    The row with the least room that is enough is still that one after it took a piece, as long as it has room for
    another of the same length: so it takes as many as it can hold, and so does every row with just as much room.
    """
    free = _Free(seq_len)
    bounds = np.ones(len(falling) + 1, np.bool_)
    bounds[1:-1] = falling[1:] != falling[:-1]
    for begin, end in pairwise(np.flatnonzero(bounds).tolist()):
        size, left = int(falling[begin]), end - begin
        while left:
            room, rows = free.take(size, left)
            each = room // size
            count = min(left, each * len(rows))
            in_last = count - each * (len(rows) - 1)
            free.give(room - each * size, rows[:-1])
            free.give(room - in_last * size, rows[-1:])
            yield rows, each, count
            left -= count


class _Free:
    """The rows that have room, by how much they have."""

    def __init__(self, seq_len: int) -> None:
        self._seq_len = seq_len
        self._opened = 0
        self._rooms: list[int] = []  # sorted
        self._rows: dict[int, list[Ints]] = {}

    def take(self, size: int, count: int) -> tuple[int, Ints]:
        """Rows with the least room that is enough for a piece of this size, no more of them than `count` pieces need;
        new rows where none has enough."""
        place = bisect_left(self._rooms, size)
        if place == len(self._rooms):
            rows = np.arange(self._opened, self._opened - count // -(self._seq_len // size))
            self._opened += len(rows)
            return self._seq_len, rows
        room = self._rooms[place]
        rows = self._rows[room].pop()
        enough = -(count // -(room // size))
        if len(rows) > enough:
            self._rows[room].append(rows[enough:])
        elif not self._rows[room]:
            del self._rows[room], self._rooms[place]
        return room, rows[:enough]

    def give(self, room: int, rows: Ints) -> None:
        """Rows that now have this much room."""
        if not room or not len(rows):
            return
        if room not in self._rows:
            self._rows[room] = []
            insort(self._rooms, room)
        self._rows[room].append(rows)
