"""Attention in blocks against the whole matrix of scores."""

import pytest
import torch

from longreach.model import blocks
from longreach.model.blocks import STEP, attend_in_blocks

LENGTHS = (1, STEP - 1, STEP, STEP + 1, 2 * STEP + 88)
WINDOWS = (None, 1, 2, 100, STEP, STEP + 1, 3 * STEP)


def drawn(length: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return [
        (torch.randn(2, heads, length, 8, generator=generator) * 2).to(dtype).requires_grad_() for heads in (4, 2, 2)
    ]


def reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None, softcap: float | None
) -> torch.Tensor:
    key, value = (x.double().repeat_interleave(2, 1) for x in (key, value))
    scores = query.double() @ key.transpose(2, 3) * scale
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    behind = torch.arange(query.shape[2])[:, None] - torch.arange(query.shape[2])
    seen = (behind >= 0) & (behind < (window or query.shape[2]))
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("length", LENGTHS)
def test_blocks_compute_what_the_whole_matrix_does(length: int, window: int | None, softcap: float | None) -> None:
    parts = drawn(length)
    ours, whole = (f(*parts, 0.3, window, softcap) for f in (attend_in_blocks, reference))
    assert torch.allclose(ours.double(), whole, rtol=1e-5, atol=1e-5)
    out_of = torch.randn(whole.shape, generator=torch.Generator().manual_seed(3))
    pairs = zip(
        torch.autograd.grad(ours, parts, out_of), torch.autograd.grad(whole, parts, out_of.double()), strict=True
    )
    assert all(torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4) for mine, theirs in pairs)


def test_gradients_of_half_precision_are_added_up_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "STEP", 16)  # each key is read by 32 blocks
    parts = drawn(768, torch.bfloat16)
    exact = [part.detach().double().requires_grad_() for part in parts]
    out_of = torch.randn(2, 4, 768, 8, generator=torch.Generator().manual_seed(3)).bfloat16()
    ours = torch.autograd.grad(attend_in_blocks(*parts, 0.3, 512, None), parts, out_of)
    whole = torch.autograd.grad(reference(*exact, 0.3, 512, None), exact, out_of.double())
    for mine, theirs in zip(ours, whole, strict=True):
        assert (mine - theirs).norm() < 6e-3 * theirs.norm()


def test_the_scores_of_a_block_stay_within_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, heads, length = 2, 4, 2 * STEP
    monkeypatch.setattr(blocks, "SCORES", rows * heads * length * 32)
    sizes = []
    capped = blocks._capped
    monkeypatch.setattr(
        blocks,
        "_capped",
        lambda query, key, *rest: (sizes.append(query.shape[2] * key.shape[2]), capped(query, key, *rest))[1],
    )
    attend_in_blocks(*drawn(length), 0.3, None, 3.0)
    assert max(sizes) * rows * heads <= blocks.SCORES


def test_a_second_derivative_is_refused() -> None:
    parts = drawn(8)
    total = attend_in_blocks(*parts, 0.3, 4, None).sum()
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(total, parts, create_graph=True)
