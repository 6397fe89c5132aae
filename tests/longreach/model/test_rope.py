"""RoPE: what a method means, what becomes of a config, and whether a wrong model is caught."""

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from longreach.errors import UserError
from longreach.model.load import read_config
from longreach.model.rope import Rope, frequencies, inverse_frequencies, parse_rope, rope_parameters
from longreach.model.ropeconfig import rope_notes, with_rope
from longreach.model.rotary import check_rope, rotaries
from tinymodels import WINDOW, tiny_config

ABF = Rope("abf", 500_000)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

# As the user types it


@pytest.mark.parametrize("text", ["abf:500000", "pi:8", "pi:2.5", "ntk:8", "yarn:8", "xpos-abf:500000", "none"])
def test_a_rope_reads_as_it_is_written(text: str) -> None:
    assert str(parse_rope(text)) == text


@given(st.sampled_from(["abf", "pi", "ntk", "yarn", "xpos-abf"]), st.floats(1.0001, 1e15))
def test_no_digit_of_a_value_is_lost(method: str, value: float) -> None:
    assert parse_rope(str(Rope(method, value))) == Rope(method, value)


def test_case_and_space_do_not_matter() -> None:
    assert parse_rope(" ABF:5e5 ") == ABF


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("abd:500000", "no RoPE method 'abd'; choose abf:500000, pi:8"),
        ("", "no RoPE method ''"),
        ("500000", "no RoPE method '500000'"),
        ("abf", "abf needs a value"),
        ("pi:", "'' is no number"),
        ("pi:eight", "'eight' is no number"),
        ("none:8", "none takes no value"),
        ("pi:0.5", "factor of pi must be 1 or more, not 0.5"),
        ("yarn:0.99", "factor of yarn"),
        ("ntk:-8", "factor of ntk"),
        ("abf:1", "base of abf must be over 1, not 1"),
        ("xpos-abf:0", "base of xpos-abf"),
        ("abf:inf", "base of abf"),
        ("pi:nan", "factor of pi"),
    ],
)
def test_a_wrong_rope_is_said_to_be_so(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("(", r"\(")):
        parse_rope(text)


# What it means


def test_abf_is_the_plain_formula_with_another_base() -> None:
    found = inverse_frequencies(ABF, 128, 10_000, 4096)
    assert found.attention == 1
    wanted = [math.exp(-2 * pair / 128 * math.log(500_000)) for pair in range(64)]
    assert found.inverse == pytest.approx(wanted, rel=1e-14)


def test_pi_divides_the_positions() -> None:
    plain = inverse_frequencies(Rope("none"), 128, 10_000, 4096).inverse
    squeezed = inverse_frequencies(Rope("pi", 8), 128, 10_000, 4096).inverse
    assert [one * 32_768 for one in squeezed] == pytest.approx([one * 4096 for one in plain], rel=1e-15)


def test_ntk_keeps_the_fastest_pair_and_interpolates_the_slowest() -> None:
    plain = inverse_frequencies(Rope("none"), 128, 10_000, 4096).inverse
    found = inverse_frequencies(Rope("ntk", 8), 128, 10_000, 4096).inverse
    assert found[0] == plain[0] == 1
    assert found[-1] == pytest.approx(plain[-1] / 8, rel=1e-12)


def test_yarn_keeps_what_turns_often_and_interpolates_what_never_turns() -> None:
    plain = inverse_frequencies(Rope("none"), 128, 10_000, 4096).inverse
    found = inverse_frequencies(Rope("yarn", 8), 128, 10_000, 4096)
    shares = [new / old for new, old in zip(found.inverse, plain, strict=True)]
    turns = [4096 * old / (2 * math.pi) for old in plain]
    assert all(share == 1 for share, turned in zip(shares, turns, strict=True) if turned > 33)
    assert all(share == pytest.approx(1 / 8) for share, turned in zip(shares, turns, strict=True) if turned < 0.9)
    assert shares == sorted(shares, reverse=True) and 1 > shares[32] > 1 / 8
    assert found.attention == pytest.approx(0.1 * math.log(8) + 1)


