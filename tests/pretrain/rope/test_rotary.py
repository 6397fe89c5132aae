"""What a config.json says of a model's positions, in every wording."""

from typing import Any

import pytest

from longreach.errors import UserError
from longreach.model.aliases import aliases
from longreach.model.rope import Rope, parse_rope
from pretrain.rope.rotary import rotary_of

PLAIN: dict[str, Any] = {"hidden_size": 256, "num_attention_heads": 4, "max_position_embeddings": 2_048}
NONE = Rope("none")


@pytest.mark.parametrize(
    "wording",
    [
        {"rope_theta": 5e5},
        {"rope_theta": 500_000, "rope_scaling": None},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
        {"rotary_emb_base": 500_000},
        {"rope_parameters": {"full_attention": {"rope_theta": 5e5}, "sliding_attention": {"rope_theta": 1e4}}},
    ],
)
def test_the_base_in_every_wording(wording: dict[str, Any]) -> None:
    rotary = rotary_of("m", PLAIN | wording)
    assert (rotary.base, rotary.dim, rotary.window, rotary.scaling) == (5e5, 64, 2_048, "")


@pytest.mark.parametrize(
    ("wording", "dim"),
    [
        ({"head_dim": 96}, 96),
        ({"partial_rotary_factor": 0.5}, 32),
        ({"rotary_pct": 0.25}, 16),
        ({"head_dim": 128, "rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.25}}, 32),
    ],
)
def test_how_much_is_rotated(wording: dict[str, Any], dim: int) -> None:
    assert rotary_of("m", PLAIN | {"rope_theta": 1e4} | wording).dim == dim


def test_llama2_may_leave_its_base_out() -> None:
    assert rotary_of("m", PLAIN | {"model_type": "llama"}).base == 10_000
    with pytest.raises(UserError, match="has no RoPE"):
        rotary_of("m", PLAIN | {"model_type": "gpt2"})


def test_a_scaled_model_as_it_is() -> None:
    rotary = rotary_of("llama3.1-8b", aliases()["llama3.1-8b"].config)
    assert (rotary.scaling, rotary.window, rotary.dim) == ("llama3", 131_072, 128)
    fast, slow = rotary.under(NONE).inverse[0], rotary.under(NONE).inverse[-1]
    assert fast == 1
    assert slow == pytest.approx(5e5 ** (-126 / 128) / 8)


def test_older_scaling_words() -> None:
    linear = rotary_of("m", PLAIN | {"rope_theta": 1e4, "rope_scaling": {"type": "linear", "factor": 4.0}})
    assert linear.scaling == "linear"
    assert linear.under(NONE).inverse[0] == 0.25
    yarn = rotary_of("m", PLAIN | {"rope_theta": 1e4, "rope_scaling": {"type": "yarn", "factor": 4.0}})
    assert yarn.parameters["original_max_position_embeddings"] == 2_048


def test_under_another_rope() -> None:
    rotary = rotary_of("llama2-7b", aliases()["llama2-7b"].config)
    assert rotary.under(parse_rope("pi:8")).inverse[0] == 1 / 8
    assert rotary.under(parse_rope("abf:500000")).inverse[1] == pytest.approx(5e5 ** (-2 / 128))


@pytest.mark.parametrize(
    ("wording", "problem"),
    [
        ({"rope_scaling": {"type": "linear"}}, "linear scaling of m is incomplete"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
        ({"max_position_embeddings": None}, "no max_position_embeddings"),
        ({"num_attention_heads": 0}, "no num_attention_heads"),
        ({"partial_rotary_factor": 0.001}, "rotates nothing"),
    ],
)
def test_what_cannot_be_looked_at(wording: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        rotary_of("m", PLAIN | {"rope_theta": 1e4} | wording)
