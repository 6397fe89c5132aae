"""In which order training sees the rows: a function of the seed and the position, and of nothing else.

Every epoch is its own permutation of all rows, so the position in training is one integer, whatever the world size,
and going on at it needs no state. The permutation is a Feistel network keyed by seed and epoch, on the smallest even
number of bits that holds the rows; where it leads outside of them it is applied again, which at most four times as many
numbers as rows keep short. It costs no memory, and its arithmetic is spelled out here, since numpy's generators may
change their streams between versions.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDS = 6  # four are enough for a good shuffle, two more cost little
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: far apart for neighbouring seeds
Word = Any  # an int or an array of uint64: the same arithmetic for one number and for many


class RowOrder:
    """`order[position]` is the row at any position of training from 0 on; `take` is that for many at once."""

    def __init__(self, rows: int, seed: int) -> None:
        if rows < 1:
            raise ValueError(f"no order of {rows} rows")
        self.rows = rows
        self.seed = seed
        self._half = (((rows - 1).bit_length() + 1) // 2) or 1  # bits of each half of a number

    def __getitem__(self, position: int) -> int:
        if position < 0:
            raise IndexError(f"no position {position}")
        epoch, place = divmod(position, self.rows)
        key = _mixed(_mixed(self.seed & _MASK) ^ epoch)
        place = self._permuted(place, key)
        while place >= self.rows:
            place = self._permuted(place, key)
        return int(place)

    def take(self, positions: ArrayLike) -> NDArray[np.int64]:
        """The rows at many positions."""
        epochs, places = np.divmod(np.asarray(positions, np.uint64), np.uint64(self.rows))
        keys = _mixed(_mixed(self.seed & _MASK) ^ epochs)
        places = self._permuted(places, keys)
        outside = np.flatnonzero(places >= self.rows)
        while len(outside):
            places[outside] = self._permuted(places[outside], keys[outside])
            outside = outside[places[outside] >= self.rows]
        rows: NDArray[np.int64] = places.astype(np.int64)
        return rows

    def _permuted(self, place: Word, key: Word) -> Word:
        """A keyed permutation of the numbers of twice `_half` bits."""
        low = (1 << self._half) - 1
        left, right = place >> self._half, place & low
        for own in _OF_ROUND:
            left, right = right, left ^ (_mixed(key ^ own ^ right) & low)
        return left << self._half | right


def _mixed(word: Word) -> Word:
    """A number of 64 bits whose every bit depends on every bit of this one (the finisher of splitmix64)."""
    word = (word + _GOLDEN) & _MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _MASK
    return word ^ (word >> 31)


_OF_ROUND = tuple(_mixed(number) for number in range(ROUNDS))
