"""Weights, gradients and optimizer by mode: the formulas of the papers, in numbers worked by hand."""

from typing import Any

import pytest

from longreach.model.aliases import aliases
from longreach.model.flops import Shape, parameters, shape_of
from longreach.model.parallel.mode import SHARD_GRAD_OP
from longreach.plan.layout import (
    DDP,
    FSDP,
    LORA,
    OPTIMIZER,
    QLORA,
    WEIGHTS,
    ZERO1,
    ZERO2,
    ZERO3,
    Layout,
)
from longreach.plan.states import States, adapter_parameters, states

SEVEN = shape_of(aliases()["llama2-7b"].config)
COUNT = 6_738_415_616
TINY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 101,
    "head_dim": 16,
    "max_position_embeddings": 64,
}


LEARNING = 171_315_200  # of an adapter of rank 16


def of(mode: str, gpus: int = 64, *offload: str, lora: int = 0, shape: Shape = SEVEN) -> States:
    return states(shape, Layout(mode=mode, gpus=gpus, seq_len=1, offload=frozenset(offload), lora=lora))


def test_ours_is_16_bytes_a_parameter() -> None:
    assert of(DDP) == States(4 * COUNT, 4 * COUNT, 8 * COUNT)


@pytest.mark.parametrize("mode", [DDP, FSDP, SHARD_GRAD_OP])
def test_several_gpus_need_nothing_more(mode: str) -> None:
    """DDP's gradients lie in its buckets."""
    found = of(mode, 2)
    assert found.weights + found.gradients + found.optimizer == 16 * COUNT / (1 if mode == DDP else 2)


def test_zeros_own_example() -> None:
    """Fig. 1 of arXiv:1910.02054: 7.5B parameters on 64 GPUs are 31.4, 16.6, 1.9 GB, with gradients of 2 bytes for our 4."""
    size = 7_500_000_000
    shape = Shape(layers=1, hidden=1, heads=1, kv_heads=1, head_dim=1, intermediate=1, vocabulary=0, vectors=size - 8)
    assert parameters(shape) == size
    for mode, said in ((ZERO1, 31.4), (ZERO2, 16.6), (ZERO3, 1.9)):
        found = of(mode, shape=shape)
        assert (found.weights + found.gradients / 2 + found.optimizer) / 1e9 == pytest.approx(said, abs=0.05)


def test_without_half_precision_zero_copies_float32() -> None:
    one, two, three = (
        states(SEVEN, Layout(mode=mode, gpus=8, seq_len=1, on_gpu=False)) for mode in (ZERO1, ZERO2, ZERO3)
    )
    assert one == States(4 * COUNT, 4 * COUNT, 1.5 * COUNT)
    assert two == States(4 * COUNT, COUNT / 2, 1.5 * COUNT)
    assert three == States(COUNT / 2, COUNT / 2, 1.5 * COUNT)


def test_fsdp_shares_float32() -> None:
    assert of(FSDP, 8) == States(COUNT / 2, COUNT / 2, COUNT)


def test_the_optimizer_on_the_host() -> None:
    """Beside its 12 bytes room for 4 of gradients; ZeRO 3 has their sum there, too, ZeRO 2 2 bytes of new weights."""
    assert of(ZERO2, 8, OPTIMIZER) == States(2 * COUNT, COUNT / 2, 0, (12 + 4 + 2) * COUNT / 8)
    assert of(ZERO3, 8, OPTIMIZER) == States(COUNT / 4, 0, 0, (12 + 4 + 4) * COUNT / 8)
    everything = of(ZERO3, 8, OPTIMIZER, WEIGHTS)
    assert (everything.weights, everything.host) == (0, 22 * COUNT / 8)


def test_an_adapter_by_hand() -> None:
    """Rank 16 on Llama 2 7B: seven pairs of factors in 32 blocks, 65 norms, the embedding."""
    sides = 4 * (4096 + 4096) + 3 * (4096 + 11008)
    learning = 32 * 16 * sides + 65 * 4096 + 32_000 * 4096
    assert adapter_parameters(SEVEN, 16) == learning == LEARNING
    assert of(LORA, lora=16) == States(4 * COUNT + 4 * learning, 4 * learning, 8 * learning)


def test_an_adapter_on_sharded_weights() -> None:
    """Everything is sharded with FSDP and ZeRO 3; of gradients and optimizer there is only what learns."""
    for mode in (FSDP, SHARD_GRAD_OP):
        assert of(mode, 8, lora=16) == States(4 * (COUNT + LEARNING) / 8, 4 * LEARNING / 8, LEARNING)
    assert of(ZERO1, 8, lora=16) == States(2 * (COUNT + LEARNING), 4 * LEARNING, 12 * LEARNING / 8)
    assert of(ZERO2, 8, lora=16) == States(2 * (COUNT + LEARNING), 4 * LEARNING / 8, 12 * LEARNING / 8)
    assert of(ZERO3, 8, lora=16) == States(2 * (COUNT + LEARNING) / 8, 4 * LEARNING / 8, 12 * LEARNING / 8)
    host = of(ZERO3, 8, OPTIMIZER, WEIGHTS, lora=16)
    assert (host.weights, host.host) == (0, (2 * (COUNT + LEARNING) + 20 * LEARNING) / 8)


def test_four_bits_are_of_the_blocks_matrices() -> None:
    """NF4 takes 4.127 bits with its scales (arXiv:2305.14314): 0.516 bytes for 4."""
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    saved = of(LORA, lora=16).weights - of(QLORA, lora=16).weights
    assert saved / matrices == pytest.approx(4 - 4.127 / 8, abs=1e-4)


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"])
@pytest.mark.parametrize("tied", [True, False])
def test_adapters_are_those_of_peft(kind: str, tied: bool) -> None:
    """What learns, and what lies beside it, to the last parameter."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from longreach.model.lora import add_lora

    config: Any = transformers.AutoConfig.for_model(kind, **TINY, tie_word_embeddings=tied)
    with torch.device("meta"):
        model = add_lora(transformers.AutoModelForCausalLM.from_config(config), 4)
    shape = shape_of({**TINY, "model_type": kind, "tie_word_embeddings": tied})
    learning = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert adapter_parameters(shape, 4) == learning
    whole = sum(each.numel() for each in model.parameters())
    assert states(shape, Layout(mode=LORA, gpus=1, seq_len=1, lora=4)).weights == 4 * whole
