"""The tokens that stand around a text: which of a vocabulary begin and end a document, and fill up a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import tokenizers

from longreach.errors import UserError

CONFIG = "tokenizer_config.json"
USUAL = {  # names that published models use, looked for where no configuration says
    "bos": ("<s>", "<|begin_of_text|>", "<bos>", "<|begin▁of▁sentence|>", "<|startoftext|>"),
    "eos": ("</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>", "<|end▁of▁sentence|>"),
    "pad": ("<pad>", "<|finetune_right_pad_id|>", "<|pad|>", "[PAD]", "<|▁pad▁|>"),
}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids, or None for what a tokenizer does not have."""

    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    adds_bos: bool  # the model was trained on texts that begin with it


def special_tokens(backend: tokenizers.Tokenizer, config: Mapping[str, Any]) -> SpecialTokens:
    """What tokenizer_config.json says; where it is silent, the usual names and what the tokenizer does by itself."""
    bos, eos, pad = (_id(backend, config, role) for role in ("bos", "eos", "pad"))
    adds_bos = config.get("add_bos_token")
    if not isinstance(adds_bos, bool):
        adds_bos = backend.encode("a").ids[:1] == [bos]
    return SpecialTokens(bos, eos, pad, adds_bos and bos is not None)


def _id(backend: tokenizers.Tokenizer, config: Mapping[str, Any], role: str) -> int | None:
    if f"{role}_token" in config:
        named = config[f"{role}_token"]
        named = named.get("content") if isinstance(named, dict) else named
        return backend.token_to_id(named) if isinstance(named, str) else None
    found = (backend.token_to_id(name) for name in USUAL[role])
    return next((number for number in found if number is not None), None)


def read_config(path: Path) -> dict[str, Any]:
    """The tokenizer_config.json of a folder; empty where there is none."""
    try:
        config = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}", "save the tokenizer again") from error
    return config if isinstance(config, dict) else {}


def hub_config(name: str) -> dict[str, Any]:
    """The tokenizer_config.json of a hub id; empty where there is none."""
    from huggingface_hub import hf_hub_download  # a quarter of a second, which a folder does not need
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return read_config(Path(hf_hub_download(name, CONFIG)))
    except EntryNotFoundError:
        return {}
    except OSError as error:
        raise UserError(
            f"cannot get {CONFIG} of {name}: {error}", "try again, or give a folder that holds it"
        ) from error
