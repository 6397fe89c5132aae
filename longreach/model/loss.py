"""The sum of weighted cross entropies of a batch, with its gradients, in memory that does not grow with the row.

The logits of a 32k-token row of a 32,000-word vocabulary are 4 GB in fp32, and training holds three such tensors. Here
the positions whose weight is not zero go in chunks, and the gradients with respect to the hidden states and to the head
are computed as the loss is: what lives on is those two, never logits. Products of half-precision inputs are accumulated
and kept in fp32, as is the gradient of the head: dozens of chunks are added up in it, which bf16 would round each time.
Sums, not means: dividing by the weight of the whole batch makes any split into rows, micro-batches and ranks equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from longreach.model.chunks import LOGITS, LOGITS_ON_GPU, TILE, positions_at_once


@dataclass(frozen=True, slots=True)
class Finish:
    """What a model does to its logits after the head: `scale` times, then within +-`softcap`."""

    scale: float = 1.0
    softcap: float | None = None

    def apply_(self, logits: torch.Tensor, *, slope: bool) -> torch.Tensor | None:
        """Change the logits in place; their slope where it is asked for and not constant."""
        if self.scale != 1:
            logits.mul_(self.scale)
        if self.softcap is None:
            return None
        bent = logits.div_(self.softcap).tanh_()
        steepness = 1 - bent.square() if slope else None
        logits.mul_(self.softcap)
        return steepness


PLAIN = Finish()


def losses(
    hidden: torch.Tensor,
    head: torch.Tensor,
    tokens: torch.Tensor,
    weights: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    finish: Finish = PLAIN,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of weights[b, t] x cross entropy of tokens[b, t], told by hidden[b, t - 1]: an fp32 scalar.

    And the cross entropy of each token of nonzero weight, 0 elsewhere, without gradient. Tokens and weights are [B, T]
    where hidden is [B, T, size] or, of rows that go on elsewhere, [B, T - 1, size].
    """
    rows, length = tokens.shape
    trained = weights.flatten().nonzero().flatten()
    if bool((trained % length == 0).any()):
        raise ValueError("the first token of a row has a weight, but nothing stands before it")
    told_by = trained - 1 - (length - hidden.shape[1]) * (trained // length)
    flat = hidden.reshape(-1, hidden.shape[2])
    args = told_by, tokens.flatten()[trained], weights.flatten()[trained].float()
    learning = [x is not None and x.requires_grad for x in (flat, head, bias)]
    if torch.is_grad_enabled() and any(learning):
        total, each = _Loss.apply(flat, head, bias, *args, finish)
    else:
        total, each = _scan(flat, head, bias, *args, finish, (None, None, None))
    return total, torch.zeros(rows * length, device=hidden.device).index_copy_(0, trained, each).view(rows, length)


class _Loss(torch.autograd.Function):  # type: ignore[misc]
    """The two sums of `_scan`; keeps only gradients, and gives them away once."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        head: torch.Tensor,
        bias: torch.Tensor | None,
        index: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        finish: Finish,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        of_hidden, of_head, of_bias = ctx.needs_input_grad[:3]
        ctx.gradients = (
            torch.zeros_like(hidden) if of_hidden else None,
            torch.zeros_like(head, dtype=torch.float32) if of_head else None,
            torch.zeros_like(bias, dtype=torch.float32) if of_bias else None,
        )
        ctx.dtypes = hidden.dtype, head.dtype, None if bias is None else bias.dtype
        total, each = _scan(hidden, head, bias, index, targets, weights, finish, ctx.gradients)
        ctx.mark_non_differentiable(each)
        return total, each

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("this loss has no second derivative: its gradients are computed without a graph")
        if ctx.gradients is None:
            raise RuntimeError("the gradients of this loss were given away by the first backward pass")
        gradients, ctx.gradients = ctx.gradients, None  # scaled in place: a second head-sized tensor is too many
        scaled = [
            None if gradient is None else gradient.mul_(grad).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        ]
        return (*scaled, None, None, None, None)


def _scan(
    hidden: torch.Tensor,
    head: torch.Tensor,
    bias: torch.Tensor | None,
    index: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    finish: Finish,
    gradients: tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None],
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted sum and each cross entropy of `targets` by hidden[index]; adds to the gradients that are there."""
    of_hidden, of_head, of_bias = gradients
    learning = any(gradient is not None for gradient in gradients)
    dtype = _working_dtype(hidden, head)
    each = torch.empty_like(weights)
    for span, logits in _chunks(len(index), head):
        rows = hidden[index[span]].to(dtype)
        for words, part in _tiles(head, dtype):
            _add_product_(logits[:, words], rows, part.T, keep=False)
        if bias is not None:
            logits.add_(bias)
        slope = finish.apply_(logits, slope=learning)
        each[span], total = _exponentiate_(logits, targets[span])
        if not learning:
            continue
        _differentiate_(logits, total, targets[span], weights[span], finish.scale, slope)
        of_rows = torch.zeros_like(rows, dtype=torch.float32)
        for words, part in _tiles(head, dtype):
            of_logits = logits[:, words].to(dtype)
            if of_hidden is not None:
                _add_product_(of_rows, of_logits, part)
            if of_head is not None:
                _add_product_(of_head[words], of_logits.T, rows)
        if of_hidden is not None:
            of_hidden[index[span]] = of_rows.to(of_hidden.dtype)
        if of_bias is not None:
            of_bias.add_(logits.sum(0))
    return (each * weights).sum(), each


def _working_dtype(hidden: torch.Tensor, head: torch.Tensor) -> torch.dtype:
    """What the factors of products are in: half precision only where the hardware adds such products up in fp32."""
    if not hidden.is_cuda:
        return torch.float32
    if torch.is_autocast_enabled("cuda"):
        return torch.get_autocast_dtype("cuda")
    return torch.promote_types(hidden.dtype, head.dtype)


def _chunks(positions: int, head: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Spans of positions, each with room for its logits: the same room every time."""
    words = head.shape[0]
    step = positions_at_once(positions, words, LOGITS_ON_GPU if head.is_cuda else LOGITS)
    room = torch.empty(step, words, device=head.device)
    for start in range(0, positions, max(step, 1)):
        stop = min(start + step, positions)
        yield slice(start, stop), room[: stop - start]


def _tiles(head: torch.Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, torch.Tensor]]:
    """The head by words, in `dtype`: whole where it is fp32 already, since only then its products need no room."""
    step = len(head) if head.dtype == dtype == torch.float32 else TILE
    for start in range(0, len(head), step):
        words = slice(start, start + step)
        yield words, head[words].to(dtype)


def _add_product_(out: torch.Tensor, a: torch.Tensor, b: torch.Tensor, *, keep: bool = True) -> None:
    """out + a @ b in fp32, or only a @ b where what is in `out` is not to be kept."""
    if a.dtype == torch.float32:
        out.addmm_(a, b, beta=int(keep))
    elif keep:
        torch.addmm(out, a, b, out_dtype=torch.float32, out=out)
    else:
        torch.mm(a, b, out_dtype=torch.float32, out=out)


def _exponentiate_(logits: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn logits into their shares times the total of their row; the cross entropies, and those totals."""
    logits.sub_(logits.amax(1, keepdim=True))
    told = logits.gather(1, targets[:, None])[:, 0]
    total = logits.exp_().sum(1)
    return total.log() - told, total


def _differentiate_(
    shares: torch.Tensor,
    total: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    scale: float,
    slope: torch.Tensor | None,
) -> None:
    """Turn shares into the gradient with respect to what left the head."""
    shares.mul_((weights / total)[:, None])
    shares.scatter_add_(1, targets[:, None], -weights[:, None])
    if slope is not None:
        shares.mul_(slope)
    if scale != 1:
        shares.mul_(scale)