@pytest.mark.parametrize("changes", [{}, {"truncate": False}, {"beta_fast": 16, "beta_slow": 2}])
@pytest.mark.parametrize("scale", [{}, {"attention_factor": 1.5}, {"mscale": 1.0, "mscale_all_dim": 0.5}])
@pytest.mark.parametrize(("factor", "original", "base"), [(8, 4096, 1e4), (4, 8192, 5e5), (1, 64, 1e4), (40, 32, 1e6)])
def test_yarn_is_that_of_transformers(
    factor: float, original: int, base: float, changes: dict[str, Any], scale: dict[str, Any]
) -> None:
    agrees_with_transformers(rope_parameters(Rope("yarn", factor), 32, base, original) | changes | scale)


@pytest.mark.parametrize("parameters", [LLAMA3, {**LLAMA3, "rope_theta": 1e4, "original_max_position_embeddings": 128}])
def test_the_scaling_of_llama_3_is_that_of_transformers(parameters: dict[str, Any]) -> None:
    agrees_with_transformers(parameters)


def agrees_with_transformers(parameters: dict[str, Any]) -> None:
    config = LlamaConfig(hidden_size=64, num_attention_heads=2, max_position_embeddings=131_072)
    config.rope_parameters = parameters
    theirs, attention = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, "cpu")
    ours = frequencies(parameters, 32)
    torch.testing.assert_close(theirs.double(), torch.tensor(ours.inverse, dtype=torch.float64), rtol=1e-6, atol=0)
    assert ours.attention == pytest.approx(attention, rel=1e-12)


@pytest.mark.parametrize(
    ("rope", "granularity"), [("none", 0.1094), ("pi:4", 0.0290), ("pi:8", 0.0146), ("abf:500000", 0.0788)]
)
def test_the_papers_appendix_b_comes_out(rope: str, granularity: float) -> None:
    found = inverse_frequencies(parse_rope(rope), 128, 10_000, 4096).inverse
    assert sum(map(math.sin, found)) / 64 == pytest.approx(granularity, abs=5e-5)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_a_rope_that_depends_on_the_batch_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=f"{kind} RoPE, whose frequencies change with the longest row"):
        frequencies({"rope_type": kind, "rope_theta": 1e4}, 32)


# A config that has it


def test_a_config_is_copied_and_grows_to_the_length() -> None:
    config = tiny_config("llama")
    before = copy.deepcopy(config.to_dict())
    changed = with_rope(config, ABF, 4 * WINDOW)
    assert config.to_dict() == before
    assert changed.rope_parameters == {"rope_type": "default", "rope_theta": 500_000}
    assert changed.max_position_embeddings == 4 * WINDOW
    assert with_rope(config, ABF, WINDOW // 2).max_position_embeddings == WINDOW


@pytest.mark.parametrize(
    ("rope", "parameters"),
    [
        ("pi:4", {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}),
        ("ntk:4", {"rope_type": "default", "rope_theta": 10_000.0 * 4 ** (32 / 30)}),
        (
            "yarn:4",
            {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": WINDOW},
        ),
        ("none", {"rope_type": "default", "rope_theta": 10_000.0}),
    ],
)
def test_each_method_in_the_words_of_transformers(rope: str, parameters: dict[str, Any]) -> None:
    changed = with_rope(tiny_config("llama"), parse_rope(rope), 4 * WINDOW)
    assert changed.rope_parameters == parameters
    assert changed.max_position_embeddings == 4 * WINDOW


def test_yarn_gives_the_window_that_its_factor_reaches() -> None:
    changed = with_rope(tiny_config("llama"), Rope("yarn", 8), 2 * WINDOW)
    assert changed.max_position_embeddings == 8 * WINDOW


def test_only_the_full_attention_layers_change_where_layers_differ() -> None:
    changed = with_rope(tiny_config("gemma3_text"), Rope("pi", 4), 256)
    assert changed.rope_parameters == {
        "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 4.0},
    }


def test_the_share_of_a_head_that_is_rotated_is_kept() -> None:
    changed = with_rope(tiny_config("gpt_neox"), Rope("ntk", 4), 256)
    assert changed.rope_parameters["partial_rotary_factor"] == 0.25
    assert changed.rope_parameters["rope_theta"] == 10_000 * 4 ** (8 / 6)


@pytest.mark.parametrize("scaling", [LLAMA3, {"rope_type": "linear", "rope_theta": 1e4, "factor": 8.0}])
@pytest.mark.parametrize("rope", ["abf:500000", "pi:8", "yarn:2", "xpos-abf:500000"])
def test_a_model_that_is_scaled_already_is_refused_and_left_alone(scaling: dict[str, Any], rope: str) -> None:
    config = tiny_config("llama", rope_parameters=dict(scaling), max_position_embeddings=131_072)
    with pytest.raises(UserError, match=f"already has {scaling['rope_type']} RoPE by 8") as caught:
        with_rope(config, parse_rope(rope), 256)
    assert "none keeps" in caught.value.hint
    assert config.rope_parameters == scaling


def test_none_keeps_the_scaling_that_is_there() -> None:
    config = tiny_config("llama", rope_parameters=dict(LLAMA3), max_position_embeddings=131_072)
    assert with_rope(config, Rope("none"), 262_144).rope_parameters == LLAMA3


@pytest.mark.parametrize("rope", ["abf:500000", "none"])
def test_a_rope_of_many_lengths_is_refused_whatever_is_asked(rope: str) -> None:
    config = tiny_config("llama", rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0})
    with pytest.raises(UserError, match="this model has dynamic RoPE"):
        with_rope(config, parse_rope(rope), 256)


def test_settings_that_are_not_known_are_refused() -> None:
    config = tiny_config(
        "llama", rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 12, 12]}
    )
    with pytest.raises(UserError, match="RoPE settings unknown to longreach: mrope_section"):
        with_rope(config, ABF, 256)


