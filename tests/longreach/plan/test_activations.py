"""What a token keeps, held against the tensors that autograd saves in the models themselves: equal to the byte."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from longreach.model.attention import register
from longreach.model.causal import causal_loss
from longreach.model.flops import Shape, shape_of
from longreach.model.load import new_model
from longreach.model.lora import add_lora
from longreach.model.rope import Rope
from longreach.plan.activations import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    Numbers,
    attention_in_flight,
    block_bytes,
    keys,
    mlp_in_flight,
)

TOKENS, RANK = 96, 8
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 320,
    "max_position_embeddings": 256,
}
LLAMA2_7B = Shape(
    layers=32, hidden=4096, heads=32, kv_heads=32, head_dim=128, intermediate=11008, vocabulary=32000, vectors=8192
)


def config(kind: str, layers: int) -> dict[str, Any]:
    return {**SIZES, "model_type": kind, "num_hidden_layers": layers}


def saved(kind: str, numbers: Numbers, layers: int, *, lora: int = 0, checkpointing: bool = False) -> int:
    """Bytes of all that autograd keeps through a forward pass, weights and their roundings left out."""
    dtype = "bfloat16" if numbers == BFLOAT16 else "float32"
    model = new_model("m", Rope("none"), TOKENS, 0, dtype, register(), settings=config(kind, layers))
    model = causal_loss(add_lora(model, lora) if lora else model).train()
    for weight in model.parameters():  # peft makes adapters in float32, of which ZeRO and FSDP gather bfloat16
        weight.data = weight.data.to(getattr(torch, dtype))
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if TOKENS in tensor.shape:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    row = torch.randint(0, 320, (1, TOKENS))
    place = torch.arange(TOKENS)[None]
    rounding = torch.autocast("cpu", torch.bfloat16) if numbers == AUTOCAST else contextlib.nullcontext()
    with saved_tensors_hooks(keep, lambda tensor: tensor), rounding:
        model(input_ids=row, position_ids=place, weights=(place > 0).float())
    return sum(each.untyped_storage().nbytes() for each in kept.values())


def of_a_block(kind: str, numbers: Numbers, **how: Any) -> float:
    """What one more block adds, a token."""
    return (saved(kind, numbers, 3, **how) - saved(kind, numbers, 2, **how)) / TOKENS


@pytest.mark.parametrize("numbers", [FLOAT32, AUTOCAST, BFLOAT16])
@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
def test_a_block_keeps_what_autograd_saves(kind: str, numbers: Numbers) -> None:
    assert of_a_block(kind, numbers) == block_bytes(shape_of(config(kind, 1)), numbers)


def test_gemmas_too_in_float32() -> None:
    assert of_a_block("gemma", FLOAT32) == block_bytes(shape_of(config("gemma", 1)), FLOAT32)


@pytest.mark.parametrize("numbers", [FLOAT32, AUTOCAST, BFLOAT16])
def test_an_adapter_adds_its_middle(numbers: Numbers) -> None:
    assert of_a_block("llama", numbers, lora=RANK) == block_bytes(shape_of(config("llama", 1)), numbers, RANK)


@pytest.mark.parametrize("numbers", [FLOAT32, AUTOCAST, BFLOAT16])
def test_a_checkpoint_is_the_stream(numbers: Numbers) -> None:
    """Autograd does not see it; what it does see does not grow with the blocks."""
    assert of_a_block("llama", numbers, checkpointing=True) == (64 * 4 if numbers.stream == 4 else 64 * 2)


def test_by_hand() -> None:
    """Llama 2 7B in bfloat16: 16h + 4a + 4k + 8f, the sums of 32 heads and the factors of two norms in float32."""
    assert block_bytes(LLAMA2_7B, BFLOAT16) == 16 * 4096 + 8 * 4096 + 8 * 11008 + 4 * 32 + 2 * 4


def test_autocast_rounds_an_input_once_for_each_matrix() -> None:
    rounded = block_bytes(LLAMA2_7B, AUTOCAST) - block_bytes(LLAMA2_7B, BFLOAT16)
    assert rounded == 2 * 2 * 4096 + (5 * 2 - 2 * 2) * 4096  # norms in float32; five roundings for two inputs


def test_gradients_in_flight_by_hand() -> None:
    assert mlp_in_flight(LLAMA2_7B, BFLOAT16) == 4 * 11008 + 4 * 4096
    assert mlp_in_flight(LLAMA2_7B, BFLOAT16, 16) == 12 * 11008 // 16 + 4 * 4096
    assert attention_in_flight(LLAMA2_7B, FLOAT32) == 4 * 4 * 4096 + 4 * 4096
    assert attention_in_flight(LLAMA2_7B, BFLOAT16) == 2 * 4 * 4096 + 4 * 4096 + 2 * 4096
    assert attention_in_flight(LLAMA2_7B, BFLOAT16, 4) == 2 * (2 * 4 * 4096) + 4 * 4096 + 2 * 4096


def test_shared_keys_are_summed_up_by_head() -> None:
    """32 heads on 8: gradients of 4096 and 1024 twice each, queries' sums in float32, keys' and values' for 32 heads."""
    grouped = replace(LLAMA2_7B, kv_heads=8)
    expected = 2 * 2 * (4096 + 1024) + 4 * 4096 + 2 * 2 * 4096 + 2 * 4096
    assert attention_in_flight(grouped, BFLOAT16) == expected


def test_every_gpu_of_a_row_has_a_key() -> None:
    grouped = shape_of(config("llama", 1))
    assert [keys(grouped, degree) for degree in (1, 2, 4)] == [64, 64, 128]
