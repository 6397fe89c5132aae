"""Checkpoints on disk: standard Hugging Face folders, with `longreach.json` beside the config.

That file is written last and says which run, base, RoPE and data made the folder: where it stands, the checkpoint is
whole. Everything is first written into a sibling folder, so a kill leaves nothing that looks like a checkpoint.
"""

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.run import versions

PROVENANCE = "longreach.json"


def save_model(model: Any, tokenizer: Any, folder: Path, provenance: Mapping[str, Any]) -> None:
    """Write a model, or a LoRA adapter, and its tokenizer (None for none). A whole checkpoint is never overwritten."""
    window = model.config.max_position_embeddings

    def write(into: Path) -> None:
        write_weights(model, into)
        if (into / "config.json").exists():  # an adapter has none
            _add_old_keys(into / "config.json")
        if tokenizer is not None:
            tokenizer.model_max_length = window  # vLLM reads no further than this, whatever the config says
            tokenizer.save_pretrained(into)

    rope = {"rope_parameters": model.config.rope_parameters, "max_position_embeddings": window}
    write_checkpoint(folder, write, {**provenance, **rope})


def write_weights(model: Any, folder: Path, weights: Mapping[str, Any] | None = None) -> None:
    """The weights, its own or those given, and how they generate: where answers end is not for a base to say."""
    model.save_pretrained(folder, state_dict=weights)
    model.generation_config.save_pretrained(folder)


def _add_old_keys(config: Path) -> None:
    """For transformers 4 and converters of its time: where they miss these keys they take a base of 10,000, in silence.

    A RoPE that differs between layer types cannot be put that way.
    """
    values = orjson.loads(config.read_bytes())
    parameters = values.get("rope_parameters") or {}
    if "rope_theta" in parameters:
        base = "rotary_emb_base" if values["model_type"] == "gpt_neox" else "rope_theta"
        scaling = {name: value for name, value in parameters.items() if name != "rope_theta"}
        values[base] = parameters["rope_theta"]
        if scaling["rope_type"] != "default":
            values["rope_scaling"] = scaling
        write_json(config, values)


def write_checkpoint(folder: Path, write: Callable[[Path], None], provenance: Mapping[str, Any]) -> None:
    """Let `write` fill a folder that takes its name, with its provenance, at one stroke."""
    if is_whole(folder):
        raise UserError(f"{folder} already holds a checkpoint", "choose another folder; nothing was changed")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
        write_json(partial / PROVENANCE, {**provenance, "versions": versions("longreach", "torch", "transformers")})
        _publish(partial, folder)
    except Exception as error:
        if _is_full_disk(error):
            raise UserError(f"no room on the disk for {folder}", "make room and run the same command again") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, folder: Path) -> None:
    """Rename the folder; where a run has put other files into it already, move each file, the provenance last."""
    for path in partial.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    if not folder.exists() or not any(folder.iterdir()):
        partial.replace(folder)
        return
    for path in sorted(partial.iterdir(), key=lambda path: path.name == PROVENANCE):
        path.replace(folder / path.name)


def _is_full_disk(error: BaseException) -> bool:
    """safetensors reports a full disk as an error of its own, with the number in its text."""
    number = getattr(error, "errno", None)
    return number == errno.ENOSPC or f"os error {errno.ENOSPC}" in str(error)


def is_whole(folder: Path) -> bool:
    """Whether this is a checkpoint that longreach finished writing."""
    return (folder / PROVENANCE).is_file()


def read_provenance(folder: Path) -> dict[str, Any]:
    """What longreach.json says."""
    path = folder / PROVENANCE
    try:
        provenance = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} is no checkpoint that longreach finished: it has no {PROVENANCE}", "was its run interrupted?"
        ) from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}", "was this file edited or cut off?") from error
    if not isinstance(provenance, dict):
        raise UserError(f"{path} is no JSON object", "was this file edited?")
    return provenance
