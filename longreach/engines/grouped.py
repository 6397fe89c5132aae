"""Attention of one new token without copying what it looks back at.

Where a batch is padded, transformers repeats keys and values for each head of a group, at every token: of 16 rows with
2,000 tokens before them that takes 16 times as long as the attention itself (a CPU, 8 heads on 2). But for a single
token the heads of a group are just as many queries to one key head. All else goes the stock way.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME, STOCK = "longreach-grouped", "sdpa"


def use(model: Any) -> None:
    """Have the model attend so, if stock sdpa is what it would take."""
    if model.config._attn_implementation == STOCK:
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Query [B, H, T, D], key and value [B, fewer H, S, D] -> [B, T, H, D]."""
    rows, heads, length, _ = query.shape
    if length > 1 or dropout or (attention_mask is not None and attention_mask.shape[1] > 1):
        stock: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **rest
        )
        return stock
    groups = query.reshape(rows, key.shape[1], -1, query.shape[-1])
    attended = scaled_dot_product_attention(groups, key, value, attn_mask=attention_mask, scale=scaling)
    return attended.reshape(rows, 1, heads, value.shape[-1]), None
