"""Weights of 4 bits: what is asked of transformers, where they are refused, and what learns beside them on a CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from longreach.errors import UserError
from longreach.model import load
from longreach.model.attention import register
from longreach.model.causal import causal_loss
from longreach.model.load import load_model
from longreach.model.rope import Rope
from longreach.model.trainer import kept_in_float32
from tinymodels import make_tiny, tokens
from tinyrun import Plan, tiny_model, tiny_run, with_lora


def here(monkeypatch: pytest.MonkeyPatch, *, installed: bool) -> None:
    monkeypatch.setattr("longreach.model.fourbit.is_bitsandbytes_available", lambda: installed)


@pytest.fixture
def load_in_four_bits(tmp_path: Path) -> Callable[[], Any]:
    base = str(make_tiny("llama", tmp_path))
    return lambda: load_model(base, Rope("none"), 64, dtype="float32", attention="sdpa", four_bit=True)


def test_they_are_refused_where_they_cannot_be(
    monkeypatch: pytest.MonkeyPatch, load_in_four_bits: Callable[[], Any]
) -> None:
    here(monkeypatch, installed=False)
    with pytest.raises(UserError, match="needs bitsandbytes") as caught:
        load_in_four_bits()
    assert "longreach[qlora]" in caught.value.hint


def test_they_are_normal_floats_with_scales_quantised_too(
    monkeypatch: pytest.MonkeyPatch, load_in_four_bits: Callable[[], Any]
) -> None:
    asked: dict[str, Any] = {}

    def refuse(base: str, **settings: Any) -> None:
        asked.update(settings)
        raise OSError("enough")

    with monkeypatch.context() as context:
        here(context, installed=True)
        context.setattr(load.AutoModelForCausalLM, "from_pretrained", refuse)
        with pytest.raises(UserError, match="enough"):
            load_in_four_bits()
    config = asked["quantization_config"]
    assert config.quantization_method() == "nf4"
    assert config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == torch.bfloat16
    assert asked["dtype"] == "float32"  # of embeddings, norms and the head
    assert config.llm_int8_skip_modules is None  # so that the head stays as it is


def test_gradients_are_those_of_the_weights_that_they_stand_for(tmp_path: Path) -> None:
    """With products in float32, since bfloat16 would hide small errors. The loss is proven first, without gradients."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    base = str(make_tiny("llama", tmp_path, intermediate_size=128))

    def load_one(four_bit: bool) -> Any:
        return load_model(base, Rope("none"), 64, dtype="float32", attention=register(), four_bit=four_bit)[0]

    four, whole = load_one(True), load_one(False)
    layers = {name: each for name, each in four.named_modules() if isinstance(each, bitsandbytes.nn.Linear4bit)}
    assert len(layers) == 2 * 7
    for name, layer in layers.items():
        layer.compute_dtype = torch.float32
        unpacked = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        whole.get_submodule(name).weight.data = unpacked.float()
    found, expected = (adapter_gradients(model) for model in (four, whole))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


def adapter_gradients(model: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = with_lora(model)
    for name, each in model.named_parameters():
        if "lora_B" in name:  # it begins at zero, and so would the gradients of the other factor
            each.data = 0.05 * torch.randn_like(each)
    model = causal_loss(model).train()
    row, place = tokens(48), torch.arange(48)[None]
    model(input_ids=row, position_ids=place, weights=(place > 0).float()).loss.backward()
    return {name: each.grad for name, each in model.named_parameters() if each.requires_grad}


def test_whole_weights_are_not_quantised(load_in_four_bits: Callable[[], Any], tmp_path: Path) -> None:
    model, _ = load_model(str(tmp_path), Rope("none"), 64, dtype="float32", attention="sdpa")
    assert not getattr(model.config, "quantization_config", None)


def test_what_is_trained_beside_them_stays_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer of TRL goes by this mark alone."""
    stock = with_lora

    def marked(model: Any) -> Any:
        adapted = stock(model)
        model.is_loaded_in_4bit = True
        return adapted

    plan = Plan(steps="2@64", lora=True)
    tiny_run(tmp_path / "whole", plan)
    monkeypatch.setattr("tinyrun.with_lora", marked)
    tiny_run(tmp_path / "four", plan)
    name = "adapter_model.safetensors"
    assert (tmp_path / "four" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_model_of_whole_weights_is_left_alone() -> None:
    model = tiny_model(Rope("none"), 64)
    with kept_in_float32(model):
        for weight in model.parameters():
            weight.data = weight.data * 2
    assert torch.equal(model.lm_head.weight, 2 * tiny_model(Rope("none"), 64).lm_head.weight)