def test_unknown_layer_types_are_refused() -> None:
    config = tiny_config("gemma3_text")
    config.rope_parameters = config.rope_parameters | {
        "compressed_attention": {"rope_type": "default", "rope_theta": 1e4}
    }
    with pytest.raises(UserError, match="nest their RoPE by layer types that longreach does not know: compressed_att"):
        with_rope(config, ABF, 256)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"model_type": "gemma3"}, "gemma3 models read more than text"),
        ({"model_type": "gpt2"}, "gpt2 models have no RoPE"),
        ({"model_type": "falcon", "alibi": True}, "falcon models have no RoPE"),
        ({"model_type": "gptj"}, "gptj models have no RoPE that a config can change"),
        ({"model_type": "gemma4_text"}, "no one length and head size"),
        ({"model_type": "recurrent_gemma"}, "no one length and head size"),
    ],
)
def test_models_that_cannot_be_extended_are_named(config: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=complaint):
        with_rope(read_config(str(tmp_path)), ABF, 1 << 20)


@pytest.mark.parametrize(
    ("old", "parameters"),
    [
        ({"rope_theta": 20_000.0}, {"rope_type": "default", "rope_theta": 500_000}),
        ({}, {"rope_type": "default", "rope_theta": 500_000}),
        ({"rope_theta": 20_000.0, "rope_scaling": None}, {"rope_type": "default", "rope_theta": 500_000}),
        ({"rope_parameters": {"type": "default", "rope_theta": 2e4}}, {"rope_type": "default", "rope_theta": 500_000}),
        ({"rope_theta": 20_000.0, "rope_scaling": {"type": "linear", "factor": 2.0}}, "already has linear RoPE by 2"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "has dynamic RoPE"),
    ],
)
def test_configs_of_before_transformers_5_are_understood(
    old: dict[str, Any], parameters: dict[str, Any] | str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 4096, **old}))
    config = read_config(str(tmp_path))
    if isinstance(parameters, str):
        with pytest.raises(UserError, match=parameters):
            with_rope(config, ABF, 8192)
        return
    changed = with_rope(config, ABF, 8192)
    assert changed.rope_parameters == parameters
    changed.save_pretrained(tmp_path / "again")
    assert read_config(str(tmp_path / "again")).rope_parameters == parameters


# What is odd but allowed


@pytest.mark.parametrize(
    ("rope", "seq_len", "note"),
    [
        ("none", 256, "no RoPE change: at 256 tokens the positions go past the 64"),
        ("pi:2", 256, "pi:2 reaches 128 tokens (2 x 64), not 256"),
        ("yarn:2", 256, "yarn:2 reaches 128 tokens"),
        ("abf:5000", 256, "abf:5000 lowers the base, which was 10000"),
        ("none", 64, ""),
        ("pi:4", 256, ""),
        ("abf:500000", 256, ""),
    ],
)
def test_notes(rope: str, seq_len: int, note: str) -> None:
    notes = rope_notes(tiny_config("llama"), parse_rope(rope), seq_len)
    assert notes == [] if not note else len(notes) == 1 and notes[0].startswith(note)


