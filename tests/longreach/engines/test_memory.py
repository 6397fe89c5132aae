"""Tokens of a batch: by the size of a model's keys and values, and by the memory."""

import importlib
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
memory = importlib.import_module("longreach.engines.memory")
tinymodels = importlib.import_module("tinymodels")


def model_of(family: str) -> Any:
    return transformers.AutoModelForCausalLM.from_config(tinymodels.tiny_config(family))


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma", "gpt_neox", "gpt2", "opt", "bloom"])
def test_a_token_takes_what_the_cache_holds_of_it(family: str) -> None:
    model = model_of(family)
    cache = model(torch.tensor([[3, 4, 5, 6]]), use_cache=True).past_key_values
    held = sum(part.numel() * part.itemsize for layer in cache.layers for part in (layer.keys, layer.values))
    assert memory.bytes_of_token(model) == held // 4


def test_a_batch_takes_a_share_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of("llama")
    each = memory.bytes_of_token(model)
    for room, tokens in ((1 << 40, (1 << 40) // each), (5 * each << 13, 1 << 15), (each, memory.FEWEST)):
        monkeypatch.setattr(memory, "memory", lambda device, room=room: room)
        found = memory.batch_tokens(model)
        assert found <= max(tokens, memory.FEWEST) < 2 * found
    monkeypatch.undo()
    assert 1 << 20 < memory.memory(torch.device("cpu")) < 1 << 45
