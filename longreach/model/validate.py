"""The loss on held-out rows by how much of its document stood before the token: what a longer context is worth.

Buckets are bounded by powers of two: 64 holds the tokens with at most 64 before them, 128 those with more, up to 128.
The rows are the same every time, spread evenly over each set where there are more than the run wants to read.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from longreach.model.batches import EMPTY, TrainRow, collate, micro_batches
from longreach.model.parallel.sequence import sharing
from longreach.model.parallel.share import own_part
from longreach.model.parts import part_figures, part_sums, shown_parts
from longreach.model.processes import most, summed, team

SMALLEST = 64


class HeldOut(Protocol):
    """A set of rows that are not trained on."""

    parts: tuple[str, ...]  # as those of Batches

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> TrainRow: ...


class Validation:
    """Measures the same rows of every set, `rows` of each at most (0: all).

    `lockstep`: all processes make the same number of passes.
    """

    def __init__(self, sets: Mapping[str, HeldOut], rows: int, micro_tokens: int, lockstep: bool = False) -> None:
        self._sets = {name: held_out for name, held_out in sets.items() if len(held_out)}
        self._rows, self._micro_tokens, self._lockstep = rows, micro_tokens, lockstep

    def describe(self) -> list[str]:
        """What is read of each set."""
        return [
            f"{name}: {len(self._places(held_out))} of {len(held_out)} held-out rows"
            for name, held_out in self._sets.items()
        ]

    def measure(self, model: nn.Module) -> dict[str, dict[str, Any]]:
        """For each set its loss, its weight and its loss by length; all processes share the work and get the result."""
        was_training = model.training
        model.eval()
        with torch.no_grad():
            found = {name: self._measure(model, held_out) for name, held_out in self._sets.items()}
        model.train(was_training)
        return found

    def _places(self, held_out: HeldOut) -> list[int]:
        wanted = min(self._rows or len(held_out), len(held_out))
        return [place * len(held_out) // wanted for place in range(wanted)]

    def _shares(self, held_out: HeldOut, device: torch.device) -> Iterator[Sequence[TrainRow]]:
        """The micro-batches of this team."""
        mine = [held_out[place] for place in self._places(held_out)[team().number :: team().count]]
        found = list(micro_batches(mine, self._micro_tokens)) if mine else []
        yield from found
        if self._lockstep:
            yield from repeat([EMPTY], most(len(found), device) - len(found))

    def _measure(self, model: nn.Module, held_out: HeldOut) -> dict[str, Any]:
        device = next(model.parameters()).device
        sums = np.zeros((2, len(EDGES)))
        of_parts = torch.zeros(2, len(held_out.parts), dtype=torch.float64, device=device)
        for rows in self._shares(held_out, device):
            batch, shared = own_part({name: tensor.to(device) for name, tensor in collate(rows).items()})
            parts = batch.pop("parts", None)
            with sharing(shared):
                losses = model(**batch, use_cache=False).token_losses
            if parts is not None:
                of_parts += part_sums(losses, batch["weights"], parts, len(held_out.parts))
            before = positions_of(batch["position_ids"], losses.shape[1])
            sums += by_length(*(each.cpu().numpy() for each in (losses, batch["weights"], before)))
        found = summed([*sums.flat, *of_parts.flatten().tolist()], device)
        losses, weights = np.reshape(found[: sums.size], sums.shape)
        told_apart = part_figures(held_out.parts, found[sums.size :])
        return {
            "loss": float(losses.sum() / weights.sum()),
            "tokens": float(weights.sum()),
            **({"parts": told_apart} if told_apart else {}),
            "by_length": {
                str(EDGES[place]): float(losses[place] / weights[place]) for place in np.flatnonzero(weights)
            },
        }


def positions_of(positions: torch.Tensor, tokens: int) -> torch.Tensor:
    """Those of all tokens of a part of rows, of which the last may be told only: its document goes on."""
    return torch.cat([positions, positions[:, -1:] + 1], 1)[:, :tokens]


EDGES = [SMALLEST * 2**power for power in range(24)]  # to half a billion tokens


def by_length(losses: NDArray[Any], weights: NDArray[Any], positions: NDArray[Any]) -> NDArray[np.float64]:
    """[2, len(EDGES)]: sums of weighted losses and of weights; a token's position is how many stand before it."""
    bucket = np.searchsorted(EDGES, positions.ravel())
    of_each = (np.asarray(losses, np.float64) * weights, np.asarray(weights, np.float64))
    return np.stack([np.bincount(bucket, values.ravel(), len(EDGES)) for values in of_each])


def validation_line(step: int, name: str, figures: Mapping[str, Any]) -> str:
    """The loss, its perplexity, the loss of each part and at each length."""
    lengths: Sequence[str] = [f"{length}: {loss:.4f}" for length, loss in figures["by_length"].items()]
    loss = figures["loss"]
    perplexity = math.exp(min(loss, 99))
    parts = f" | {shown_parts(figures['parts'])}" if "parts" in figures else ""
    by_length = f"by length {', '.join(lengths)}"
    return f"step {step} | {name} | loss {loss:.4f} | perplexity {perplexity:.2f}{parts} | {by_length}"
