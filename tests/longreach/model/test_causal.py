"""The loss inside models of transformers: which of them, wrapped in what, and that nothing else about them changes."""

import copy
import inspect
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from transformers import AutoModelForCausalLM, LlamaForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.llama import modeling_llama

from longreach.errors import UserError
from longreach.model.attention import register
from longreach.model.causal import causal_loss
from tinymodels import FAMILIES, SIZES, VOCABULARY, tiny_config, tokens

LENGTH = 40
FINISHED = {  # what they do after the head
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 4.0},
    "gemma2": {**FAMILIES["gemma2"], "final_logit_softcapping": 5.0},
    "phi": {},  # the head has a bias
    "gpt2": {
        "n_positions": 64,
        "n_embd": 64,
        "n_layer": 2,
        "n_head": 2,
        **dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0),
    },
}


def made(family: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    if family in FINISHED:
        sizes = {name: SIZES[name] for name in SIZES if family != "gpt2" or name in ("vocab_size", "initializer_range")}
        config = CONFIG_MAPPING[family](**{**sizes, **FINISHED[family], **changes})
    else:
        config = tiny_config(family, **changes)
    return AutoModelForCausalLM.from_config(config, attn_implementation=register())


def batch() -> dict[str, torch.Tensor]:
    words = torch.cat([tokens(LENGTH, seed) for seed in (1, 2)])
    weights = torch.rand(2, LENGTH, generator=torch.Generator().manual_seed(3)).round(decimals=1)
    positions = torch.cat([torch.arange(25), torch.arange(LENGTH - 25)])[None].expand(2, -1).clone()
    weights[:, [0, 25]] = 0
    return {"input_ids": words, "position_ids": positions, "weights": weights}


def reference(model: Any) -> torch.Tensor:
    """The loss by the logits of the model's own forward."""
    given = batch()
    weights = given.pop("weights")
    logits = model(**given).logits
    each = nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), given["input_ids"][:, 1:], reduction="none")
    return (each * weights[:, 1:]).sum()


def gradients(model: nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    assert found.keys() == expected.keys()
    return all((found[name] - expected[name]).norm() <= 1e-5 * expected[name].norm() for name in expected)


@pytest.mark.parametrize("family", [*FAMILIES, *(name for name in FINISHED if name not in FAMILIES)])
def test_loss_and_gradients_are_those_of_the_models_own_logits(family: str) -> None:
    model = made(family)
    expected = reference(model)
    expected_gradients = gradients(model, expected)
    found = causal_loss(model)(**batch())
    assert torch.allclose(found.loss, expected, rtol=1e-6)
    assert same(gradients(model, found.loss), expected_gradients)
    each = found.token_losses
    assert torch.allclose((each * batch()["weights"]).sum(), expected, rtol=1e-6)
    assert not each.requires_grad


@pytest.mark.parametrize("tied", [False, True])
def test_checkpointing_and_tied_embeddings_change_nothing(tied: bool) -> None:
    model = made("llama", tie_word_embeddings=tied)
    expected = gradients(model, reference(model))
    causal_loss(model).gradient_checkpointing_enable({"use_reentrant": False})
    assert same(gradients(model.train(), model(**batch()).loss), expected)


def test_the_model_stays_what_it_was(tmp_path: Path) -> None:
    plain, model = made("llama"), causal_loss(made("llama"))
    assert isinstance(model, LlamaForCausalLM) and type(model).__name__ == "LlamaForCausalLM"
    assert model.state_dict().keys() == plain.state_dict().keys()
    taken, known = (inspect.signature(x.forward).parameters.keys() for x in (model, plain))
    assert taken == known | {"weights"}  # generate and the trainer look there
    prompt = torch.cat([tokens(8, seed) for seed in (4, 5)])
    padded = torch.ones_like(prompt)
    padded[1, :3] = 0
    how = {"attention_mask": padded, "max_new_tokens": 12, "do_sample": False}
    model(**batch()).loss.backward()
    assert torch.equal(model.generate(prompt, **how), plain.generate(prompt, **how))
    assert torch.equal(model(input_ids=prompt, labels=prompt).loss, plain(input_ids=prompt, labels=prompt).loss)
    model.save_pretrained(tmp_path / "ours")
    plain.save_pretrained(tmp_path / "plain")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    model.set_attn_implementation("sdpa")


def test_a_copy_has_its_own_weights() -> None:
    model = causal_loss(made("llama"))
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.mul_(0)
    assert torch.allclose(other(**batch()).loss, batch()["weights"].sum() * torch.tensor(float(VOCABULARY)).log())
    assert torch.allclose(model(**batch()).loss, reference(model), rtol=1e-6)


def test_it_may_be_put_in_twice() -> None:
    model = causal_loss(causal_loss(made("llama")))
    assert len(type(model).__mro__) == len(LlamaForCausalLM.__mro__) + 1
    assert torch.allclose(model(**batch()).loss, reference(model), rtol=1e-6)


@pytest.mark.parametrize("first", ["loss", "peft"])
def test_lora_with_trained_embeddings_and_norms(first: str) -> None:
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["embed_tokens", "lm_head", "norm", "input_layernorm"]
    )
    model = made("llama")
    model = (
        get_peft_model(causal_loss(model), config) if first == "loss" else causal_loss(get_peft_model(model, config))
    )
    expected = reference(model)
    expected_gradients = gradients(model, expected)
    found = model(**batch()).loss
    assert torch.allclose(found, expected, rtol=1e-6)
    assert same(gradients(model, found), expected_gradients)
    assert any("lm_head.modules_to_save" in name for name in expected_gradients)


