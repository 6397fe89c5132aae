"""The base of QLoRA: frozen weights in 4 bits, so that a model of four times the size fits beside its adapters.

NormalFloat 4 with scales that are quantised themselves, multiplied in bfloat16, as the QLoRA paper has it (Dettmers et
al., 2023). Only linear layers are stored so: embeddings, norms and the head stay in the type that the model is loaded
in. bitsandbytes does it while the model is loaded, on the GPU of this process, where the model then is, or on the CPU.
"""

from typing import Any

import torch
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available

from longreach.errors import missing_extra


def four_bits() -> BitsAndBytesConfig:
    """What transformers is to be told; UserError where bitsandbytes is not there."""
    if not is_bitsandbytes_available():
        raise missing_extra("bitsandbytes", "a base of 4 bits", "qlora")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def keep_learning(model: Any) -> None:
    """Let the layers of 4 bits give gradients on a CPU, whatever went before.

    On one with bfloat16 in AVX-512, bitsandbytes 0.50 packs a layer anew the first time that it is evaluated, for a
    faster product. From then on, in training too, no gradient goes through the layer, and all it says is a warning.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
