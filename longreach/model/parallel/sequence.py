"""Several processes to a row: each holds a part of its tokens, and for attention the whole row for a part of the heads.

This is Ulysses (arXiv:2309.14509): before attention the processes of a row exchange tokens for heads, after it heads
for tokens. The attention in between is the one of a single process, documents apart; all else sees its own tokens. The
loss is a sum over tokens, so that gradients added up over all processes are those of whole rows, with every engine.
DeepSpeed has an implementation of its own, which trains with other gradients (docs/parallel.md).

Keys and values of fewer heads than processes are repeated, as often as it takes for each process to have one.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed
from torch.nn.functional import pad

SHORTEST = 2  # tokens of a part: attention takes a single one for an answer under way


@dataclass(frozen=True, eq=False)
class SharedRows:
    """The rows of a micro-batch that the processes of `group` share; `positions` [B, T] are of all their tokens."""

    group: Any
    degree: int
    positions: torch.Tensor

    def heads(self, *tensors: torch.Tensor) -> list[torch.Tensor]:
        """[B, H, T / degree, D] of all heads -> [B, H / degree, T, D] of some."""
        return [self._tokens_together(each) for each in tensors]

    def _tokens_together(self, tensor: torch.Tensor) -> torch.Tensor:
        times = self.degree // math.gcd(self.degree, tensor.shape[1])
        if times > 1:
            tensor = tensor.repeat_interleave(times, 1)
        parts = tensor.unflatten(1, (self.degree, -1)).movedim(1, 0)
        received: torch.Tensor = _Exchange.apply(parts, self.group)  # [degree, B, heads, tokens, D]
        return received.movedim(0, 2).flatten(2, 3)

    def tokens(self, attended: torch.Tensor) -> torch.Tensor:
        """[B, T, H / degree, D] -> [B, T / degree, H, D]."""
        parts = attended.unflatten(1, (self.degree, -1)).movedim(1, 0)
        received: torch.Tensor = _Exchange.apply(parts, self.group)  # [degree, B, tokens, heads, D]
        return received.movedim(0, 2).flatten(2, 3)


class _Exchange(torch.autograd.Function):  # type: ignore[misc]
    """Part i goes to process i, whose part for this one comes in its place; the same once more is the way back."""

    @staticmethod
    def forward(ctx: Any, parts: torch.Tensor, group: Any) -> torch.Tensor:
        ctx.group = group
        parts = parts.contiguous()
        received = torch.empty_like(parts)
        distributed.all_to_all_single(received, parts, group=group)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Exchange.apply(gradient, ctx.group), None


_shared: SharedRows | None = None


def shared_rows() -> SharedRows | None:
    """Of the passes under way; None where every process has rows of its own. The same in autograd's threads."""
    return _shared


@contextmanager
def sharing(rows: SharedRows | None) -> Iterator[None]:
    """Passes forward and backward in here are of these rows."""
    global _shared
    before, _shared = _shared, rows
    try:
        yield
    finally:
        _shared = before


def part_of(batch: Mapping[str, torch.Tensor], place: int, degree: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What process `place` of `degree` is given of a micro-batch, and the positions of all of its tokens.

    Rows are filled up to a multiple of `degree` by a document of no weight. All but the positions have one token more
    than the part, the first of the next: the loss of it is told by the last of this one.
    """
    width = batch["input_ids"].shape[1]
    own = max(SHORTEST, -(-width // degree))
    more = own * degree - width
    filled = {name: pad(each, (0, more + (name != "position_ids"))) for name, each in batch.items()}
    positions = filled["position_ids"]
    positions[:, width:] = torch.arange(more, device=positions.device)
    begin, end = place * own, (place + 1) * own
    part = {name: each[:, begin : end + (name != "position_ids")].contiguous() for name, each in filled.items()}
    part["weights"][:, 0] = 0
    return part, positions
