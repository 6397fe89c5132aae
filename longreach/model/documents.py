"""Where the documents of a batch begin, read off the positions of its tokens.

A row holds documents one after the other; the positions restart at each. Every layer needs the bounds, so they are
found once a forward pass and kept until other positions come: on a GPU each reading waits for the device.
"""

import weakref
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import torch


@dataclass(frozen=True, eq=False)
class Documents:
    """The documents of a batch of `rows` x `length` tokens, row after row: document i is [bounds[i], bounds[i + 1])."""

    rows: int
    length: int
    device: torch.device
    bounds: tuple[int, ...]
    block_masks: dict[int | None, Any] = field(default_factory=dict)  # of flex attention, by sliding window

    @property
    def one_each(self) -> bool:
        """Whether every row is a single document."""
        return len(self.bounds) == self.rows + 1

    @cached_property
    def lengths(self) -> list[int]:
        """Tokens of each document."""
        return [stop - start for start, stop in pairwise(self.bounds)]

    @cached_property
    def cumulative(self) -> torch.Tensor:
        """The bounds as the int32 tensor that variable-length kernels take."""
        return torch.tensor(self.bounds, dtype=torch.int32, device=self.device)

    @cached_property
    def numbers(self) -> torch.Tensor:
        """[rows, length]: which document each token is of."""
        lengths = torch.tensor(self.lengths, device=self.device)
        return torch.repeat_interleave(lengths).view(self.rows, self.length)


class _Read(NamedTuple):
    """The positions last read, and what was found."""

    positions: weakref.ref[Any]
    version: int  # which an edit in place raises
    rows: int
    documents: Documents

    def of(self, positions: Any, rows: int) -> bool:
        return bool(self.version == positions._version) and self.rows == rows and self.positions() is positions


_last: _Read | None = None


def documents_of(positions: torch.Tensor, rows: int) -> Documents:
    """The documents by positions [rows or 1, length]: a new one begins wherever a position does not follow the last."""
    global _last
    if positions.is_inference():  # has no version
        return _read(positions, rows)
    last = _last
    if last is not None and last.of(positions, rows):
        return last.documents
    documents = _read(positions, rows)
    _last = _Read(weakref.ref(positions), positions._version, rows, documents)
    return documents


def _read(positions: torch.Tensor, rows: int) -> Documents:
    length = positions.shape[1]
    begins = torch.ones(rows, length, dtype=torch.bool, device=positions.device)
    begins[:, 1:] = positions[:, 1:] != positions[:, :-1] + 1
    starts: list[int] = begins.flatten().nonzero().flatten().tolist()
    return Documents(rows, length, positions.device, (*starts, rows * length))
