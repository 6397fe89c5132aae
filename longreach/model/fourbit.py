"""The base of QLoRA: frozen weights in 4 bits, so that a model of four times the size fits beside its adapters.

NormalFloat 4 with scales that are quantised themselves, multiplied in bfloat16, as the QLoRA paper has it (Dettmers et
al., 2023). Only linear layers are stored so: embeddings, norms and the head stay in the type that the model is loaded
in. bitsandbytes does it while the model is loaded, on the GPU of this process, where the model then is.
"""

import torch
from transformers import BitsAndBytesConfig
from transformers.utils import is_bitsandbytes_available

from longreach.errors import UserError, missing_extra


def four_bits() -> BitsAndBytesConfig:
    """What transformers is to be told; UserError where it cannot be done here."""
    if not torch.cuda.is_available():
        raise UserError("a base of 4 bits needs a CUDA GPU, there is none", "train the adapter on whole weights")
    if not is_bitsandbytes_available():
        raise missing_extra("bitsandbytes", "a base of 4 bits", "qlora")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
