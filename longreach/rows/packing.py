"""Which piece of which document stands in which row, from the lengths alone.

`best_fit_decreasing` is for whole documents: the longest first, each into the open row that it fills best. It puts as
many tokens into as few rows as the classic algorithm does, since it is that algorithm, but takes all documents of one
length together: a class of equally free rows takes them in one stroke. With D different lengths there are at most some
2 D log2(row) strokes, each of which places at least one document, so a million lengths take well under a second, in
numpy alone. `concatenate` is for the stream: documents one behind the other, cut wherever a row ends.

Rows are numbered by their first document, and documents stand in a row in their own order, so that reading the rows
walks through the corpus. All is a function of the lengths: nothing depends on a seed, a thread or a machine. Memory
is some eighty bytes a document at the worst moment, and thirty of them stay.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


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
    item, offset, length = _pieces(sizes, seq_len)
    return _in_rows(_best_rows(length, seq_len), item, offset, length)


def concatenate(lengths: ArrayLike, seq_len: int) -> Packed:
    """All documents as one stream, cut at every row's end."""
    sizes = _checked(lengths, seq_len)
    ends = np.cumsum(sizes)
    total = int(sizes.sum())
    bounds = np.unique(np.concatenate(([0], ends, np.arange(0, total, seq_len))))
    start, length = bounds[:-1], np.diff(bounds)
    item = np.searchsorted(ends, start, side="right")
    rows = np.searchsorted(start, np.arange(0, total, seq_len))
    return Packed(np.append(rows, len(start)), item, start - (ends - sizes)[item], length)


def _checked(lengths: ArrayLike, seq_len: int) -> Ints:
    sizes = np.asarray(lengths, np.int64)
    if seq_len < 1:
        raise ValueError(f"a row of {seq_len} tokens")
    if sizes.ndim != 1 or (len(sizes) and sizes.min() < 0):
        raise ValueError("lengths are a list of numbers from 0 on")
    return sizes


def _pieces(sizes: Ints, seq_len: int) -> tuple[Ints, Ints, Ints]:
    """The item, offset and length of each piece: one for most documents, none for an empty one."""
    count = -(-sizes // seq_len)
    item = np.repeat(np.arange(len(sizes)), count)
    offset = (np.arange(len(item)) - np.repeat(np.cumsum(count) - count, count)) * seq_len
    return item, offset, np.minimum(sizes[item] - offset, seq_len)


def _in_rows(row_of: Ints, item: Ints, offset: Ints, length: Ints) -> Packed:
    """The pieces, which come in the order of the corpus, sorted into their rows."""
    if not len(row_of):
        return Packed(np.zeros(1, np.int64), item, offset, length)
    _, first = np.unique(row_of, return_index=True)  # the first piece of each row
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    row_of = number[row_of]
    order = np.argsort(row_of, kind="stable")
    rows = np.concatenate(([0], np.cumsum(np.bincount(row_of))))
    return Packed(rows, item[order], offset[order], length[order])


def _best_rows(length: Ints, seq_len: int) -> Ints:
    """The row of each piece, in the order in which rows were opened."""
    longest_first = np.argsort(-length, kind="stable")
    row_of = np.empty(len(length), np.int64)
    placed = 0
    for rows, each, count in _strokes(length[longest_first], seq_len):
        row_of[longest_first[placed : placed + count]] = np.repeat(rows, each)[:count]
        placed += count
    return row_of


def _strokes(falling: Ints, seq_len: int) -> Iterator[tuple[Ints, int, int]]:
    """Rows, how many of the next pieces go into each but the last, and how many that are in all.

    The row with the least room that is enough is still that one after it took a piece, as long as it has room for
    another of the same length: so it takes as many as it can hold, and so does every row with just as much room.
    """
    free = _Free(seq_len)
    bounds = np.flatnonzero(np.diff(falling, prepend=-1, append=-1))
    for begin, end in pairwise(bounds.tolist()):
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
