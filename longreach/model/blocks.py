"""Causal attention on one document in blocks of queries, for what no fused CPU kernel computes without a T x T mask.

Two cases: a sliding window shorter than the document (a block reads only the keys that its window reaches), and Gemma
2's soft cap on the scores. Nothing but the inputs is kept for the backward pass, which computes each block once more: a
third forward pass in time for memory that does not grow with the square of the length.
"""

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

STEP = 256  # queries of a block: smaller ones gain nothing, larger ones compute more than the window
SCORES = 2**24  # of one block where they are held as numbers: 64 MB


def attend_in_blocks(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None, softcap: float | None
) -> torch.Tensor:
    """[B, H, T, D] of one document each, K and V of fewer heads; a token sees itself and the `window` - 1 before it."""
    attended: torch.Tensor = _InBlocks.apply(query, key, value, scale, window, softcap)
    return attended


class _InBlocks(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.how = scale, window, softcap
        out = query.new_empty(*query.shape[:-1], value.shape[-1])
        block = _Block(query, *ctx.how)
        for queries, keys in block.spans():
            out[:, :, queries] = block.attend(query[:, :, queries], key[:, :, keys], value[:, :, keys])
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("attention in blocks has no second derivative")
        query, key, value = ctx.saved_tensors
        grad_query = torch.empty_like(query)
        grad_key, grad_value = (torch.zeros_like(x, dtype=torch.float32) for x in (key, value))  # blocks overlap
        block = _Block(query, *ctx.how)
        for queries, keys in block.spans():
            parts = [x.detach().requires_grad_() for x in (query[:, :, queries], key[:, :, keys], value[:, :, keys])]
            with torch.enable_grad():
                attended = block.attend(*parts)
            of_query, of_key, of_value = torch.autograd.grad(attended, parts, grad[:, :, queries])
            grad_query[:, :, queries] = of_query
            grad_key[:, :, keys] += of_key
            grad_value[:, :, keys] += of_value
        return grad_query, grad_key.to(key.dtype), grad_value.to(value.dtype), None, None, None


class _Block:
    """How one block of queries attends; all blocks of a document are computed alike."""

    def __init__(self, query: torch.Tensor, scale: float, window: int | None, softcap: float | None) -> None:
        rows, heads, self._length, _ = query.shape
        self._scale, self._softcap = scale, softcap
        self._window = min(window or self._length, self._length)
        self._step = max(16, min(STEP, SCORES // (rows * heads * self._window))) if softcap else STEP
        self._biases: dict[tuple[int, int], torch.Tensor] = {}

    def spans(self) -> list[tuple[slice, slice]]:
        """Each block of queries and the keys that it reads."""
        return [
            (
                slice(start, min(start + self._step, self._length)),
                slice(max(0, start - self._window + 1), min(start + self._step, self._length)),
            )
            for start in range(0, self._length, self._step)
        ]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """The last query stands at the last key."""
        bias = self._bias(query, key.shape[2])
        if self._softcap:
            return _capped(query, key, value, self._scale, self._softcap, bias)
        attended: torch.Tensor = scaled_dot_product_attention(
            query, key, value, attn_mask=bias, scale=self._scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        return attended

    def _bias(self, query: torch.Tensor, keys: int) -> torch.Tensor:
        """0 where a query sees a key, -inf elsewhere; the same for all blocks but the first few and the last."""
        queries = query.shape[2]
        if (queries, keys) not in self._biases:
            at = torch.arange(keys - queries, keys, device=query.device)[:, None]
            behind = at - torch.arange(keys, device=query.device)
            seen = (behind >= 0) & (behind < self._window)
            self._biases[queries, keys] = torch.zeros_like(seen, dtype=query.dtype).masked_fill_(~seen, -torch.inf)
        return self._biases[queries, keys]


def attend_capped(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, softcap: float, mask: torch.Tensor | None
) -> torch.Tensor:
    """Capped attention by a mask that is there already: True where [B, 1, Q, K] is seen; None sees all."""
    if mask is None:
        return _capped(query, key, value, scale, softcap, None)
    bias = torch.zeros_like(mask, dtype=torch.float32).masked_fill_(~mask, torch.finfo(torch.float32).min)
    step = max(16, SCORES // (query.shape[0] * query.shape[1] * key.shape[2]))
    blocks = zip(query.split(step, 2), bias.split(step, 2), strict=True)
    return torch.cat([_capped(part, key, value, scale, softcap, seen) for part, seen in blocks], 2)


def _capped(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, softcap: float, bias: torch.Tensor | None
) -> torch.Tensor:
    """Attention whose scores s become softcap * tanh(s / softcap), computed in fp32."""
    rows, heads, length, size = query.shape
    grouped = query.float().reshape(rows, key.shape[1], -1, size)  # heads that share a key one after the other
    scores = grouped @ key.float().transpose(2, 3) * (scale / softcap)
    scores = scores.tanh().mul(softcap).view(rows, heads, length, -1)
    if bias is not None:
        scores = scores + bias
    shares = scores.softmax(-1).view(rows, key.shape[1], -1, key.shape[2])
    return (shares @ value.float()).view(rows, heads, length, -1).to(query.dtype)
