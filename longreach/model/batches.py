"""Rows become what one process reads in one optimizer step.

A step is a fixed list of rows, whatever the number of processes: team r of n (a process, or those that share rows)
takes every n-th of them from r on. So the position in training is one integer, no sampler has a state, and a run goes
on at the very next row with another number of processes. Within a team the rows are cut into micro-batches by tokens.
How they are cut changes nothing but memory and speed, since losses are sums over the weight of the whole step.

The tokens of a step are read at once: some 20 bytes each, shared out over the processes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from longreach.errors import UserError
from longreach.rows.order import RowOrder
from longreach.rows.rows import Row

LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class TrainRow:
    """A row and the weight of predicting each of its tokens from those before it in its document.

    `lengths` are the documents in the row, which do not see each other; what follows the last of them is padding.
    `parts` says by which part of the training a token is reported: 0 by none, k by the k-th name of the batches.
    """

    tokens: NDArray[Any]
    lengths: NDArray[np.int32]
    weights: NDArray[np.float32]
    parts: NDArray[np.uint8] | None = None


class Batches(Protocol):
    """What training reads: the rows of every step of a stage, counted from 0."""

    seq_len: int  # no row is longer
    vocab_size: int  # no token is as large
    rows_per_step: int  # 0 where it differs from step to step
    parts: tuple[str, ...]  # whose losses are told apart; () where no row says

    def plan(self, step: int) -> Sequence[Any]:
        """What the rows of a step are, in order: cheap, every process asks for all of them."""

    def row(self, item: Any) -> TrainRow:
        """One of them."""

    def position(self, step: int) -> int:
        """How many rows (or examples) were trained on before this step."""


class PackedRows(Protocol):
    """longreach.rows.rows.Rows, or a view of them in shorter rows."""

    seq_len: int
    vocab_size: int

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Row: ...


class Packed:
    """Packed rows as they are trained on: on all of their tokens, documents apart unless told otherwise."""

    parts: tuple[str, ...] = ()

    def __init__(self, rows: PackedRows, *, attend_across_documents: bool = False) -> None:
        self.seq_len, self.vocab_size = rows.seq_len, rows.vocab_size
        self._rows, self._across = rows, attend_across_documents

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> TrainRow:
        return packed_row(self._rows[place], self._across)


def rows_of(batch_tokens: int, seq_len: int) -> int:
    """As many as hold a batch; UserError where that is no whole number."""
    rows, rest = divmod(batch_tokens, seq_len)
    if rest or not rows:
        fitting = max(1, round(batch_tokens / seq_len)) * seq_len
        raise UserError(
            f"a batch of {batch_tokens} tokens is no whole number of rows of {seq_len}", f"give it {fitting} tokens"
        )
    return rows


class PackedBatches:
    """Packed rows in the order of a seed, as many in each step as hold `batch_tokens`."""

    parts: tuple[str, ...] = ()

    def __init__(self, rows: Packed, batch_tokens: int, seed: int) -> None:
        self.seq_len, self.vocab_size = rows.seq_len, rows.vocab_size
        self.rows_per_step = rows_of(batch_tokens, rows.seq_len)
        self._rows, self._order = rows, RowOrder(len(rows), seed)

    def plan(self, step: int) -> Sequence[int]:
        """The numbers of the rows."""
        first = self.position(step)
        return [int(row) for row in self._order.take(np.arange(first, first + self.rows_per_step))]

    def row(self, item: int) -> TrainRow:
        """One row."""
        return self._rows[item]

    def position(self, step: int) -> int:
        """The position of the step's first row in the order of all epochs."""
        return step * self.rows_per_step


def packed_row(row: Row, attend_across_documents: bool) -> TrainRow:
    """Every token counts but the first of each document, which nothing precedes, and padding."""
    total = row.lengths.sum(dtype=np.int32)
    lengths = total[None] if attend_across_documents and total else row.lengths
    weights = np.zeros(len(row.tokens), np.float32)
    weights[:total] = 1
    weights[np.cumsum(lengths) - lengths] = 0
    return TrainRow(row.tokens, lengths, weights)


def called(item: Any) -> str:
    """What a row is, for a message: one may be made of hundreds of examples."""
    name = str(item)
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."


EMPTY = TrainRow(np.zeros(2, np.int64), np.array([2], np.int32), np.zeros(2, np.float32))


@dataclass(frozen=True, slots=True)
class StepBatch:
    """What one team reads in one step."""

    micro: list[dict[str, torch.Tensor]]
    weight: float  # of all its tokens
    lengths: list[int]  # of all its documents


def step_batch(batches: Batches, step: int, team: int, teams: int, micro_tokens: int) -> StepBatch:
    """The share of team number `team` of `teams`; a row without weight where there are more teams than rows."""
    rows = [batches.row(item) for item in batches.plan(step)[team::teams]]
    return StepBatch(
        [collate(part) for part in micro_batches(rows or [EMPTY], micro_tokens)],
        float(sum(row.weights.sum(dtype=np.float64) for row in rows)),
        [int(length) for row in rows for length in row.lengths],
    )


def micro_batches(rows: Sequence[TrainRow], tokens: int) -> Iterator[Sequence[TrainRow]]:
    """Neighbouring rows that hold at most `tokens`; at least one row each."""
    start, held = 0, 0
    for place, row in enumerate(rows):
        held += len(row.tokens)
        if place > start and held > tokens:
            yield rows[start:place]
            start, held = place, len(row.tokens)
    yield rows[start:]


def collate(rows: Sequence[TrainRow]) -> dict[str, torch.Tensor]:
    """Rows of one length side by side, others end to end as one row: nothing is padded.

    Positions restart at every document, at the padding that a row has of its own, and so at every row, which keeps them
    apart in either case. "parts" is there only where a row has them, and is not for the model.
    """
    columns: dict[str, list[NDArray[Any]]] = {
        "input_ids": [row.tokens.astype(np.int64) for row in rows],
        "position_ids": [restarting(row.lengths, len(row.tokens)) for row in rows],
        "weights": [row.weights for row in rows],
    }
    if any(row.parts is not None for row in rows):
        nothing = [np.zeros(len(row.tokens), np.uint8) for row in rows]
        columns["parts"] = [none if row.parts is None else row.parts for row, none in zip(rows, nothing, strict=True)]
    alike = len({len(row.tokens) for row in rows}) == 1
    return {
        name: torch.from_numpy(np.stack(each) if alike else np.concatenate(each)[None])
        for name, each in columns.items()
    }


def restarting(lengths: NDArray[np.int32], width: int) -> NDArray[np.int64]:
    """0, 1, 2, ... anew for every document and for the padding after them."""
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    since: NDArray[np.int64] = np.repeat(starts, np.diff(np.append(starts, width)))
    return np.arange(width, dtype=np.int64) - since
