"""Causal attention that keeps the documents of a row apart, as the attention "longreach" of transformers.

Stock transformers isolates documents only without a mask and without a cache, and then by a T x T mask. Here the
position_ids that each layer hands to its attention decide: where they restart, a document begins. On a CPU the
documents go one by one through the fused causal kernel, which costs the sum of their squares rather than the square of
the row; on a GPU one variable-length kernel takes them all (`longreach.model.kernels`). No mask is ever built for whole
rows: the layers are handed an empty one, as wide as their sliding window. What generation and padded batches bring (a
cache, a 2D mask) goes the stock way.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from longreach.errors import UserError
from longreach.model.blocks import attend_capped, attend_in_blocks
from longreach.model.documents import Documents, documents_of
from longreach.model.kernels import attend_on_gpu, say
from longreach.model.parallel.sequence import shared_rows

NAME = "longreach"


def register() -> str:
    """Make the attention known to transformers; the name to pass as attn_implementation."""
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)
    return NAME


def mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | torch.Tensor = 0,
    kv_offset: int = 0,
    *,
    mask_function: Any,
    attention_mask: torch.Tensor | None = None,
    local_size: int | None = None,
    **how: Any,
) -> torch.Tensor | None:
    """`whole_rows` where there is no cache and no padding: `attention` goes by positions. Else the mask of sdpa."""
    config = how["config"]
    if getattr(config, "attention_chunk_size", None):
        raise UserError(f"{config.model_type} attends in chunks, which attention {NAME!r} does not do")
    whole = isinstance(q_offset, int) and q_offset == kv_offset == 0 and q_length == kv_length > 1
    padded = attention_mask is not None and not bool(attention_mask.all())
    if whole and not padded and not how["use_vmap"] and not _looks_ahead(mask_function, batch_size, q_length, how):
        return whole_rows(local_size, how["device"])
    masked: torch.Tensor | None = sdpa_mask(
        batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, local_size, **how
    )
    return masked


def whole_rows(window: int | None, device: torch.device | str = "cpu") -> torch.Tensor:
    """The mask of rows that need none: [0, 0, 0, window]. It is a tensor because models and generation handle it so."""
    return torch.empty(0, 0, 0, window or 0, dtype=torch.bool, device=device)


def _looks_ahead(mask_function: Any, rows: int, length: int, how: dict[str, Any]) -> bool:
    """Whether some token sees the one after it, as in models that read images both ways."""
    row = torch.arange(rows, device=how["device"])[:, None]
    token = torch.arange(length - 1, device=how["device"])[None]
    return bool(torch.as_tensor(mask_function(row, 0, token, token + 1)).any())


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    is_causal: bool | None = None,
    position_ids: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Query [B, H, T, D], key and value [B, fewer H, T, D] -> [B, T, H, D], documents apart."""
    _refuse(module, dropout, kwargs)
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    length = query.shape[2]
    if attention_mask is not None and len(attention_mask) == 0:
        sliding_window = attention_mask.shape[-1] or None
    elif attention_mask is not None or length == 1 or not causal:
        if softcap:  # which stock sdpa passes over
            return attend_capped(query, key, value, scale, softcap, attention_mask).transpose(1, 2).contiguous(), None
        stock: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, 0.0, scaling, is_causal, position_ids=position_ids, **kwargs
        )
        return stock
    if position_ids is None or position_ids.ndim != 2:
        raise UserError(f"{type(module).__name__} does not tell its attention where documents begin (position_ids)")
    key, value = key[:, :, :length], value[:, :, :length]  # a static cache is longer than what it holds
    attend = attend_on_gpu if query.is_cuda else _attend_on_cpu
    shared = shared_rows()
    if shared is None:
        documents = documents_of(position_ids, query.shape[0])
        return attend(query, key, value, documents, scale, sliding_window, softcap), None
    documents = documents_of(shared.positions, query.shape[0])
    query, key, value = shared.heads(query, key, value)
    return shared.tokens(attend(query, key, value, documents, scale, sliding_window, softcap)), None


def _refuse(module: torch.nn.Module, dropout: float, kwargs: dict[str, Any]) -> None:
    """What a layer may ask of its attention and would not get."""
    for name in ("s_aux", "position_bias"):  # learned sinks (gpt-oss), learned biases (T5)
        if kwargs.get(name) is not None:
            raise UserError(f"{type(module).__name__} passes {name}, which attention {NAME!r} does not know")
    if dropout:
        raise UserError(f"attention {NAME!r} has no dropout", "set attention_dropout to 0 in the model's config.json")


def _attend_on_cpu(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    documents: Documents,
    scale: float,
    window: int | None,
    softcap: float | None,
) -> torch.Tensor:
    """One causal kernel call a document, or one for all rows where each is a single document."""
    say("sdpa, one after the other")
    if documents.one_each:
        return _attend_causally(query, key, value, scale, window, softcap).transpose(1, 2).contiguous()
    # split, not slices: the gradient of each slice would be as long as the batch
    pieces = [x.transpose(1, 2).flatten(0, 1).split(documents.lengths) for x in (query, key, value)]  # of [T, H, D]
    attended = []
    for document in zip(*pieces, strict=True):
        q, k, v = (x.transpose(0, 1)[None] for x in document)
        attended.append(_attend_causally(q, k, v, scale, window, softcap)[0].transpose(0, 1))
    return torch.cat(attended).unflatten(0, (documents.rows, documents.length))


def _attend_causally(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None, softcap: float | None
) -> torch.Tensor:
    """[B, H, T, D] of one document each."""
    if softcap or (window and query.shape[2] > window):
        return attend_in_blocks(query, key, value, scale, window, softcap)
    attended: torch.Tensor = scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
    )
    return attended
