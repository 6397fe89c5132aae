"""The loss against one that holds all logits in fp64, and its sums however the tokens are cut up."""

import gc
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from longreach.model import loss as module
from longreach.model.loss import Finish, losses

ROWS, LENGTH, SIZE, WORDS = 2, 97, 24, 300
HOW: dict[str, dict[str, Any]] = {
    "plain": {},
    "capped": {"softcap": 3.0},
    "scaled": {"scale": 0.25},
    "all": {"softcap": 3.0, "scale": 2.5, "bias": True},
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks of positions and several tiles of words, the last of each not full."""
    monkeypatch.setattr(module, "LOGITS", 70 * WORDS)
    monkeypatch.setattr(module, "TILE", 128)


def drawn(dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, head and bias; logits of a few units."""
    generator = torch.Generator().manual_seed(0)
    shapes = (ROWS, LENGTH, SIZE), (WORDS, SIZE), (WORDS,)
    hidden, head, bias = (
        (0.7 * torch.randn(shape, generator=generator)).to(dtype).requires_grad_() for shape in shapes
    )
    return hidden, head, bias


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, and weights of which a third is 0 and the others are fractions."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, WORDS, (ROWS, LENGTH), generator=generator)
    weights = torch.rand(ROWS, LENGTH, generator=generator) * (torch.rand(ROWS, LENGTH, generator=generator) > 0.3)
    weights[:, 0] = 0
    return tokens, weights


def reference(
    hidden: torch.Tensor,
    head: torch.Tensor,
    tokens: torch.Tensor,
    bias: Any = None,
    softcap: Any = None,
    scale: float = 1,
) -> torch.Tensor:
    """Cross entropies [B, T] in fp64, by all logits."""
    logits = hidden.double() @ head.double().T
    logits = (logits if bias is None else logits + bias.double()) * scale
    logits = softcap * torch.tanh(logits / softcap) if softcap else logits
    each = cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return torch.nn.functional.pad(each.view(len(tokens), -1), (1, 0))


def weighted_loss(
    *given: torch.Tensor, bias: torch.Tensor | None = None, softcap: float | None = None, scale: float = 1
) -> torch.Tensor:
    return losses(*given, bias=bias, finish=Finish(scale, softcap))[0]


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", HOW)
def test_loss_and_gradients_are_those_of_all_logits_in_fp64(name: str, dtype: torch.dtype) -> None:
    hidden, head, bias = drawn(dtype)
    (tokens, weights), how = batch(), dict(HOW[name])
    given = [hidden, head, bias] if how.get("bias") else [hidden, head]
    how |= {"bias": bias} if how.get("bias") else {}
    ours = weighted_loss(hidden, head, tokens, weights, **how)
    exact = (reference(hidden, head, tokens, **how) * weights).sum()
    assert ours.dtype == torch.float32 and ours.shape == ()
    assert error(ours, exact) < 1e-6
    scaling = torch.tensor(0.37)
    pairs = zip(
        torch.autograd.grad(ours, given, scaling), torch.autograd.grad(exact, given, scaling.double()), strict=True
    )
    for (mine, theirs), of in zip(pairs, given, strict=True):
        assert mine.dtype == of.dtype
        assert error(mine, theirs) < (2e-6 if dtype == torch.float32 else 5e-3)


def test_the_gradient_of_a_bf16_head_is_rounded_once() -> None:
    """Dozens of chunks added up in bf16 would be some ten times farther off."""
    hidden, head, _ = drawn(torch.bfloat16)
    tokens, weights = batch()
    (ours,) = torch.autograd.grad(weighted_loss(hidden, head, tokens, weights), head)
    exact_head = head.detach().double().requires_grad_()
    (exact,) = torch.autograd.grad((reference(hidden, exact_head, tokens) * weights).sum(), exact_head)
    assert (ours - exact).abs().max() <= 2**-8 * exact.abs().max()
    assert error(ours, exact) < 2**-8


def test_token_losses_are_the_cross_entropies_without_gradient() -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    each = losses(hidden, head, tokens, weights, finish=Finish(softcap=3.0))[1]
    assert not each.requires_grad and each.dtype == torch.float32
    assert not each[weights == 0].any()
    assert error(each, reference(hidden, head, tokens, softcap=3.0) * (weights != 0)) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_does_not_round_the_products(dtype: torch.dtype) -> None:
    hidden, head, _ = drawn(dtype)
    tokens, weights = batch()
    with torch.autocast("cpu", torch.bfloat16):
        ours = weighted_loss(hidden, head, tokens, weights)
    assert error(ours, (reference(hidden, head, tokens) * weights).sum()) < 1e-6


def test_hidden_states_and_head_may_differ_in_type() -> None:
    """PEFT keeps norms in fp32 over a head in bf16."""
    hidden, _, _ = drawn()
    head = drawn(torch.bfloat16)[1]
    tokens, weights = batch()
    ours = weighted_loss(hidden, head, tokens, weights)
    ours.backward()
    assert error(ours, (reference(hidden, head, tokens) * weights).sum()) < 1e-6
    assert (hidden.grad.dtype, head.grad.dtype) == (torch.float32, torch.bfloat16)


def gradients(batches: list[tuple[torch.Tensor, ...]], head: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and gradient of the head, summed over batches (hidden, tokens, weights)."""
    head.grad = None
    total = torch.zeros(())
    for hidden, tokens, weights in batches:
        found = weighted_loss(hidden, head, tokens, weights)
        found.backward()
        total += found.detach()
    assert head.grad is not None
    return total, head.grad.clone()


def test_one_batch_micro_batches_padding_and_packing_give_the_same_sums() -> None:
    hidden, head, _ = drawn()
    (tokens, weights), hidden = batch(), hidden.detach()
    weights[1, 60:] = 0  # the second document is shorter
    both = (hidden, tokens, weights)
    one_by_one = [tuple(x[row : row + 1] for x in both) for row in range(ROWS)]
    trimmed = [one_by_one[0], tuple(x[:, :60] for x in one_by_one[1])]
    packed = [tuple(torch.cat([x.flatten(0, 1) for x in parts])[None] for parts in zip(*trimmed, strict=True))]
    pad = torch.nn.functional.pad
    padded = [(pad(hidden, (0, 0, 0, 31), value=9.0), pad(tokens, (0, 31)), pad(weights, (0, 31)))]
    total, of_head = gradients([both], head)
    for way in (one_by_one, trimmed, packed, padded):
        again, of_head_again = gradients(way, head)
        assert error(again, total) < 1e-6
        assert error(of_head_again, of_head) < 1e-6


def test_only_what_learns_gets_a_gradient() -> None:
    hidden, head, bias = drawn()
    tokens, weights = batch()
    everything = torch.autograd.grad(weighted_loss(hidden, head, tokens, weights, bias=bias), (hidden, head, bias))
    for learning, expected in zip((0, 1, 2), everything, strict=True):
        parts = [x.detach().requires_grad_(i == learning) for i, x in enumerate((hidden, head, bias))]
        found = weighted_loss(parts[0], parts[1], tokens, weights, bias=parts[2])
        assert [x is not None for x in found.grad_fn.gradients] == [i == learning for i in range(3)]
        assert torch.equal(torch.autograd.grad(found, parts[learning])[0], expected)


def test_nothing_but_gradients_outlives_the_forward_pass() -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    before = {id(x) for x in gc.get_objects() if type(x) is torch.Tensor}
    total = weighted_loss(hidden, head, tokens, weights)
    kept = [x for x in gc.get_objects() if type(x) is torch.Tensor and id(x) not in before and x is not total]
    assert sorted(x.numel() for x in kept if x.numel() > 1) == sorted([hidden.numel(), head.numel()])
    assert not total.grad_fn.saved_tensors


def test_logits_are_never_held_for_all_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    seen = []
    found = module._exponentiate_
    monkeypatch.setattr(
        module, "_exponentiate_", lambda logits, targets: (seen.append(len(logits)), found(logits, targets))[1]
    )
    weighted_loss(hidden, head, tokens, weights)
    assert max(seen) == 70 and sum(seen) == int((weights != 0).sum())


def test_a_batch_without_trained_tokens_has_zero_gradients() -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    total = weighted_loss(hidden, head, tokens, weights * 0)
    total.backward()
    assert total == 0 and not hidden.grad.any() and not head.grad.any()


def test_a_weight_where_nothing_stands_before_is_refused() -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    weights[1, 0] = 1
    with pytest.raises(ValueError, match="first token of a row"):
        weighted_loss(hidden, head, tokens, weights)


def test_gradients_are_given_once_and_have_no_derivative() -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    total = weighted_loss(hidden, head, tokens, weights)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(total, head, create_graph=True)
    torch.autograd.grad(total, head, retain_graph=True)
    with pytest.raises(RuntimeError, match="given away"):
        torch.autograd.grad(total, head)


def test_numbers_that_are_none_show_in_the_loss() -> None:
    hidden, head, _ = drawn()
    tokens, weights = batch()
    weights[0, 5] = 1
    with torch.no_grad():
        hidden[0, 4, 0] = torch.nan
    assert weighted_loss(hidden, head, tokens, weights).isnan()