def test_no_gradient_is_computed_where_none_is_wanted() -> None:
    model = causal_loss(made("llama"))
    with torch.no_grad():
        assert not model(**batch()).loss.requires_grad
    model.lm_head.weight.requires_grad_(False)
    loss = model(**batch()).loss
    assert loss.grad_fn.gradients[1] is None


class Shifted(LlamaForCausalLM):
    """Adds to its logits what no config tells."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = output.logits + output.logits.roll(1, -1) / 50
        return output


class Capped(LlamaForCausalLM):
    """Bends its logits only where they are loud, as no logit of a new model is."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        output = super().forward(*args, **kwargs)
        output.logits = 60 * torch.tanh(output.logits / 60)
        return output


@pytest.mark.parametrize("stranger", [Shifted, Capped])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_is_not_understood_is_refused(stranger: type, dtype: torch.dtype) -> None:
    config = tiny_config("llama", initializer_range=0.02)
    with pytest.raises(UserError, match=f"{stranger.__name__} does something to its logits"):
        causal_loss(stranger(config).to(dtype))
    causal_loss(LlamaForCausalLM(config).to(dtype))


class Quantized(nn.Linear):
    """A linear map that is more than its weight."""


def test_a_head_that_is_no_plain_linear_map_is_refused() -> None:
    under_lora = get_peft_model(made("llama"), LoraConfig(r=4, target_modules=["q_proj", "lm_head"]))
    quantized = made("llama")
    quantized.lm_head = Quantized(64, VOCABULARY, bias=False)
    for model in (under_lora, quantized):
        with pytest.raises(UserError, match="has a head"):
            causal_loss(model)


def test_training_fills_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    model = causal_loss(made("llama"))
    monkeypatch.setattr(modeling_llama, "DynamicCache", lambda **_: pytest.fail("a cache of keys and values"))
    with pytest.raises(pytest.fail.Exception):  # it would be noticed
        model(input_ids=batch()["input_ids"], use_cache=True)
    assert torch.isfinite(model(**batch()).loss)


def test_weights_and_labels_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        causal_loss(made("llama"))(**batch(), labels=batch()["input_ids"])


def one_rank(folder: str, rank: int) -> None:
    """Write the gradients that DDP leaves on a rank that holds one of the two rows."""
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    model = DistributedDataParallel(causal_loss(made("llama")))
    mine = {name: value[rank : rank + 1] for name, value in batch().items()}
    save_file(gradients(model.module, model(**mine).loss), f"{folder}/{rank}.safetensors")


def test_two_ranks_sum_to_one_batch(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.append({str(Path(__file__).parent)!r}); import test_causal; "
        f"test_causal.one_rank({str(tmp_path)!r}, int(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ranks = [subprocess.Popen([sys.executable, "-c", code, str(rank)], env=environment) for rank in range(2)]
    try:
        assert [process.wait(120) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    model = made("llama")
    expected = gradients(model, reference(model))
    for rank in range(2):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert same({name: 2 * gradient for name, gradient in found.items()}, expected)  # DDP takes the mean
