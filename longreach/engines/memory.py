"""How many tokens may stand in a batch at once, by what their keys and values take and what memory there is."""

import os
from typing import Any

import torch

SHARE_OF_GPU, SHARE_OF_RAM = 4, 8  # a fourth of what is free there; an eighth of all of it here, where others live, too
FEWEST = 1 << 12
UNKNOWN_RAM = 8 << 30  # bytes, where the system does not tell


def batch_tokens(model: Any) -> int:
    """A power of two, so that little changes do not change a batch, and with it the last bits of what comes out."""
    room = memory(model.device) // bytes_of_token(model)
    return max(FEWEST, 1 << room.bit_length() - 1)


def bytes_of_token(model: Any) -> int:
    """Keys and values of all layers."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers) * int(heads) * int(size) * int(model.dtype.itemsize)


def memory(device: torch.device) -> int:
    """Bytes for keys and values."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0]) // SHARE_OF_GPU
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else UNKNOWN_RAM
    return ram // SHARE_OF_RAM