@pytest.mark.parametrize(("family", "noted"), [("mistral", True), ("gemma2", False), ("gemma3_text", False)])
def test_a_window_in_every_layer_is_noted(family: str, noted: bool) -> None:
    notes = rope_notes(tiny_config(family), Rope("abf", 2_000_000), 256)
    assert notes == (
        ["every layer attends to the last 24 tokens only: no RoPE lets it see further at once"] if noted else []
    )


# Whether the model has it


def built(family: str = "llama", rope: Rope = ABF, **options: Any) -> Any:
    return AutoModelForCausalLM.from_config(with_rope(tiny_config(family), rope, 32_768), **options)


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt_neox"])
@pytest.mark.parametrize("rope", ["abf:1e12", "pi:512", "ntk:512", "yarn:512", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_made_from_the_config_passes(family: str, rope: str, dtype: torch.dtype) -> None:
    check_rope(built(family, parse_rope(rope), dtype=dtype))


def test_a_scaled_model_passes_too() -> None:
    config = tiny_config("llama", rope_parameters=dict(LLAMA3), max_position_embeddings=131_072)
    check_rope(AutoModelForCausalLM.from_config(config))


def edit_config(model: Any) -> None:
    model.config = copy.deepcopy(model.config)
    model.config.rope_parameters["rope_theta"] = 1_000_000.0


def edit_factor(model: Any) -> None:
    model.config = copy.deepcopy(model.config)
    model.config.rope_parameters |= {"rope_type": "linear", "factor": 1.0001}


def cast(model: Any) -> None:
    model.to(torch.bfloat16)


def cast_and_back(model: Any) -> None:
    model.to(torch.bfloat16).to(torch.float32)


def lose(model: Any) -> None:
    next(rotaries(model)).inverse[3] = math.nan


def nudge(model: Any) -> None:
    next(rotaries(model)).inverse[-1] *= 1 + 3e-6


def leave_on_meta(model: Any) -> None:
    model.to("meta")


def stretch(model: Any) -> None:
    model.model.rotary_emb.attention_scaling = 1.2


def cut(model: Any) -> None:
    model.model.rotary_emb.inv_freq = model.model.rotary_emb.inv_freq[:-1]


def remove(model: Any) -> None:
    model.model.rotary_emb = torch.nn.Identity()


def round_angles(model: Any) -> None:
    """Right buffers, wrong arithmetic: the angles in the type of the hidden states, as in older models."""
    rotary = model.model.rotary_emb

    def forward(x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        half = (position_ids[..., None].to(torch.bfloat16) * rotary.inv_freq.to(torch.bfloat16)).float()
        angles = torch.cat((half, half), dim=-1)
        return angles.cos(), angles.sin()

    rotary.forward = forward


def double_angles(model: Any) -> None:
    rotary, right = model.model.rotary_emb, model.model.rotary_emb.forward
    rotary.forward = lambda x, position_ids: right(x, 2 * position_ids)


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        (edit_config, "is not the RoPE of the config"),
        (edit_factor, "is not the RoPE of the config"),
        (cast, "inv_freq is torch.bfloat16: angles would be wrong at long range"),
        (cast_and_back, "is not the RoPE of the config: up to 0.[0-9]% off"),
        (lose, "is not the RoPE of the config"),
        (nudge, "is not the RoPE of the config"),
        (leave_on_meta, "was never computed"),
        (stretch, "scales by 1.2, the config says 1.0"),
        (cut, "has 15 frequencies, the config says 16"),
        (remove, "no rotary embedding was found in this llama model"),
        (round_angles, "cosines of model.rotary_emb.inv_freq are wrong at up to 32768 tokens"),
        (double_angles, "cosines of model.rotary_emb.inv_freq are wrong"),
    ],
)
def test_a_model_without_it_is_caught(harm: Callable[[Any], None], complaint: str) -> None:
    model = built()
    check_rope(model)
    harm(model)
    with pytest.raises(UserError, match=complaint):
        check_rope(model)


@pytest.mark.parametrize("layer_type", ["full_attention", "sliding_attention"])
def test_each_layer_type_is_looked_at(layer_type: str) -> None:
    model = built("gemma3_text")
    check_rope(model)
    getattr(model.model.rotary_emb, f"{layer_type}_inv_freq")[5] *= 1.01
    with pytest.raises(UserError, match=rf"{layer_type}_inv_freq is not the RoPE of the config: up to 1.0% off"):
        check_rope(model)
