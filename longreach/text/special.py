"""The tokens that stand around a text, and how they are kept out of it.

Which ids begin and end a document and fill up a row is said by tokenizer_config.json, else by their usual names. In a
text those names are text. Most tokenizers can be told so; some have the names among their words all the same, Unigram
models always: there the words get names that no document has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import tokenizers

from longreach.errors import UserError

CONFIG = "tokenizer_config.json"
USUAL = {  # names that published models use
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
    adds_bos: bool  # its models were trained on texts that begin with it


def special_tokens(backend: tokenizers.Tokenizer, config: Mapping[str, Any]) -> SpecialTokens:
    """What the configuration says; where it is silent, the usual names, and what the tokenizer does by itself."""
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


def kept_out(backend: tokenizers.Tokenizer, special: SpecialTokens) -> tokenizers.Tokenizer:
    """The tokenizer for texts alone: nothing that is written in one becomes a special token, called so or used so."""
    backend.encode_special_tokens = True
    used = {special.bos_id, special.eos_id, special.pad_id}
    leaking = {
        token.content
        for number, token in backend.get_added_tokens_decoder().items()
        if (token.special or number in used) and number in _ids_of_name(backend, token.content)
    }
    if not leaking:
        return backend
    twin = tokenizers.Tokenizer.from_str(renamed(orjson.loads(backend.to_str()), leaking))
    twin.encode_special_tokens = True
    return twin


def _ids_of_name(backend: tokenizers.Tokenizer, name: str) -> list[int]:
    """What a tokenizer makes of the name in several places of a text."""
    ids: list[int] = backend.encode(f"{name} a{name}b {name}", add_special_tokens=False).ids
    return ids


def renamed(content: dict[str, Any], leaking: set[str]) -> str:
    """Its JSON with other names for these words, but for the word that stands for all unknown ones."""
    model = content["model"]
    unknown = model.get("unk_token")
    if model["type"] == "Unigram":
        unknown = None if model["unk_id"] is None else model["vocab"][model["unk_id"]][0]
    names = {name: f"\0{name}" for name in leaking - {unknown}}  # a text with NUL is none
    if model["type"] == "Unigram":
        model["vocab"] = [[names.get(word, word), score] for word, score in model["vocab"]]
    else:
        model["vocab"] = {names.get(word, word): number for word, number in model["vocab"].items()}
    if model["type"] == "BPE":
        model["merges"] = [pair for pair in model["merges"] if names.keys().isdisjoint({*pair, "".join(pair)})]
    for token in content["added_tokens"]:
        if token["content"] in names:
            token.update(content=names[token["content"]], single_word=False, lstrip=False, rstrip=False)
    content["post_processor"] = None
    return orjson.dumps(content).decode()


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
