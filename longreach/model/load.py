"""A model with the RoPE that was asked for, from a checkpoint or from nothing.

The RoPE is set in the config before the load and asserted on the loaded model. Weights are read from safetensors only,
and every one must be there: transformers fills a gap with noise and goes on. Code that comes with a model is never run.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longreach.errors import UserError, missing_extra, unloadable
from longreach.model.rope import Rope

try:
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from longreach.model.fourbit import four_bits, keep_learning
    from longreach.model.ropeconfig import rope_notes, with_rope
    from longreach.model.rotary import check_rope
    from longreach.text.autotokenizer import auto_tokenizer
except ModuleNotFoundError as error:
    if error.name not in ("torch", "transformers"):
        raise
    raise missing_extra(error.name, "training", "train") from error

logger = logging.getLogger(__name__)

UNREADABLE = (OSError, ValueError, KeyError, SafetensorError, StrictDataclassError)  # what a damaged model raises
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def load_model(
    base: str, rope: Rope, seq_len: int, *, dtype: str, attention: str, four_bit: bool = False
) -> tuple[Any, Any]:
    """The model of a folder or hub id and its tokenizer (None where it has none), ready for rows of `seq_len`.

    With `four_bit`, its linear layers are frozen and in 4 bits, the rest in `dtype`, and all of it on the GPU, if any.
    """
    quantization = {"quantization_config": four_bits()} if four_bit else {}
    if Path(base).exists():
        _check_folder(Path(base))
    config = with_rope_said(read_config(base), rope, seq_len)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            base,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            **quantization,
        )
    except UNREADABLE as error:
        raise unloadable(base, why(error)) from error
    _check_weights(base, report)
    check_rope(model)
    _check_generation(base, model)
    if four_bit:
        keep_learning(model)
    return model, own_tokenizer(base)


def new_model(
    name: str,
    rope: Rope,
    seq_len: int,
    seed: int,
    dtype: str,
    attention: str = "sdpa",
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """A model of random weights from a config.json, or from what one says; equal arguments give equal weights."""
    config = with_rope_said(new_config(settings) if settings else read_config(name), rope, seq_len)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
        except ValueError as error:
            raise unloadable(name, why(error)) from error
    check_rope(model)
    return model


def with_rope_said(config: Any, rope: Rope, seq_len: int) -> Any:
    """`with_rope`, with what is odd about it in the log."""
    changed = with_rope(config, rope, seq_len)
    for note in rope_notes(config, rope, seq_len):
        logger.warning(note)
    return changed


def read_config(model: str) -> Any:
    """The config of a folder, a hub id or a JSON file."""
    _check_adapter(Path(model))
    try:
        return AutoConfig.from_pretrained(model, trust_remote_code=False)
    except UNREADABLE as error:
        raise unloadable(model, why(error)) from error


def new_config(settings: Mapping[str, Any]) -> Any:
    """The config that a config.json says."""
    try:
        return AutoConfig.for_model(**settings)
    except (ValueError, TypeError) as error:
        raise UserError(f"these are no settings of a model: {error}", "a config.json has a model_type") from error


def why(error: Exception) -> str:
    """The first line of an error that may have many, or none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_adapter(folder: Path) -> None:
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{folder} is a LoRA adapter, not a model",
            f"name its base model, or merge the two: finetune merge --adapter {folder} --out ...",
        )


def _check_folder(folder: Path) -> None:
    """What can be said about a folder before its weights are read."""
    if not folder.is_dir():
        raise UserError(f"{folder} is a file, not the folder of a model")
    _check_adapter(folder)
    if not (folder / "config.json").exists():
        raise UserError(f"{folder} is no model: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        old = sorted(path.name for pattern in ("*.bin", "*.pth", "*.pt") for path in folder.glob(pattern))
        found = f"only {', '.join(old)}, which can run code when they are read" if old else "no weights at all"
        raise UserError(
            f"{folder} has no safetensors: {found}",
            "convert it where you trust it: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)",
        )


def _check_weights(base: str, report: dict[str, Any]) -> None:
    """What transformers would fill with noise is refused, what it would leave out is said."""
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"{base} lacks {len(missing)} weights of its model: {_few(missing)}",
            "is it a model without its head, or a download that broke off?",
        )
    if other := sorted(name for name, *_ in report["mismatched_keys"]):
        raise UserError(f"{base} holds weights of another shape than its config.json says: {_few(other)}")
    if unread := sorted(report["unexpected_keys"]):
        logger.warning("%s holds %d weights that its model does not use: %s", base, len(unread), _few(unread))


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + ", ..." * (len(names) > 3)


def _check_generation(base: str, model: Any) -> None:
    """transformers loads a generation_config.json that contradicts itself, but would refuse to save it."""
    own = model.generation_config
    try:
        own.validate(strict=True)
    except ValueError as error:
        special = {name: value for name, value in own.to_dict().items() if name.endswith("_token_id")}
        model.generation_config = GenerationConfig(**special)
        logger.warning("the generation_config.json of %s is not kept but for its special tokens: %s", base, error)


def own_tokenizer(base: str) -> Any:
    """The tokenizer of a folder or hub id; None where a folder has none."""
    if Path(base).exists() and not any((Path(base) / name).exists() for name in TOKENIZER_FILES):
        return None
    try:
        return auto_tokenizer(base)
    except UNREADABLE as error:
        raise unloadable(base, why(error)) from error
