"""The losses of the parts of what is trained on, told apart: of long answers, of their prompts, of plain text.

What is told of a part is the mean cross entropy of its tokens that count at all, whatever their weight: parts that are
trained on with different weights can be compared, and a prompt at a fifth of the weight of an answer is no fifth as
hard. Only sums are made on the device, so that nothing waits for it; tokens of no weight are in no part.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def part_sums(losses: torch.Tensor, weights: torch.Tensor, parts: torch.Tensor, count: int) -> torch.Tensor:
    """[2, count] in float64: the sum of cross entropies and the number of tokens of each part."""
    each = [(parts == part) & (weights != 0) for part in range(1, count + 1)]
    sums = [torch.where(chosen, losses, 0).sum(dtype=torch.float64) for chosen in each]
    return torch.stack([torch.stack(sums), torch.stack([chosen.sum(dtype=torch.float64) for chosen in each])])


def part_figures(names: Sequence[str], sums: Sequence[float]) -> dict[str, dict[str, Any]]:
    """What `part_sums` found, flat, by name; a part without a token is left out."""
    losses, tokens = sums[: len(names)], sums[len(names) :]
    return {
        name: {"loss": loss / number, "tokens": int(number)}
        for name, loss, number in zip(names, losses, tokens, strict=True)
        if number
    }


def shown_parts(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """ "long answer 1.2345, long prompt 2.3456"."""
    return ", ".join(f"{name} {part['loss']:.4f}" for name, part in figures.items())
