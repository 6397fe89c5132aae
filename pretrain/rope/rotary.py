"""The rotary positions of a base model, read from its config.json alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longreach.errors import UserError
from longreach.model.rope import NONE, Frequencies, Rope, frequencies, inverse_frequencies

FAR_LAYERS = "full_attention"  # those that see the whole context, where a config nests its RoPE by layer type
USUAL_BASE = 10_000.0  # of the families below, whose config.json may leave it out, as Llama 2's did
USUAL_BASE_FAMILIES = frozenset({"llama", "mistral", "qwen2", "gemma", "gemma2", "gpt_neox", "phi", "phi3", "olmo"})


@dataclass(frozen=True)
class Rotary:
    """How a base model turns its heads: `parameters` in the words of transformers, `window` as it was trained."""

    name: str
    family: str
    dim: int
    window: int
    parameters: Mapping[str, Any]

    @property
    def base(self) -> float:
        """Its theta."""
        return float(self.parameters["rope_theta"])

    @property
    def scaling(self) -> str:
        """The kind of scaling that it has already; empty for a plain RoPE, the only one that can be changed."""
        kind = str(self.parameters["rope_type"])
        return "" if kind == "default" else kind

    def under(self, rope: Rope) -> Frequencies:
        """Its frequencies once `rope` is set."""
        if rope.method == NONE:
            return frequencies(self.parameters, self.dim)
        return inverse_frequencies(rope, self.dim, self.base, self.window)


def rotary_of(name: str, config: Mapping[str, Any]) -> Rotary:
    """What a config.json says, in the older words of transformers or the newer."""
    found, family = _parameters(config), str(config.get("model_type", ""))
    theta = found.get("rope_theta") or config.get("rope_theta") or config.get("rotary_emb_base")
    if not theta and family in USUAL_BASE_FAMILIES:
        theta = USUAL_BASE
    if not theta:
        raise UserError(
            f"{name} has no RoPE: its configuration gives no rope_theta",
            "choose a model with rotary position embeddings, such as Llama, Mistral, Qwen or Gemma",
        )
    window = _whole(config, "max_position_embeddings", name)
    parameters = {
        "original_max_position_embeddings": window,
        **found,
        "rope_type": found.get("rope_type") or found.get("type") or "default",
        "rope_theta": float(theta),
    }
    return _checked(Rotary(name, family, _rotated(name, config, found), window, parameters))


def _rotated(name: str, config: Mapping[str, Any], found: Mapping[str, Any]) -> int:
    """Elements of a head that are rotated."""
    part = found.get("partial_rotary_factor") or config.get("partial_rotary_factor") or config.get("rotary_pct") or 1.0
    if config.get("head_dim"):
        return int(_whole(config, "head_dim", name) * part)
    return int(_whole(config, "hidden_size", name) // _whole(config, "num_attention_heads", name) * part)


def _checked(rotary: Rotary) -> Rotary:
    """Whatever is missing or odd in the settings of a scaling shows here, not in the middle of the figures."""
    try:
        turned = rotary.under(Rope(NONE)).inverse
    except (KeyError, TypeError) as error:
        raise UserError(f"the {rotary.scaling} scaling of {rotary.name} is incomplete: {error}") from error
    if not turned:
        raise UserError(f"{rotary.name} rotates nothing of its heads")
    return rotary


def _parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Flat rope_parameters (or rope_scaling); of a config that nests them, those of the far layers."""
    found = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if any(isinstance(value, Mapping) for value in found.values()):
        found = found.get(FAR_LAYERS) or {}
    return dict(found)


def _whole(config: Mapping[str, Any], key: str, name: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value <= 0:
        raise UserError(f"the configuration of {name} gives no {key}", "is it a language model's config.json?")
    return value
