"""Per-document attention on a GPU: one kernel call for all documents of a batch, the best that is there.

flash-attn where it is installed, else the variable-length kernel of torch, else flex attention. The first two want half
precision, the second knows no soft cap; flex attention takes everything and is slower. What was taken is logged once.
Which arguments each kernel gets is tested with stand-ins on a CPU. The kernels of torch were held against float64 on an
H100, with their gradients (docs/gpu.md); flash-attn has not been run. `longreach.model.isolation` proves a kernel in a
training run only if the model stands on the GPU by then.
"""

import functools
import importlib
import importlib.util
import inspect
import logging
from typing import Any

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import pad

from longreach.model.documents import Documents

log = logging.getLogger(__name__)

FLASH = "flash-attn"
VARLEN, FLEX = "torch's variable-length attention instead of flash-attn", "flex attention instead of flash-attn"
HALF = torch.float16, torch.bfloat16
RECOMPILES = 64  # after torch's own 8, flex attention would go on with all scores at once, at a mere warning
# its kernel for rows under 128 tokens cannot be compiled for 64 tokens and 4 heads to a key
ANY_LENGTH = {"FORCE_USE_FLEX_ATTENTION": True}


def attend_on_gpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """[B, H, T, D] -> [B, T, H, D]; a token sees itself and the `window` - 1 before it in its document."""
    if torch.is_autocast_enabled("cuda"):  # norms of queries and keys may have brought them back to fp32
        half = torch.get_autocast_dtype("cuda")
        query, key, value = query.to(half), key.to(half), value.to(half)
    kernel = choose(query.dtype, query.shape[-1], softcap is not None)
    say(kernel)
    if kernel == FLEX:
        return flex(query, key, value, documents, scale, window, softcap, compiled(flex_attention))
    size = value.shape[-1]
    value = pad(value, (0, query.shape[-1] - size))  # multi-head latent attention has smaller values
    query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    attend = flash if kernel == FLASH else varlen
    attended = attend(query, key, value, documents, scale, window, softcap)
    return attended.unflatten(0, (documents.rows, documents.length))[..., :size]


@functools.cache
def choose(dtype: torch.dtype, head_size: int, capped: bool) -> str:
    """The fastest kernel that is installed and computes this."""
    if dtype not in HALF or head_size > 256 or torch.cuda.get_device_capability() < (8, 0):
        return FLEX
    if importlib.util.find_spec("flash_attn"):
        return FLASH
    return FLEX if capped or not _has_varlen() else VARLEN


def _has_varlen() -> bool:
    """Whether this torch has the kernel in the form that also takes windows."""
    return bool(importlib.util.find_spec("torch.nn.attention.varlen")) and {"window_size", "scale"} <= _varlen_takes()


def _varlen_takes() -> set[str]:
    """The parameters of torch's kernel; grouped heads were taken before it came to ask for `enable_gqa`."""
    return set(inspect.signature(importlib.import_module("torch.nn.attention.varlen").varlen_attn).parameters)


@functools.cache
def say(kernel: str) -> None:
    """Log once by what documents are kept apart."""
    log.info("documents are kept apart by %s", kernel)


@functools.cache
def compiled(function: Any) -> Any:
    """Compiled anew for training and not, one row and several, one length and any, with and without a cap."""
    inner = torch.compile(function)

    def call(*args: Any, **how: Any) -> Any:
        with torch._dynamo.config.patch(recompile_limit=RECOMPILES):  # in every thread: backward passes have their own
            return inner(*args, **how)

    return call


def flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """[tokens, H, D] by the package flash-attn."""
    longest, cumulative = max(documents.lengths), documents.cumulative
    attended: torch.Tensor = importlib.import_module("flash_attn").flash_attn_varlen_func(
        query,
        key,
        value,
        cumulative,
        cumulative,
        longest,
        longest,
        softmax_scale=scale,
        causal=True,
        window_size=(window - 1 if window else -1, 0),
        softcap=softcap or 0.0,
    )
    return attended


def varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """[tokens, H, D] by the kernel that torch brings."""
    longest, cumulative = max(documents.lengths), documents.cumulative
    grouped = {"enable_gqa": query.shape[1] != key.shape[1]} if "enable_gqa" in _varlen_takes() else {}
    attended: torch.Tensor = importlib.import_module("torch.nn.attention.varlen").varlen_attn(
        query,
        key,
        value,
        cumulative,
        cumulative,
        longest,
        longest,
        scale=scale,
        window_size=(window - 1 if window else -1, 0),
        **grouped,
    )
    return attended


def flex(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
    softcap: float | None,
    attend: Any,
) -> torch.Tensor:
    """[B, H, T, D] -> [B, T, H, D] by `attend`, which is flex attention, compiled."""
    if window not in documents.block_masks:
        documents.block_masks[window] = _block_mask(documents, window)
    attended: torch.Tensor = attend(
        query,
        key,
        value,
        score_mod=_cap(softcap) if softcap else None,
        block_mask=documents.block_masks[window],
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
        kernel_options=ANY_LENGTH,
    )
    return attended.transpose(1, 2).contiguous()


def _block_mask(documents: Documents, window: int | None) -> BlockMask:
    """Which blocks of 128 x 128 scores are needed; compiled, so that no T x T mask comes to be on the way."""
    numbers, reach = documents.numbers, window or documents.length

    def seen(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (numbers[row, query] == numbers[row, key]) & (query >= key) & (query - key < reach)

    create = compiled(create_block_mask) if numbers.is_cuda else create_block_mask
    return create(seen, documents.rows, None, documents.length, documents.length, device=numbers.device)


def _cap(softcap: float) -> Any:
    def capped(
        score: torch.Tensor, row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor
    ) -> torch.Tensor:
        return softcap * torch.tanh(score / softcap)

    return capped
