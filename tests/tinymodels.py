"""Tiny random models of many families, on disk as transformers itself writes them.

`FAMILIES` are those that go through everything, `OTHERS` have no RoPE that a config could change.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

torch.set_num_threads(1)  # several only wait for each other at this size

WINDOW, VOCABULARY = 64, 256
LOCAL_WINDOW = 24

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": WINDOW,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_key_value_heads": 1}
SHAPED = {**GROUPED, "head_dim": 32}
ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": LOCAL_WINDOW}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": {**GROUPED, "sliding_window": LOCAL_WINDOW},
    "qwen2": GROUPED,
    "qwen3": SHAPED,
    "gemma": SHAPED,
    "gemma2": {**SHAPED, **ALTERNATING, "query_pre_attn_scalar": 32},
    "gemma3_text": {**SHAPED, **ALTERNATING, "query_pre_attn_scalar": 32},
    "phi3": {**GROUPED, "original_max_position_embeddings": WINDOW},
    "gpt_neox": {},  # rotates a quarter of each head
    "olmo3": {**GROUPED, **ALTERNATING},
}
OTHERS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": WINDOW, "n_embd": 64, "n_layer": 2, "n_head": 2},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "bloom": {"n_layer": 2, "n_head": 2},
}


def tiny_config(family: str, **changes: Any) -> Any:
    """The config of a family, with `changes`."""
    own = {**FAMILIES, **OTHERS}[family]
    skipped = ("num_hidden_layers", "num_attention_heads", "intermediate_size") if family == "gpt2" else ()
    sizes = {name: value for name, value in SIZES.items() if name not in skipped}
    return CONFIG_MAPPING[family](**{**sizes, **own, **changes})


def make_tiny(family: str, folder: Path, **changes: Any) -> Path:
    """Write a checkpoint into `folder` and return it; equal arguments give equal weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(tiny_config(family, **changes)).save_pretrained(folder)
    return folder


def tokens(length: int, seed: int = 1) -> torch.Tensor:
    """One row of random words, none of them special."""
    return torch.randint(3, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))
