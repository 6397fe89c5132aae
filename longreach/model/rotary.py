"""Is the RoPE of a loaded model the one that its config says?

transformers ignores a config that is changed after the load, and a model that is cast with `.to(torch.bfloat16)` turns
by frequencies that are wrong at long range, both without a word. So every rotary module is held against the float64
definition: its frequencies and their type, and the cosines and sines that it really gives at the ends of the window.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import nn

from longreach.errors import UserError
from longreach.model.rope import Frequencies, frequencies
from longreach.model.ropeconfig import rotary_dim

CLOSE = 1e-6  # relative; float32 powers of a base of 5e5 are 4e-7 off
CURE = "load the model with its dtype, never cast it; set the RoPE before the load, never on model.config"


class Rotary(NamedTuple):
    """The frequencies of one layer type in one rotary module."""

    place: str
    module: nn.Module
    layer_type: str  # empty where one RoPE serves all layers
    inverse: torch.Tensor
    attention: float


def check_rope(model: Any) -> None:
    """UserError where a frequency in effect is not what the config says, or angles are not computed in float32."""
    found = list(rotaries(model))
    if not found:
        raise UserError(f"no rotary embedding was found in this {model.config.model_type} model")
    for rotary in found:
        nested = model.config.rope_parameters
        parameters = nested[rotary.layer_type] if rotary.layer_type else nested
        expected = frequencies(parameters, rotary_dim(model.config, parameters))
        _check_frequencies(rotary, expected)
        _check_angles(rotary, expected, model.config.max_position_embeddings, model.dtype)


def rotaries(model: nn.Module) -> Iterator[Rotary]:
    """Every set of frequencies in the model, also several in one module."""
    for place, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name.endswith("inv_freq") and not name.endswith("original_inv_freq"):
                prefix = name.removesuffix("inv_freq")
                attention = float(getattr(module, f"{prefix}attention_scaling", 1.0))
                yield Rotary(f"{place}.{name}", module, prefix.rstrip("_"), buffer, attention)


def _check_frequencies(rotary: Rotary, expected: Frequencies) -> None:
    wanted = torch.tensor(expected.inverse, dtype=torch.float64)
    if rotary.inverse.dtype != torch.float32:
        raise UserError(f"{rotary.place} is {rotary.inverse.dtype}: angles would be wrong at long range", CURE)
    if rotary.inverse.is_meta:
        raise UserError(f"{rotary.place} was never computed", CURE)
    if rotary.inverse.shape != wanted.shape:
        raise UserError(f"{rotary.place} has {rotary.inverse.numel()} frequencies, the config says {wanted.numel()}")
    error = float(((rotary.inverse.cpu().double() - wanted) / wanted).abs().max())
    if not error <= CLOSE:  # also where it is no number
        raise UserError(f"{rotary.place} is not the RoPE of the config: up to {error:.1%} off", CURE)
    if abs(rotary.attention - expected.attention) > CLOSE:
        raise UserError(f"{rotary.place} scales by {rotary.attention}, the config says {expected.attention}", CURE)


def _check_angles(rotary: Rotary, expected: Frequencies, length: int, dtype: torch.dtype) -> None:
    """What the module gives at a few positions, against float64."""
    positions = torch.tensor([[0, 1, length // 2, length - 1]], device=rotary.inverse.device)
    cosines, sines = emitted(rotary, positions, dtype)
    angles = positions[0, :, None].cpu() * torch.tensor(expected.inverse, dtype=torch.float64)
    doubt = angles * 2 * CLOSE + max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps) * expected.attention
    for name, given, wanted in (("cosines", cosines, angles.cos()), ("sines", sines, angles.sin())):
        if not any(_within(given, layout(wanted * expected.attention), layout(doubt)) for layout in LAYOUTS):
            raise UserError(f"the {name} of {rotary.place} are wrong at up to {length} tokens", CURE)


def emitted(rotary: Rotary, positions: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """The module's cosines and sines for queries of this type: [positions, pairs], or twice as wide."""
    queries = torch.zeros(*positions.shape, 1, dtype=dtype, device=positions.device)
    layer_type = {"layer_type": rotary.layer_type} if rotary.layer_type else {}
    given = rotary.module(queries, positions, **layer_type)
    if isinstance(given, torch.Tensor):  # complex numbers: Llama 4, DeepSeek
        given = given.real, given.imag
    return given[0][0], given[1][0]


# How families lay out their pairs: once, both halves one after the other, or each twice in a row
LAYOUTS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    lambda pairs: pairs,
    lambda pairs: torch.cat((pairs, pairs), dim=-1),
    lambda pairs: pairs.repeat_interleave(2, dim=-1),
)


def _within(given: torch.Tensor, wanted: torch.Tensor, doubt: torch.Tensor) -> bool:
    return given.shape == wanted.shape and bool(((given.cpu().double() - wanted).abs() <= doubt).all())
