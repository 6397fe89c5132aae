"""Rotary position embeddings: the methods that let a model read further, and what they mean in numbers.

`frequencies` is the one definition, in float64, of what a `rope_parameters` dict of transformers means. The config of a
model is changed in `longreach.model.ropeconfig`, the loaded model is held against this definition in
`longreach.model.rotary`. Nothing here imports more than the standard library: settings are read without torch.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from longreach.errors import UserError

ABF, PI, NTK, YARN, XPOS_ABF, NONE = "abf", "pi", "ntk", "yarn", "xpos-abf", "none"
BASES, FACTORS = (ABF, XPOS_ABF), (PI, NTK, YARN)  # what the value of a method is
EXAMPLES = "abf:500000, pi:8, ntk:8, yarn:8, xpos-abf:500000 or none"

YARN_FAST, YARN_SLOW = 32, 1  # turns within the old window above which a pair is kept, below which it is interpolated


@dataclass(frozen=True)
class Rope:
    """A method and its value: the new base of `abf` and `xpos-abf`, the factor of `pi`, `ntk` and `yarn`."""

    method: str
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.method not in (*BASES, *FACTORS, NONE):
            raise ValueError(f"no RoPE method {self.method!r}; choose {EXAMPLES}")
        if self.method == NONE and self.value:
            raise ValueError("none takes no value")
        if self.method in BASES and not 1 < self.value < math.inf:
            raise ValueError(f"the base of {self.method} must be over 1, not {self.value:g}")
        if self.method in FACTORS and not 1 <= self.value < math.inf:
            raise ValueError(f"the factor of {self.method} must be 1 or more, not {self.value:g}")

    def __str__(self) -> str:
        return NONE if self.method == NONE else f"{self.method}:{float(self.value)!r}".removesuffix(".0")


def parse_rope(text: str) -> Rope:
    """ "abf:500000" -> Rope("abf", 500000.0); ValueError where it is wrong."""
    method, colon, value = text.strip().lower().partition(":")
    if not colon:
        if method in (*BASES, *FACTORS):
            raise ValueError(f"{method} needs a value; choose {EXAMPLES}")
        return Rope(method)
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{value!r} is no number; choose {EXAMPLES}") from None
    return Rope(method, number)


# What a RoPE means


class Frequencies(NamedTuple):
    """Radians per position of each rotated pair, and the factor on its cosines and sines."""

    inverse: tuple[float, ...]
    attention: float = 1.0


def inverse_frequencies(rope: Rope, rotary_dim: int, base: float, original_length: int) -> Frequencies:
    """What `rope` makes of a model whose base is `base` and which was trained at `original_length`."""
    return frequencies(rope_parameters(rope, rotary_dim, base, original_length), rotary_dim)


def rope_parameters(rope: Rope, rotary_dim: int, base: float, original_length: int) -> dict[str, Any]:
    """The same in the words of transformers (and vLLM)."""
    if rope.method == PI:
        return {"rope_type": "linear", "rope_theta": base, "factor": rope.value}
    if rope.method == YARN:
        return {
            "rope_type": "yarn",
            "rope_theta": base,
            "factor": rope.value,
            "original_max_position_embeddings": original_length,
        }
    if rope.method == NTK:
        base *= rope.value ** (rotary_dim / (rotary_dim - 2))
    elif rope.method in BASES:
        base = rope.value
    return {"rope_type": "default", "rope_theta": float(base)}


def frequencies(parameters: Mapping[str, Any], rotary_dim: int) -> Frequencies:
    """What flat `rope_parameters` mean; UserError for a type that depends on the batch, or that is not known here."""
    plain = [parameters["rope_theta"] ** (-pair / rotary_dim) for pair in range(0, rotary_dim, 2)]
    kind = parameters["rope_type"]
    if kind == "default":
        return Frequencies(tuple(plain))
    if kind == "linear":
        return Frequencies(tuple(frequency / parameters["factor"] for frequency in plain))
    if kind == "yarn":
        return Frequencies(_yarn(plain, parameters, rotary_dim), _yarn_attention(parameters))
    if kind == "llama3":
        return Frequencies(tuple(_llama3(frequency, parameters) for frequency in plain))
    if kind in ("dynamic", "longrope"):
        raise UserError(
            f"this model has {kind} RoPE, whose frequencies change with the longest row of each batch",
            "choose a base model without it: packed rows have no one length to go by",
        )
    raise UserError(f"this model has RoPE of the type {kind!r}, which longreach does not know")


def _yarn(plain: list[float], parameters: Mapping[str, Any], rotary_dim: int) -> tuple[float, ...]:
    """Fast pairs as they were, slow pairs divided by the factor, a linear ramp over the pairs between."""

    def pair_that_turns(turns: float) -> float:
        wavelength = parameters["original_max_position_embeddings"] / turns
        return rotary_dim * math.log(wavelength / (2 * math.pi)) / (2 * math.log(parameters["rope_theta"]))

    first = pair_that_turns(parameters.get("beta_fast") or YARN_FAST)
    last = pair_that_turns(parameters.get("beta_slow") or YARN_SLOW)
    if parameters.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotary_dim - 1)
    width = last - first or 0.001
    slowness = (min(max((pair - first) / width, 0.0), 1.0) for pair in range(len(plain)))
    return tuple(
        frequency * (1 - slow + slow / parameters["factor"]) for frequency, slow in zip(plain, slowness, strict=True)
    )


def _yarn_attention(parameters: Mapping[str, Any]) -> float:
    def scale(weight: float) -> float:
        return 0.1 * weight * math.log(parameters["factor"]) + 1.0

    if parameters.get("attention_factor") is not None:
        return float(parameters["attention_factor"])
    if parameters.get("mscale") and parameters.get("mscale_all_dim"):
        return scale(parameters["mscale"]) / scale(parameters["mscale_all_dim"])
    return scale(1.0)


def _llama3(frequency: float, parameters: Mapping[str, Any]) -> float:
    """Llama 3.1: pairs that turn often within the old window are kept, those that turn seldom are interpolated."""
    low, high = parameters["low_freq_factor"], parameters["high_freq_factor"]
    turns = parameters["original_max_position_embeddings"] * frequency / (2 * math.pi)
    kept = min(max((turns - low) / (high - low), 0.0), 1.0)
    return float(frequency * (kept + (1 - kept) / parameters["factor"]))
