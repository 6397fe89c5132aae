"""Which RoPE is recommended for which model and length, and that the reasons say what disagrees."""

import pytest

from longreach.model.aliases import aliases
from longreach.model.rope import ABF
from pretrain.rope.advice import PUBLISHED, advise
from pretrain.rope.reach import base_reach, covers
from pretrain.rope.rotary import Rotary, rotary_of


def model(name: str) -> Rotary:
    return rotary_of(name, aliases()[name].config)


@pytest.mark.parametrize("seq_len", [8_192, 16_384, 32_768])
def test_the_papers_base_is_the_default_up_to_its_length(seq_len: int) -> None:
    assert str(advise(model("llama2-7b"), seq_len).rope) == "abf:500000"


def test_the_bound_disagrees_at_32k_and_agrees_at_16k() -> None:
    at_32k, at_16k = (" ".join(advise(model("llama2-7b"), length).reasons) for length in (32_768, 16_384))
    assert "disagrees: 500,000 would reach 18,438" in at_32k
    assert "agrees" in at_16k and "disagrees" not in at_16k


@pytest.mark.parametrize("seq_len", [40_000, 65_536, 131_072, 262_144, 524_288])
def test_longer_bases_cover_and_are_no_smaller_than_published_ones(seq_len: int) -> None:
    advice = advise(model("llama2-7b"), seq_len)
    assert advice.rope.method == ABF and advice.rope.value == advice.base
    assert covers(advice.base, 128, seq_len)
    assert all(advice.base >= entry.base for entry in PUBLISHED if entry.length <= seq_len)


def test_longer_lengths_never_get_smaller_bases() -> None:
    bases = [advise(model("llama2-7b"), length).base for length in (8_192, 32_768, 65_536, 131_072, 262_144, 524_288)]
    assert bases == sorted(bases)
    assert bases[2] == 8_100_000  # ProLong's 8,000,000 reaches 61,936
    assert bases[-1] == 128_000_000  # ProLong's


def test_a_model_that_is_long_enough_is_left_alone() -> None:
    advice = advise(model("qwen2.5-7b"), 32_768)
    assert str(advice.rope) == "none" and "131,072 tokens already" in advice.reasons[0]


def test_a_large_base_is_not_lowered() -> None:
    advice = advise(model("llama3-8b"), 32_768)
    assert str(advice.rope) == "none" and advice.base == 500_000
    assert "has 500,000, no smaller" in advice.reasons[1]
    assert advise(model("qwen3-8b"), 131_072).base >= 8_000_000


def test_a_base_that_covers_the_length_is_kept() -> None:
    rotary = Rotary("m", "llama", 128, 4_096, {"rope_type": "default", "rope_theta": 6.5e7})
    assert str(advise(rotary, 131_072).rope) == "none"


def test_a_scaled_model_gets_no_second_scaling() -> None:
    advice = advise(model("llama3.1-8b"), 262_144)
    assert str(advice.rope) == "none" and "start from a model without" in advice.reasons[0]


def test_smaller_heads_need_larger_bases() -> None:
    rotary = Rotary("m", "llama", 64, 4_096, {"rope_type": "default", "rope_theta": 1e4})
    advice = advise(rotary, 32_768)
    assert advice.base > 4e6 and base_reach(advice.base, 64, 32_768) is None
    assert "heads of 64" in advice.reasons[0]


def test_where_no_base_covers_it_is_said() -> None:
    advice = advise(Rotary("m", "llama", 2, 64, {"rope_type": "default", "rope_theta": 1e4}), 1_024)
    assert str(advice.rope) == "abf:500000" and "no base covers" in advice.reasons[0]
