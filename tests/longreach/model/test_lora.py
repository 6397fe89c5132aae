"""LoRA: what is trained, that an adapter keeps to its RoPE, and that merging changes nothing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from longreach.errors import UserError
from longreach.model.checkpoint import read_provenance, save_model
from longreach.model.load import load_model
from longreach.model.lora import add_lora, load_adapter, merge
from longreach.model.rope import parse_rope
from longreach.model.rotary import check_rope
from tinyllama import make_tiny_llama
from tinymodels import FAMILIES, VOCABULARY, WINDOW, make_tiny, tokens

LONG, RANK = 2 * WINDOW, 4
AS_TRAINED = {"dtype": "float32", "attention": "sdpa"}
KINDS = {"llama": {}, "llama, tied": {"tie_word_embeddings": True}, "gemma3_text": {}, "gpt_neox": {}, "phi3": {}}


def folder_of(kind: str, root: Path) -> Path:
    return make_tiny(kind.partition(",")[0], root / kind.replace(", ", "-"), **KINDS[kind])


def loaded(base: Path, rope: str = "abf:500000", dtype: str = "float32") -> Any:
    return load_model(str(base), parse_rope(rope), LONG, dtype=dtype, attention="sdpa")[0].eval()


def trained(base: Path, rope: str = "abf:500000") -> Any:
    """A few large steps, so that every part of the adapter counts."""
    model = add_lora(loaded(base, rope), RANK)
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=3e-3)
    for _ in range(3):
        model(input_ids=tokens(LONG), labels=tokens(LONG), use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def saved(model: Any, folder: Path, rope: str = "abf:500000") -> Path:
    save_model(model, None, folder, {"run": "r", "rope": rope, "seq_len": LONG})
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=tokens(LONG, seed=2), use_cache=False).logits
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_the_embedding_and_the_norms_are_trained(kind: str, tmp_path: Path) -> None:
    model = add_lora(loaded(folder_of(kind, tmp_path)), RANK)
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    whole = {name for name, each in model.named_parameters() if each.requires_grad and "lora_" not in name}
    names = {name.split(".modules_to_save")[0].removeprefix("base_model.model.") for name in whole}
    plain = loaded(folder_of(kind, tmp_path))
    norms = {name for name, module in plain.named_modules() if "Norm" in type(module).__name__}
    embedding = {name for name, module in plain.named_modules() if module is plain.get_input_embeddings()}
    head = {name for name, module in plain.named_modules() if module is plain.get_output_embeddings()}
    assert norms and embedding
    assert names - head == norms | embedding
    adapted = {
        name.split(".lora_")[0].removeprefix("base_model.model.")
        for name, _ in model.named_parameters()
        if ".lora_" in name
    }
    linear = {name for name, module in plain.named_modules() if isinstance(module, torch.nn.Linear)}
    assert adapted == linear - head


def test_every_trained_weight_gets_a_gradient(tmp_path: Path) -> None:
    model = add_lora(loaded(folder_of("llama", tmp_path)), RANK)
    model.train()
    model(input_ids=tokens(LONG), labels=tokens(LONG), use_cache=False).loss.backward()
    assert all((each.grad is not None) == each.requires_grad for each in model.parameters())


def test_alpha_is_twice_the_rank_unless_it_is_given(tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    assert add_lora(loaded(base), 8).peft_config["default"].lora_alpha == 16
    assert add_lora(loaded(base), 8, 4).peft_config["default"].lora_alpha == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_computes_what_the_adapter_does(kind: str, tmp_path: Path) -> None:
    base = folder_of(kind, tmp_path)
    model = trained(base)
    check_rope(model)
    wanted = logits(model)
    assert (wanted - logits(loaded(base))).abs().max() > 0.1
    adapter = saved(model, tmp_path / "adapter")
    again, _ = load_adapter(adapter, dtype="float32", attention="sdpa")
    assert torch.equal(logits(again.eval()), wanted)
    merged, tokenizer = merge(adapter, dtype="float32")
    assert tokenizer is None
    torch.testing.assert_close(logits(merged.eval()), wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))
    save_model(merged, None, tmp_path / "merged", {})
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", attn_implementation="sdpa").eval()
    assert torch.equal(logits(plain), logits(merged))
    assert "lora" not in " ".join(name for name, _ in plain.named_parameters())
    check_rope(plain)


def test_tied_embeddings_stay_tied(tmp_path: Path) -> None:
    base = folder_of("llama, tied", tmp_path)
    model = trained(base)
    head, embedding = (
        part.modules_to_save["default"].weight for part in (model.get_output_embeddings(), model.get_input_embeddings())
    )
    assert head is embedding
    merged, _ = merge(saved(model, tmp_path / "adapter"), dtype="float32")
    assert torch.equal(merged.lm_head.weight, embedding)
    assert torch.equal(merged.model.embed_tokens.weight, embedding)


def test_the_adapter_says_which_rope_it_was_trained_with(tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    provenance = read_provenance(saved(add_lora(loaded(base), RANK), tmp_path / "adapter"))
    assert provenance["rope_parameters"] == {"rope_type": "default", "rope_theta": 500_000}
    assert (provenance["rope"], provenance["max_position_embeddings"]) == ("abf:500000", LONG)


def test_an_adapter_brings_its_tokenizer_and_the_end_of_its_answers(tmp_path: Path) -> None:
    """It was taught to chat, its base was not."""
    base = make_tiny_llama(tmp_path / "base", vocabulary=VOCABULARY, chat_template=None)
    model = add_lora(loaded(base), RANK)
    model.generation_config.eos_token_id = [2, 5]
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "chat"
    save_model(model, tokenizer, tmp_path / "adapter", {"rope": "abf:500000", "seq_len": LONG})
    for found, its in (load_adapter(tmp_path / "adapter", **AS_TRAINED), merge(tmp_path / "adapter", dtype="float32")):
        assert its.chat_template == "chat"
        assert found.generation_config.eos_token_id == [2, 5]
    (tmp_path / "adapter" / "generation_config.json").unlink()
    for path in (tmp_path / "adapter").glob("tokenizer*"):
        path.unlink()
    found, its = load_adapter(tmp_path / "adapter", **AS_TRAINED)
    assert its.chat_template is None
    assert found.generation_config.eos_token_id == tokenizer.eos_token_id


def test_a_base_with_another_rope_is_refused(tmp_path: Path) -> None:
    """The adapter was trained on a base of 500,000 that it was not asked to change."""
    base = folder_of("llama", tmp_path)
    longer = make_tiny("llama", tmp_path / "longer", rope_parameters={"rope_type": "default", "rope_theta": 500_000.0})
    adapter = saved(add_lora(loaded(longer, "none"), RANK), tmp_path / "adapter", "none")
    load_adapter(adapter, dtype="float32", attention="sdpa")
    with pytest.raises(UserError, match=r"trained with the RoPE .*500000.*, .*llama comes to .*10000") as caught:
        load_adapter(adapter, str(base), dtype="float32", attention="sdpa")
    assert str(longer) in caught.value.hint


def test_a_base_that_got_the_same_rope_elsewhere_is_taken(tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    model = trained(base)
    save_model(loaded(base), None, tmp_path / "extended", {})
    again, _ = load_adapter(
        saved(model, tmp_path / "adapter"), str(tmp_path / "extended"), dtype="float32", attention="sdpa"
    )
    assert torch.equal(logits(again.eval()), logits(model))


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 32}, {"vocab_size": 300}, {"num_hidden_layers": 3}, {"num_hidden_layers": 1}]
)
def test_a_base_of_another_shape_is_refused(changes: dict[str, int], tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    adapter = saved(add_lora(loaded(base), RANK), tmp_path / "adapter")
    other = make_tiny("llama", tmp_path / "other", **changes)
    with pytest.raises(UserError, match=r"adapter does not fit .*other") as caught:
        load_adapter(adapter, str(other), dtype="float32", attention="sdpa")
    assert "\n" not in caught.value.problem


def test_what_is_no_adapter_is_refused(tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    with pytest.raises(UserError, match="is no checkpoint that longreach finished"):
        load_adapter(base, dtype="float32", attention="sdpa")
    with pytest.raises(UserError, match="is no LoRA adapter"):
        load_adapter(saved(loaded(base), tmp_path / "full"), dtype="float32", attention="sdpa")


def test_an_adapter_that_does_not_say_how_its_rope_was_changed_is_refused(tmp_path: Path) -> None:
    save_model(add_lora(loaded(folder_of("llama", tmp_path)), RANK), None, tmp_path / "adapter", {})
    with pytest.raises(UserError, match="does not say how the RoPE was changed"):
        load_adapter(tmp_path / "adapter", dtype="float32", attention="sdpa")


def test_a_damaged_adapter_is_refused(tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    adapter = saved(add_lora(loaded(base), RANK), tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(UserError, match="does not fit"):
        load_adapter(adapter, dtype="float32", attention="sdpa")


def test_xpos_takes_an_adapter_too(tmp_path: Path) -> None:
    base = folder_of("llama", tmp_path)
    model = trained(base, "xpos-abf:500000")
    merged, _ = merge(saved(model, tmp_path / "adapter", "xpos-abf:500000"), dtype="float32")
    assert merged.config.model_type == "longreach_xpos_llama"
    torch.testing.assert_close(logits(merged.eval()), logits(model), rtol=1e-5, atol=1e-3)


def test_a_missing_package_names_the_command_that_installs_it() -> None:
    script = "import sys; sys.modules['peft'] = None; import longreach.model.lora"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "UserError: LoRA training needs peft, which is not installed" in ended.stderr
    assert "pip install 'longreach[train]'" in ended.stderr


def test_the_kinds_are_families() -> None:
    assert {kind.partition(",")[0] for kind in KINDS} <= FAMILIES.keys()
