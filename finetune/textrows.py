"""Packed rows of `pretrain prepare` as a source of text, to mix pretraining data in; each row is one example."""

import numpy as np
from numpy.typing import NDArray

from finetune.item import Item
from longreach.rows.rows import Rows


class TextRows:
    """Rows without their padding; nothing in them is an answer."""

    def __init__(self, name: str, rows: Rows) -> None:
        self.name, self.vocab_size = name, rows.vocab_size
        self.lengths: NDArray[np.int64] = rows.filled
        self.answers = np.zeros(len(rows), np.int64)
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Item:
        row, filled = self._rows[place], self.lengths[place]
        return Item(row.tokens[:filled], row.lengths, np.zeros(filled, np.bool_))
