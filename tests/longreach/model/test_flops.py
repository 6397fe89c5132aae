"""Counts from a configuration: parameters to the last one, the paper's FLOPs to the last printed digit."""

import pytest

from longreach.errors import UserError
from longreach.model.aliases import aliases
from longreach.model.flops import (
    Flops,
    Shape,
    attention_threshold,
    document_flops,
    flops_per_token,
    paper_shape,
    parameters,
    shape_of,
    stage_flops,
)

PUBLISHED = {  # as the checkpoints' own files count them
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-34b": 33_743_970_304,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "llama3-70b": 70_553_706_496,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-72b": 72_706_203_648,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
    "gemma-7b": 8_537_680_896,
    "gemma2-2b": 2_614_341_888,
    "gemma2-9b": 9_241_705_984,
}
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
STEP_TOKENS = 4_194_304  # 4M tokens, 100,000 times: the paper's Sec. 4.4


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_parameters_are_exact(name: str, count: int) -> None:
    assert parameters(shape_of(aliases()[name].config)) == count


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"])
@pytest.mark.parametrize("more", [{}, {"tie_word_embeddings": True}, {"attention_bias": True, "mlp_bias": True}])
def test_parameters_are_those_of_transformers(kind: str, more: dict[str, bool]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    if more.get("attention_bias") and kind != "llama":
        more = {"attention_bias": True} if kind in ("gemma", "gemma2", "qwen3") else {}
    config = transformers.AutoConfig.for_model(kind, **TINY, **more)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert parameters(shape_of({**TINY, **more, "model_type": kind})) == sum(
        each.numel() for each in model.parameters()
    )


@pytest.mark.parametrize(
    ("share", "printed"), [(0, "3.783e+22"), (20, "3.405e+22"), (40, "3.026e+22"), (80, "2.270e+22")]
)
def test_the_papers_curricula(share: int, printed: str) -> None:
    """7B; the first `share` % of 100,000 steps at 4,096 tokens, the rest at 32,768."""
    short, long = (1_000 * part * STEP_TOKENS for part in (share, 100 - share))
    assert f"{stage_flops(paper_shape(32, 4_096), [(4_096, short), (32_768, long)]).total:.3e}" == printed


def test_the_papers_formula() -> None:
    layers, hidden, seq_len = 5, 96, 700
    expected = 72 * layers * hidden**2 * (1 + seq_len / (6 * hidden))
    assert flops_per_token(paper_shape(layers, hidden), seq_len).total == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("hidden", [4_096, 5_120, 8_192])
def test_six_h(hidden: int) -> None:
    """Where attention costs as much as the matrices: 49,152 tokens for the paper's 70B."""
    shape = paper_shape(80, hidden)
    assert attention_threshold(shape) == 6 * hidden
    there = flops_per_token(shape, 6 * hidden)
    assert there.attention == there.dense


def test_flops_of_a_real_model() -> None:
    """Llama 2 7B by hand: every matrix but the embeddings six times, and the square of attention."""
    shape = shape_of(aliases()["llama2-7b"].config)
    matrices = 32 * (4 * 4_096**2 + 3 * 4_096 * 11_008) + 32_000 * 4_096
    assert flops_per_token(shape, 32_768) == Flops(6 * matrices, 12 * 32 * 4_096 * 32_768)


def test_queries_count_for_attention_however_few_the_keys() -> None:
    """Grouped heads save parameters, not attention; heads may be wider together than the model."""
    config = {**TINY, "model_type": "llama"}
    shape = shape_of(config)
    assert flops_per_token(shape, 1).attention == 12 * 3 * 64
    assert shape.block_matrices < shape_of({**config, "num_key_value_heads": 4}).block_matrices


def test_tied_embeddings_are_fewer_parameters_but_as_much_work() -> None:
    tied, untied = (shape_of({**TINY, "model_type": "llama", "tie_word_embeddings": tie}) for tie in (True, False))
    assert parameters(untied) - parameters(tied) == 101 * 32
    assert flops_per_token(tied, 8) == flops_per_token(untied, 8)


def test_documents_apart_cost_less_attention() -> None:
    shape = shape_of(aliases()["llama3-8b"].config)
    whole, apart = stage_flops(shape, [(1_000, 1_000)]), document_flops(shape, [600, 300, 100])
    assert apart.dense == whole.dense
    assert apart.attention == pytest.approx(whole.attention * 0.46)
    assert document_flops(shape, [1_000]) == whole


@pytest.mark.parametrize(
    "key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"]
)
def test_what_is_missing_is_named(key: str) -> None:
    with pytest.raises(UserError, match=key):
        shape_of({name: value for name, value in TINY.items() if name != key})


def test_a_mixture_of_experts_is_refused() -> None:
    with pytest.raises(UserError, match="mixture of experts"):
        shape_of({**TINY, "model_type": "mixtral", "num_local_experts": 8})


def test_a_shape_needs_no_config() -> None:
    shape = Shape(layers=1, hidden=2, heads=1, kv_heads=1, head_dim=2, intermediate=3, vocabulary=5)
    assert parameters(shape) == 2 * 5 * 2 + (4 * 4 + 3 * 6) + 2
