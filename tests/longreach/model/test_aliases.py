"""Aliases: configurations that hold together, and settings that say where they come from."""

from pathlib import Path

import pytest

from longreach.errors import UserError
from longreach.model.aliases import aliases, find_alias, settings_for, weights_of
from longreach.model.configjson import config_of

FAMILIES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}
FAMILIES |= {"qwen3": "Qwen3ForCausalLM", "gemma": "GemmaForCausalLM", "gemma2": "Gemma2ForCausalLM"}


@pytest.mark.parametrize("name", aliases())
def test_configurations_hold_together(name: str) -> None:
    config = aliases()[name].config
    assert config["architectures"] == [FAMILIES[config["model_type"]]]
    assert config["num_attention_heads"] % config["num_key_value_heads"] == 0
    assert config["rope_parameters"]["rope_theta"] >= 10_000
    assert max(config["bos_token_id"], config["eos_token_id"]) < config["vocab_size"]


@pytest.mark.parametrize("name", aliases())
def test_transformers_takes_every_configuration(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    given = dict(aliases()[name].config)
    config = transformers.AutoConfig.for_model(given.pop("model_type"), **given)
    assert {key: getattr(config, key) for key in given} == given


@pytest.mark.parametrize(
    ("name", "seq_len", "rate"),
    [
        ("llama2-7b", 32_768, 2e-5),
        ("llama2-13b", 32_768, 2e-5),
        ("llama2-34b", 16_384, 1e-5),
        ("llama2-70b", 16_384, 1e-5),
    ],
)
def test_the_papers_settings(name: str, seq_len: int, rate: float) -> None:
    settings = settings_for(name)
    values = {setting: choice.value for setting, choice in settings.items()}
    assert values | {"seq_len": seq_len, "learning_rate": rate, "rope": "abf:500000"} == values
    assert (values["warmup_steps"], values["schedule"], values["steps"]) == (2_000, "cosine", 100_000)
    assert values["steps"] * values["batch_tokens"] == pytest.approx(400e9, rel=0.05)
    assert all(
        settings[key].origin.startswith("paper, Sec. 2.1") for key in ("rope", "seq_len", "learning_rate", "steps")
    )


def test_what_the_paper_leaves_out_is_called_ours() -> None:
    settings = settings_for("llama2-7b")
    ours = {name: choice.value for name, choice in settings.items() if choice.origin.startswith("ours")}
    assert ours == {
        "optimizer": "AdamW",
        "betas": (0.9, 0.95),
        "epsilon": 1e-5,
        "weight_decay": 0.1,
        "clip": 1.0,
        "final_lr_share": 0.1,
    }


def test_other_models_get_what_the_paper_did_at_their_size_and_no_rope() -> None:
    small, large = settings_for("llama3-8b"), settings_for("qwen2.5-72b")
    assert (small["learning_rate"].value, large["learning_rate"].value) == (2e-5, 1e-5)
    assert "of Llama 2 7B and 13B" in small["seq_len"].origin and "of Llama 2 34B and 70B" in large["seq_len"].origin
    assert "rope" not in small
    assert "own window is 131,072" in settings_for("llama3.1-8b")["seq_len"].origin


def test_weights() -> None:
    assert weights_of("Llama2-70B") == "meta-llama/Llama-2-70b-hf"
    assert weights_of("someone/some-model") == "someone/some-model"
    with pytest.raises(UserError, match="never released"):
        weights_of("llama2-34b")
    with pytest.raises(UserError, match="did you mean 'llama2-7b'"):
        weights_of("lama2-7b")


def test_a_folder_of_the_same_name_goes_before_the_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_alias("llama2-7b") is not None
    Path("llama2-7b").mkdir()
    Path("llama2-7b/config.json").write_text('{"hidden_size": 8}')
    assert find_alias("llama2-7b") is None
    assert weights_of("llama2-7b") == "llama2-7b"
    assert config_of("llama2-7b") == {"hidden_size": 8}


def test_an_alias_cannot_be_spoilt_by_its_reader() -> None:
    config_of("llama2-7b")["hidden_size"] = 1
    assert config_of("llama2-7b")["hidden_size"] == 4_096
