"""The config of a model with another RoPE, made before the model is loaded: transformers ignores a later change.

Only a plain RoPE is changed, for then the result has one meaning. A config that nests its RoPE by layer type keeps that
of its sliding-window layers, which never look far. Everything else is refused by name and left as it was.
"""

import copy
import math
from collections.abc import Mapping
from typing import Any

from longreach.errors import UserError
from longreach.model.rope import BASES, FACTORS, NONE, XPOS_ABF, YARN, Rope, frequencies, rope_parameters
from longreach.model.xpos import XposLlamaConfig, xpos_config

EXTENDED, LOCAL = "full_attention", "sliding_attention"  # the layer types by which a config may nest its RoPE


def with_rope(config: Any, rope: Rope, seq_len: int) -> Any:
    """A copy of a transformers config with this RoPE and room for `seq_len`; UserError where that is not clear-cut."""
    before = extended_parameters(config)
    dim, length = rotary_dim(config, before), config.max_position_embeddings
    frequencies(before, dim)  # refuses what could not be checked after the load
    changed = copy.deepcopy(config)
    changed.max_position_embeddings = max(length, seq_len)
    if rope.method != NONE:
        _refuse_scaled(config, before, rope)
        kept = {name: value for name, value in before.items() if name != "type"}  # the old name of rope_type
        after = kept | rope_parameters(rope, dim, before["rope_theta"], length)
        changed.rope_parameters = config.rope_parameters | {EXTENDED: after} if _is_nested(config) else after
    if rope.method == YARN:  # a convention: transformers warns of any other length
        changed.max_position_embeddings = max(seq_len, math.ceil(rope.value * length))
    _refuse_unstable(changed, rope)
    return xpos_config(changed) if rope.method == XPOS_ABF else changed


def rope_notes(config: Any, rope: Rope, seq_len: int) -> list[str]:
    """What is odd but allowed about this RoPE on this (unchanged) config, one sentence each."""
    length, base = config.max_position_embeddings, extended_parameters(config)["rope_theta"]
    notes = []
    if rope.method == NONE and seq_len > length:
        notes.append(f"no RoPE change: at {seq_len} tokens the positions go past the {length} that this model has seen")
    if rope.method in FACTORS and rope.value * length < seq_len:
        notes.append(f"{rope} reaches {rope.value * length:g} tokens ({rope.value:g} x {length}), not {seq_len}")
    if rope.method in BASES and rope.value < base:
        notes.append(f"{rope} lowers the base, which was {base:g}")
    window = getattr(config, "sliding_window", None)
    if window and window < seq_len and set(getattr(config, "layer_types", None) or [LOCAL]) == {LOCAL}:
        notes.append(f"every layer attends to the last {window} tokens only: no RoPE lets it see further at once")
    return notes


def extended_parameters(config: Any) -> dict[str, Any]:
    """The flat rope_parameters of a config, or those of its full-attention layers where it nests them."""
    name = config.model_type
    if config.get_text_config() is not config:
        raise UserError(f"{name} models read more than text", "choose the text model alone")
    parameters = getattr(config, "rope_parameters", None)
    if not parameters or getattr(config, "alibi", False):
        raise UserError(
            f"{name} models have no RoPE that a config can change",
            "choose a model with rotary position embeddings, such as Llama, Mistral, Qwen or Gemma",
        )
    sizes = [getattr(config, size, None) for size in ("max_position_embeddings", "hidden_size")]
    if not all(sizes) or getattr(config, "is_heterogeneous", False):
        raise UserError(f"{name} models have no one length and head size that longreach could go by")
    if _is_nested(config):
        parameters = _of_far_layers(name, parameters)
    if not parameters.get("rope_theta"):
        raise UserError(f"this {name} config has no rope_theta, so its RoPE is unknown")
    return dict(parameters)


def rotary_dim(config: Any, parameters: Mapping[str, Any]) -> int:
    """How much of each head is rotated."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(head * parameters.get("partial_rotary_factor", 1.0))


def _is_nested(config: Any) -> bool:
    return any(isinstance(value, Mapping) for value in config.rope_parameters.values())


def _of_far_layers(name: str, nested: Mapping[str, Any]) -> Mapping[str, Any]:
    if nested.keys() - {EXTENDED, LOCAL} or not nested.get(EXTENDED):
        raise UserError(
            f"{name} models nest their RoPE by layer types that longreach does not know: {', '.join(sorted(nested))}"
        )
    far: Mapping[str, Any] = nested[EXTENDED]
    return far


def _refuse_scaled(config: Any, parameters: Mapping[str, Any], rope: Rope) -> None:
    """Only a plain RoPE has one meaning once it is changed."""
    name = config.model_type
    kind = "xPos" if name == XposLlamaConfig.model_type else parameters["rope_type"]
    if kind != "default":
        factor = f" by {parameters['factor']:g}" if parameters.get("factor") else ""
        raise UserError(
            f"this {name} model already has {kind} RoPE{factor}: {rope} on top of it could mean two things",
            "none keeps the RoPE that it has; or start from the model that it was made of",
        )
    unknown = parameters.keys() - {"rope_type", "type", "rope_theta", "partial_rotary_factor"}
    if unknown:
        raise UserError(f"this {name} model has RoPE settings unknown to longreach: {', '.join(sorted(unknown))}")


def _refuse_unstable(changed: Any, rope: Rope) -> None:
    """Some families take only their own kinds of RoPE, and say so only when the checkpoint is read again."""
    again = copy.deepcopy(changed)
    try:
        again.convert_rope_params_to_dict()
        again.validate_rope()
    except (ValueError, KeyError) as error:
        raise UserError(f"{changed.model_type} models take no {rope.method}: {error.args[0]}") from error
    if again.rope_parameters != changed.rope_parameters:
        raise UserError(f"{changed.model_type} models take no {rope.method}: their config turns it into another")
