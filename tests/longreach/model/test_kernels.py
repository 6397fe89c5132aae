"""What the kernels of a GPU are asked for, with stand-ins that compute it on a CPU."""

import functools
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.attention import varlen
from torch.nn.attention.flex_attention import flex_attention

from longreach.model import kernels
from longreach.model.attention import attention, whole_rows
from longreach.model.documents import Documents, documents_of
from longreach.model.kernels import FLASH, FLEX, VARLEN, attend_on_gpu, choose, flex, say

POSITIONS = torch.stack([torch.cat([torch.arange(20), torch.arange(12)]), torch.arange(32)])


def drawn() -> list[torch.Tensor]:
    return [torch.randn(2, heads, 32, 16, generator=torch.Generator().manual_seed(heads)) for heads in (4, 2, 2)]


def documents() -> Documents:
    return documents_of(POSITIONS, 2)


def expected(window: int | None, softcap: float | None) -> torch.Tensor:
    """By the way of the CPU."""
    module = torch.nn.Identity()
    return attention(module, *drawn(), whole_rows(window), scaling=0.3, softcap=softcap, position_ids=POSITIONS)[0]


def stand_in(query: Any, key: Any, value: Any, starts: Any, window: tuple[int, int], scale: float, cap: float) -> Any:
    """[tokens, H, D] by plain arithmetic: a window counts the tokens on either side, -1 is no end."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    scores = cap * torch.tanh(scores / cap) if cap else scores
    at = torch.arange(len(query))
    number = torch.bucketize(at, starts, right=True)
    behind = at[:, None] - at
    seen = (number[:, None] == number) & (behind >= -window[1]) & ((behind <= window[0]) | (window[0] < 0))
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~seen, -torch.inf).softmax(-1), value)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 5])
def test_flash_attn_is_asked_for_documents_and_windows(
    window: int | None, softcap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flash_attn_varlen_func(
        q: Any, k: Any, v: Any, starts: Any, ends: Any, most_q: int, most_k: int, **how: Any
    ) -> Any:
        assert torch.equal(starts, ends) and starts.dtype == torch.int32 and (most_q, most_k) == (32, 32)
        assert how["causal"]
        return stand_in(q, k, v, starts, how["window_size"], how["softmax_scale"], how["softcap"])

    monkeypatch.setattr(kernels, "choose", lambda *_: FLASH)
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_varlen_func=flash_attn_varlen_func))
    found = attend_on_gpu(*drawn(), documents(), 0.3, window, softcap)
    assert torch.allclose(found, expected(window, softcap), atol=1e-5)


def varlen_of_today(
    q: Any,
    k: Any,
    v: Any,
    starts: Any,
    ends: Any,
    most_q: int,
    most_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> Any:
    assert torch.equal(starts, ends) and starts.dtype == torch.int32 and (most_q, most_k) == (32, 32)
    assert enable_gqa
    return stand_in(q, k, v, starts, window_size, scale, 0.0)


def varlen_of_torch_2_11(
    q: Any, k: Any, v: Any, starts: Any, ends: Any, most_q: int, most_k: int, *, scale: float, window_size: Any
) -> Any:
    """Takes grouped heads without being told."""
    return varlen_of_today(q, k, v, starts, ends, most_q, most_k, scale=scale, window_size=window_size, enable_gqa=True)


@pytest.mark.parametrize("varlen_attn", [varlen_of_today, varlen_of_torch_2_11])
@pytest.mark.parametrize("window", [None, 5])
def test_the_kernel_of_torch_is_asked_for_documents_and_windows(
    window: int | None, varlen_attn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "choose", lambda *_: VARLEN)
    monkeypatch.setattr(varlen, "varlen_attn", varlen_attn)
    found = attend_on_gpu(*drawn(), documents(), 0.3, window, None)
    assert torch.allclose(found, expected(window, None), atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 5])
def test_flex_attention_computes_the_same(window: int | None, softcap: float | None) -> None:
    found = flex(*drawn(), documents(), 0.3, window, softcap, flex_attention)
    assert torch.allclose(found, expected(window, softcap), atol=1e-5)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_block_masks_are_made_once_for_all_layers_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    made, make = [], kernels._block_mask
    monkeypatch.setattr(kernels, "_block_mask", lambda *args: (made.append(args[1]), make(*args))[1])
    apart = documents_of(POSITIONS.clone(), 2)
    for window in (None, 5, None, 5):
        flex(*drawn(), apart, 0.3, window, None, flex_attention)
    assert made == [None, 5]


def test_flex_attention_is_compiled_for_more_kinds_of_calls_than_torch_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    kernels.compiled.cache_clear()
    compiled = kernels.compiled(flex_attention)

    def attended(kind: tuple[int, float | None, int]) -> bool:
        rows, softcap, heads = kind
        query = torch.randn(rows, heads, 32, 16)
        apart = documents_of(torch.arange(32)[None], rows)
        with torch._dynamo.config.patch(recompile_limit=8, fail_on_recompile_limit_hit=True):
            return bool(flex(query, query, query, apart, 0.3, None, softcap, compiled).isfinite().all())

    with ThreadPoolExecutor(1) as pool:  # torch keeps its settings by thread
        assert all(pool.map(attended, product((1, 2), (None, 2.0), (2, 4, 8))))
    kernels.compiled.cache_clear()
    torch._dynamo.reset()


def test_flex_attention_keeps_away_from_the_kernel_for_short_queries() -> None:
    asked: dict[str, Any] = {}

    def attend(query: torch.Tensor, *_: Any, **how: Any) -> torch.Tensor:
        asked.update(how)
        return query

    flex(*drawn(), documents(), 0.3, None, None, attend)
    assert asked["kernel_options"] == {"FORCE_USE_FLEX_ATTENTION": True}


def test_values_narrower_than_queries_are_padded_for_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "choose", lambda *_: VARLEN)
    monkeypatch.setattr(kernels, "varlen", lambda query, key, value, *_: value.repeat_interleave(2, 1))
    query, key, value = drawn()
    found = attend_on_gpu(query, key, value[..., :10], documents(), 0.3, None, None)
    assert torch.equal(found, value[..., :10].repeat_interleave(2, 1).transpose(1, 2))


@pytest.mark.parametrize(
    ("dtype", "head_size", "capped", "generation", "installed", "taken"),
    [
        (torch.bfloat16, 128, False, (9, 0), ["flash_attn"], FLASH),
        (torch.bfloat16, 128, True, (8, 0), ["flash_attn"], FLASH),
        (torch.bfloat16, 128, False, (9, 0), ["torch.nn.attention.varlen"], VARLEN),
        (torch.bfloat16, 256, True, (9, 0), ["torch.nn.attention.varlen"], FLEX),
        (torch.bfloat16, 128, False, (9, 0), [], FLEX),
        (torch.bfloat16, 512, False, (9, 0), ["flash_attn"], FLEX),
        (torch.float32, 128, False, (9, 0), ["flash_attn"], FLEX),
        (torch.float16, 128, False, (7, 5), ["flash_attn"], FLEX),
    ],
)
def test_the_best_kernel_that_is_there_is_taken(
    dtype: torch.dtype,
    head_size: int,
    capped: bool,
    generation: tuple[int, int],
    installed: list[str],
    taken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    choose.cache_clear()
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: name if name in installed else None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: generation)
    assert choose(dtype, head_size, capped) == taken
    choose.cache_clear()


def test_what_was_taken_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    say.cache_clear()
    with caplog.at_level("INFO"):
        for _ in range(3):
            say(FLEX)
    assert [record.message for record in caplog.records] == [f"documents are kept apart by {FLEX}"]
