"""LoRA for long contexts: every linear layer gets an adapter, embeddings and norms are trained whole.

Without the last two a LoRA hardly learns positions past the old window (LongLoRA). They cost a second copy of the
embedding. An adapter is only right on a base with the RoPE it was trained with, which peft does not look at: here the
adapter's `longreach.json` carries it, and a base with another one is refused.
"""

from pathlib import Path
from typing import Any

from longreach.errors import UserError, missing_extra
from longreach.model.checkpoint import PROVENANCE, read_provenance
from longreach.model.load import UNREADABLE, load_model, own_tokenizer
from longreach.model.rope import Rope, parse_rope
from longreach.model.rotary import check_rope

try:
    from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, load_peft_weights
    from transformers import GenerationConfig
    from transformers.utils import GENERATION_CONFIG_NAME
except ModuleNotFoundError as error:
    if error.name != "peft":
        raise
    raise missing_extra("peft", "LoRA training", "train") from error


def add_lora(model: Any, rank: int, alpha: float | None = None) -> Any:
    """The model with adapters of this rank; `alpha` is their weight, twice the rank where it is not given."""
    settings = LoraConfig(
        task_type="CAUSAL_LM",
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        target_modules="all-linear",
        modules_to_save=trained_whole(model),
        ensure_weight_tying=bool(model.config.tie_word_embeddings),
    )
    return get_peft_model(model, settings)


def trained_whole(model: Any) -> list[str]:
    """The names of the input embedding and of every norm."""
    embedding = model.get_input_embeddings()
    names = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if module is embedding or "Norm" in type(module).__name__
    }
    return sorted(names)


def load_adapter(adapter: Path, base: str = "", *, dtype: str, attention: str) -> tuple[Any, Any]:
    """The adapter on its base (the one it was trained on where none is given), and the tokenizer.

    Tokenizer, chat template and the tokens that end an answer are the adapter's where its folder has them.
    """
    trained_on, rope, seq_len = _origin(adapter)
    base = base or trained_on
    model, tokenizer = load_model(base, rope, seq_len, dtype=dtype, attention=attention)
    wanted, found = read_provenance(adapter)["rope_parameters"], model.config.rope_parameters
    if found != wanted:
        raise UserError(
            f"{adapter} was trained with the RoPE {wanted}, {base} comes to {found}",
            f"give the base that it was trained on: {trained_on}",
        )
    if (adapter / GENERATION_CONFIG_NAME).is_file():
        model.generation_config = GenerationConfig.from_pretrained(str(adapter))
    return _put_on(model, adapter, base), own_tokenizer(str(adapter)) or tokenizer


def _origin(adapter: Path) -> tuple[str, Rope, int]:
    """The base of an adapter, and how its RoPE was changed."""
    provenance = read_provenance(adapter)
    if not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter} is no LoRA adapter: it has no adapter_config.json")
    if not provenance.keys() >= {"rope", "seq_len"}:
        raise UserError(f"{adapter / PROVENANCE} does not say how the RoPE was changed", "was this file edited?")
    base = str(LoraConfig.from_pretrained(str(adapter)).base_model_name_or_path)
    return base, parse_rope(provenance["rope"]), provenance["seq_len"]


def _put_on(model: Any, adapter: Path, base: str) -> Any:
    """peft passes over weights for layers that the base lacks: every one must find its place."""
    try:
        adapted = PeftModel.from_pretrained(model, str(adapter))
        given = load_peft_weights(str(adapter), device="cpu").keys()
    except (RuntimeError, *UNREADABLE) as error:  # other shapes, other layers, a damaged file
        raise UserError(f"{adapter} does not fit {base}: {str(error).strip().splitlines()[0]}") from error
    odd = sorted(given ^ get_peft_model_state_dict(adapted).keys())
    if odd:
        raise UserError(f"{adapter} does not fit {base}: {len(odd)} weights are not in both, {odd[0]} among them")
    return adapted


def merge(adapter: Path, base: str = "", *, dtype: str) -> tuple[Any, Any]:
    """A model of its own that computes what the adapter on its base does, and the tokenizer."""
    model, tokenizer = load_adapter(adapter, base, dtype=dtype, attention="sdpa")
    merged = model.merge_and_unload(safe_merge=True)
    check_rope(merged)
    return merged, tokenizer
