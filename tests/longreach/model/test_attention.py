"""Documents of a row never meet: packed rows against each document alone, in every family, with gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.masking_utils import causal_mask_function, create_causal_mask
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from longreach.errors import UserError
from longreach.model import attention as module
from longreach.model.attention import attention, register, whole_rows
from longreach.model.isolation import check_isolation
from tinymodels import FAMILIES, LOCAL_WINDOW, VOCABULARY, tiny_config

ROWS = ([50, 1, 70, 9], [1, 60, 69])  # several documents longer than the local window, some shorter
LENGTH = sum(ROWS[0])
PLAIN = {"gemma2": "eager"}  # stock sdpa passes over its soft cap

Made = Callable[..., Any]


@pytest.fixture(scope="module")
def made() -> Made:
    """made(family, attention) -> a model of the same weights for each attention, made once, in training mode."""
    known: dict[tuple[str, str], Any] = {}

    def make(family: str, attention: str = register()) -> Any:
        if (family, attention) not in known:
            torch.manual_seed(0)
            config = tiny_config(family, max_position_embeddings=256)
            known[family, attention] = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        known[family, attention].zero_grad()
        return known[family, attention]

    return make


def words(rows: int, length: int = LENGTH, seed: int = 1) -> torch.Tensor:
    return torch.randint(3, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))


def restarting() -> torch.Tensor:
    return torch.stack([torch.cat([torch.arange(length) for length in row]) for row in ROWS])


def alone() -> list[tuple[int, slice]]:
    """The row and place of each document."""
    ends = [(row, end, length) for row, lengths in enumerate(ROWS) for end, length in _ends(lengths)]
    return [(row, slice(end - length, end)) for row, end, length in ends]


def _ends(lengths: list[int]) -> list[tuple[int, int]]:
    return [(sum(lengths[: i + 1]), length) for i, length in enumerate(lengths)]


def close(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-6) -> bool:
    return bool((found - expected).abs().max() <= tolerance * expected.abs().max())


@pytest.mark.parametrize("use_cache", [None, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_document_in_a_row_is_computed_as_if_it_stood_alone(family: str, use_cache: bool | None, made: Made) -> None:
    model, tokens = made(family), words(2)
    with torch.no_grad():
        packed = model(input_ids=tokens, position_ids=restarting(), use_cache=use_cache).logits
        for row, place in alone():
            assert close(packed[row, place], model(input_ids=tokens[row : row + 1, place]).logits[0])


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_gradients_are_the_sum_of_those_of_each_document_alone(family: str, checkpointing: bool, made: Made) -> None:
    model, tokens = made(family), words(2)
    out_of = torch.randn(2, LENGTH, VOCABULARY, generator=torch.Generator().manual_seed(2))
    for row, place in alone():
        model(input_ids=tokens[row : row + 1, place]).logits.backward(out_of[row : row + 1, place])
    separate = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    model(input_ids=tokens, position_ids=restarting()).logits.backward(out_of)
    model.gradient_checkpointing_disable()
    assert all(close(weight.grad, separate[name], 1e-5) for name, weight in model.named_parameters())


def test_stock_transformers_mixes_the_documents(made: Made) -> None:
    """What the test above would say if our attention did nothing."""
    model, tokens = made("llama", "sdpa"), words(2)
    with torch.no_grad():
        packed = model(input_ids=tokens, position_ids=restarting()).logits
        row, place = alone()[2]
        assert not close(packed[row, place], model(input_ids=tokens[row : row + 1, place]).logits[0], 1e-2)


@pytest.mark.parametrize("mask", [None, torch.ones(2, LENGTH, dtype=torch.long)], ids=["no mask", "a mask of ones"])
@pytest.mark.parametrize("family", FAMILIES)
def test_positions_that_go_on_attend_across_as_stock_does(family: str, mask: Any, made: Made) -> None:
    tokens = words(2)
    with torch.no_grad():
        ours = made(family)(input_ids=tokens, position_ids=torch.arange(LENGTH)[None], attention_mask=mask).logits
        stock = made(family, PLAIN.get(family, "sdpa"))(input_ids=tokens).logits
    assert close(ours, stock)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_mask_is_ever_built_for_whole_rows(family: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sdpa_mask", lambda *_, **__: pytest.fail("a T x T mask"))
    model, tokens = made(family), words(2)
    with pytest.raises(pytest.fail.Exception):  # it would be noticed
        model(input_ids=tokens, attention_mask=(torch.arange(LENGTH) > 2).long().expand(2, -1))
    for use_cache in (True, False):
        found = model(input_ids=tokens, position_ids=restarting(), use_cache=use_cache).logits
        assert torch.isfinite(found).all()


def generated(model: Any, tokens: torch.Tensor, mask: torch.Tensor, **how: Any) -> Any:
    limits = {"max_new_tokens": 30, "min_new_tokens": 30, "do_sample": False}
    model.eval()
    found = model.generate(
        tokens, attention_mask=mask, output_logits=True, return_dict_in_generate=True, **limits, **how
    )
    model.train()
    return found


@pytest.mark.parametrize("cache", [None, "static"])
@pytest.mark.parametrize("padding", [0, 7])
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gemma3_text"])
def test_generation_is_that_of_stock(family: str, padding: int, cache: str | None, made: Made) -> None:
    tokens, mask = words(2, 40), torch.ones(2, 40, dtype=torch.long)
    mask[1, :padding] = 0
    ours, stock = (
        generated(made(family, name), tokens, mask, cache_implementation=cache)
        for name in (register(), PLAIN.get(family, "sdpa"))
    )
    assert torch.equal(ours.sequences, stock.sequences)
    assert close(torch.stack(ours.logits), torch.stack(stock.logits), 1e-5)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_rows_padded_by_a_mask_are_those_of_stock(family: str, made: Made) -> None:
    tokens, mask = words(2), torch.ones(2, LENGTH, dtype=torch.long)
    mask[0, 100:] = mask[1, :9] = 0
    out_of = torch.randn(2, LENGTH, VOCABULARY) * mask[..., None]
    models = made(family), made(family, PLAIN.get(family, "sdpa"))
    ours, stock = (model(input_ids=tokens, attention_mask=mask).logits for model in models)
    for logits in (ours, stock):
        logits.backward(out_of)
    assert close(ours[mask.bool()], stock[mask.bool()])
    grads = zip(*(model.parameters() for model in models), strict=True)
    assert all(close(mine.grad, theirs.grad, 1e-5) for mine, theirs in grads)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_itself_is_equal_to_the_last_bit(dtype: torch.dtype) -> None:
    query, key, value = (torch.randn(2, heads, LENGTH, 32).to(dtype) for heads in (4, 2, 2))
    for window in (None, LOCAL_WINDOW):
        packed = attend(query, key, value, whole_rows(window), restarting())
        for row, place in alone():
            parts = (x[row : row + 1, :, place] for x in (query, key, value))
            positions = torch.arange(place.stop - place.start)[None]
            assert torch.equal(packed[row, place], attend(*parts, whole_rows(window), positions)[0])


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, positions: Any) -> torch.Tensor:
    return attention(torch.nn.Identity(), query, key, value, mask, position_ids=positions)[0]


def test_a_layer_that_hands_on_no_window_gets_that_of_its_mask() -> None:
    """Qwen2-MoE makes a windowed mask and does not tell its attention the window."""
    config = CONFIG_MAPPING["qwen2_moe"](
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_experts=2,
        num_experts_per_tok=1,
        use_sliding_window=True,
        sliding_window=LOCAL_WINDOW,
        layer_types=["sliding_attention", "sliding_attention"],
        initializer_range=0.3,
    )
    logits = []
    for name in (register(), "sdpa"):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=name)
        logits.append(model(input_ids=words(1), use_cache=False).logits)
    assert close(*logits)


def test_what_sees_more_or_less_than_the_past_keeps_its_mask() -> None:
    config = tiny_config("llama")
    config._attn_implementation = register()
    seen = torch.zeros(1, 8, 64)
    image = torch.tensor([[-1, -1, 0, 0, 0, -1, -1, -1]])
    common = {"attention_mask": None, "past_key_values": None, "position_ids": torch.arange(8)[None]}
    mask = create_causal_mask(config, seen, block_sequence_ids=image, **common)
    assert mask[0, 0, 2].tolist() == [True] * 5 + [False] * 3
    assert create_causal_mask(config, seen, **common).shape == (0, 0, 0, 0)
    narrow = create_causal_mask(config, seen, and_mask_function=lambda b, h, q, k: k % 2 == q % 2, **common)
    assert narrow[0, 0, 3].tolist() == [False, True] * 2 + [False] * 4


def test_rows_that_continue_a_cache_are_not_whole() -> None:
    asked = {"mask_function": causal_mask_function, "use_vmap": False, "device": "cpu", "config": tiny_config("llama")}
    assert module.mask(2, 8, 8, 0, 0, **asked).shape == (0, 0, 0, 0)
    assert module.mask(2, 8, 8, 4, 4, allow_is_causal_skip=False, **asked).shape == (2, 1, 8, 8)
    assert module.mask(2, 8, 12, 4, 0, **asked).shape == (2, 1, 8, 12)


def test_room_at_the_end_of_a_static_cache_is_not_read() -> None:
    query, key, value = (torch.randn(2, heads, LENGTH, 16) for heads in (4, 2, 2))
    longer = (torch.nn.functional.pad(x, (0, 0, 0, 20), value=7.0) for x in (key, value))
    assert torch.equal(attend(query, *longer, None, restarting()), attend(query, key, value, None, restarting()))


def test_encoders_see_both_ways() -> None:
    tower = torch.nn.Identity()
    tower.is_causal = False
    query = torch.randn(1, 2, 8, 16)
    seen = attention(tower, query, query, query, None)[0]
    stock = torch.nn.functional.scaled_dot_product_attention(query, query, query).transpose(1, 2)
    assert torch.equal(seen, stock)


def test_what_it_cannot_do_is_refused() -> None:
    query, positions = torch.randn(1, 2, 8, 16), torch.arange(8)[None]
    asked = (torch.nn.Identity(), query, query, query, whole_rows(None))
    with pytest.raises(UserError, match="dropout"):
        attention(*asked, dropout=0.1, position_ids=positions)
    with pytest.raises(UserError, match="s_aux"):
        attention(*asked, position_ids=positions, s_aux=torch.zeros(2))
    for unclear in (None, positions.expand(3, 1, 8)):  # three axes of positions, as models of images have
        with pytest.raises(UserError, match="where documents begin"):
            attention(*asked, position_ids=unclear)
    chunked = CONFIG_MAPPING["llama4_text"](hidden_size=64, attention_chunk_size=4)
    chunked._attn_implementation = register()
    with pytest.raises(UserError, match="attends in chunks"):
        create_causal_mask(chunked, torch.zeros(1, 8, 64), None, None)


@pytest.mark.parametrize("family", FAMILIES)
def test_isolation_is_proven_before_training(family: str, made: Made) -> None:
    model = made(family)
    check_isolation(model)
    assert model.training


def test_layers_that_carry_a_state_across_documents_are_found_out() -> None:
    config = CONFIG_MAPPING["mamba"](vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, initializer_range=0.3)
    with pytest.raises(UserError, match="MambaForCausalLM lets the documents of a row see each other"):
        check_isolation(AutoModelForCausalLM.from_config(config))
