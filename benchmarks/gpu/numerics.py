"""RoPE at long range and the loss, against references in higher precision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from benchmarks.gpu.place import DEVICE, GPU, Report, error, free, held_gb, out_of_memory, peak_gb, seconds
from longreach.model import loss
from longreach.model.attention import register
from longreach.model.load import load_model, new_model
from longreach.model.loss import losses
from longreach.model.rope import Rope, frequencies
from longreach.model.rotary import check_rope, emitted, rotaries

BASE, LONGEST = 500_000.0, 131_072
LLAMA = {
    "model_type": "llama",
    "vocab_size": 1024,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "initializer_range": 0.08,  # sharp enough that attention goes by positions
}


def rope(report: Report, work: Path, tiny: bool) -> None:
    """Frequencies, angles and logits of a model loaded our way, beside one that was cast."""
    folder = work / "rope"
    new_model("llama", Rope("none"), 4096, 0, "float32", settings=LLAMA).save_pretrained(folder)
    changed, half = Rope("abf", BASE), {"dtype": "bfloat16", "attention": register()}
    model, _ = load_model(str(folder), changed, LONGEST, **half)
    exact, _ = load_model(str(folder), changed, LONGEST, dtype="float32", attention=register())
    cast, _ = load_model(str(folder), changed, LONGEST, dtype="float32", attention=register())
    cast = cast.to(torch.bfloat16)
    models = {"ours": model.to(DEVICE), "model.to(bfloat16)": cast.to(DEVICE)}
    for name, each in models.items():
        report(name, inv_freq=str(next(rotaries(each)).inverse.dtype), **angle_errors(each))
    trained(models["ours"])
    check_rope(models["ours"])
    report("ours, after three steps", ok=next(rotaries(model)).inverse.dtype == torch.float32)
    fresh, _ = load_model(str(folder), changed, LONGEST, **half)
    asked = {
        "bfloat16 weights, ours": fresh.to(DEVICE),
        "float32 weights, autocast": exact.to(DEVICE),
        "model.to(bfloat16)": models["model.to(bfloat16)"],
    }
    far(report, exact, asked, 1024 if tiny else 32_768)


def angle_errors(model: Any) -> dict[str, float]:
    """The largest error of cosines and sines at every position, for queries in float32 and in bfloat16."""
    rotary = next(rotaries(model))
    wanted = frequencies(model.config.rope_parameters, 2 * rotary.inverse.numel())
    at = torch.arange(LONGEST, device=DEVICE)
    angles = at[:, None].double() * torch.tensor(wanted.inverse, dtype=torch.float64, device=DEVICE)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        pairs = zip(emitted(rotary, at[None], dtype), (angles.cos(), angles.sin()), strict=True)
        worst = max(float((given[:, : angles.shape[1]].double() - true).abs().max()) for given, true in pairs)
        found[f"error_{str(dtype).removeprefix('torch.')}"] = worst
    return found


def trained(model: Any) -> None:
    """A few steps in bfloat16, as whoever trains has them."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    tokens = torch.randint(0, 1024, (1, 256), device=DEVICE)
    at = torch.arange(256, device=DEVICE)[None]
    for _ in range(3):
        with torch.autocast(DEVICE.type, torch.bfloat16):
            logits = model(input_ids=tokens, position_ids=at, use_cache=False).logits
        functional.cross_entropy(logits[0, :-1].float(), tokens[0, 1:]).backward()
        optimizer.step()
        optimizer.zero_grad()


def far(report: Report, exact: Any, models: dict[str, Any], tokens: int) -> None:
    """The last logits of a long row: how far from float32, and how far they move where all positions move."""
    torch.manual_seed(2)
    row = torch.randint(0, 1024, (1, tokens), device=DEVICE)
    wanted = tail(exact, row, 0)
    shift = LONGEST - tokens
    report(f"float32, row of {tokens}", shifted=error(tail(exact, row, shift), wanted))
    for name, model in models.items():
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=model is exact):
            here, there = tail(model, row, 0), tail(model, row, shift)
        report(f"{name}, row of {tokens}", from_float32=error(here, wanted), shifted=error(there, here))


def tail(model: Any, row: torch.Tensor, shift: int) -> torch.Tensor:
    """The logits of the last 256 tokens."""
    at = shift + torch.arange(row.shape[1], device=DEVICE)[None]
    with torch.no_grad():
        hidden = model.get_decoder()(input_ids=row, position_ids=at, use_cache=False).last_hidden_state
        logits: torch.Tensor = model.lm_head(hidden[:, -256:]).float()
    return logits


# The loss


def loss_exact(report: Report, work: Path, tiny: bool) -> None:
    """Loss and gradients against float32 full logits, with the head in float32 (training) and in bfloat16."""
    tokens, words, hidden = (256, 1000, 64) if tiny else (4096, 32_000, 4096)
    for dtype in (torch.float32, torch.bfloat16):
        states, head, targets, weights = drawn(tokens, words, hidden, dtype)
        exact = [tensor.detach().float().requires_grad_() for tensor in (states, head)]
        told = full(exact[0], exact[1], targets, torch.float32)
        wanted = [told.detach(), *torch.autograd.grad(told, exact)]
        for name, way in ways(dtype).items():
            leaves = [states.detach().requires_grad_(), head.detach().requires_grad_()]
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=dtype == torch.float32):
                found = way(*leaves, targets, weights)
            result = [found, *torch.autograd.grad(found, leaves)]
            errors = [error(one, other) for one, other in zip(result, wanted, strict=True)]
            report(f"{name}, head in {str(dtype).removeprefix('torch.')}", loss_hidden_head=errors)


Way = Callable[[Any, Any, Any, Any], torch.Tensor]


def ways(dtype: torch.dtype) -> dict[str, Way]:
    """How the loss can be computed here."""
    found: dict[str, Way] = {
        "ours": lambda states, head, targets, weights: losses(states, head, targets, weights)[0],
        "full logits": lambda states, head, targets, _: full(states, head, targets, torch.bfloat16),
    }
    if "linear_cross_entropy" in dir(functional):
        options = torch.nn.LinearCrossEntropyOptions()
        found["torch's linear_cross_entropy"] = lambda states, head, targets, _: functional.linear_cross_entropy(
            states[0, :-1], head.to(states.dtype), targets[0, 1:], reduction="sum", options=options
        )
    return found


def full(states: torch.Tensor, head: torch.Tensor, targets: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """As transformers has it: all logits, then in float32."""
    return functional.cross_entropy(
        (states[0, :-1].to(dtype) @ head.to(dtype).T).float(), targets[0, 1:], reduction="sum"
    )


def drawn(tokens: int, words: int, hidden: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Hidden states in bfloat16, a head, tokens and weights."""
    draw = torch.Generator(DEVICE).manual_seed(3)
    states = torch.randn(1, tokens, hidden, generator=draw, device=DEVICE).to(torch.bfloat16)
    head = (torch.randn(words, hidden, generator=draw, device=DEVICE) * 2 * hidden**-0.5).to(dtype)
    targets = torch.randint(0, words, (1, tokens), generator=draw, device=DEVICE)
    weights = torch.ones(1, tokens, device=DEVICE)
    weights[:, 0] = 0
    return states, head, targets, weights


def loss_speed(report: Report, work: Path, tiny: bool) -> None:
    """Memory added and time, forward and backward together."""
    hidden = 64 if tiny else 4096
    for words in (1000,) if tiny else (32_000, 128_256):
        for tokens in (256,) if tiny else (16_384, 32_768):
            for dtype in (torch.float32, torch.bfloat16):
                one(report, tokens, words, hidden, dtype)


def one(report: Report, tokens: int, words: int, hidden: int, dtype: torch.dtype) -> None:
    """Every way on one size."""
    for name, way in ways(dtype).items():
        states, head, targets, weights = drawn(tokens, words, hidden, dtype)
        states.requires_grad_(), head.requires_grad_()

        def work(way: Way = way, given: Any = (states, head, targets, weights)) -> None:
            given[0].grad = given[1].grad = None
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=given[1].dtype == torch.float32):
                found = way(*given)
            found.backward()

        free()
        before = held_gb()
        what = f"{tokens} x {words}, head {str(dtype).removeprefix('torch.')}, {name}"
        if out_of_memory(work):
            states = head = targets = weights = None  # type: ignore[assignment]
            report(what, result="does not fit")
            continue
        added = peak_gb() - before
        took = seconds(work, rounds=3, warm_up=1)
        products = 3 * 2 * tokens * words * hidden  # logits, and the gradients of both factors
        report(what, added_gb=added, ms=1e3 * took, tflops=products / took / 1e12 if GPU else 0.0)


def loss_sizes(report: Report, work: Path, tiny: bool) -> None:
    """How large chunks of logits and tiles of the head should be."""
    tokens, hidden = (256, 64) if tiny else (32_768, 4096)
    for words in (1000,) if tiny else (32_000, 128_256):
        for dtype in (torch.float32, torch.bfloat16):
            states, head, targets, weights = drawn(tokens, words, hidden, dtype)
            leaves = [states.requires_grad_(), head.requires_grad_()]
            first: list[torch.Tensor] = []
            for logits, tile in ((26, 12), (27, 12), (28, 12), (28, 14), (28, 20)):
                loss.LOGITS_ON_GPU, loss.TILE = 2**logits, 2**tile
                what = f"{words}, head {str(dtype).removeprefix('torch.')}, 2^{logits}, tile 2^{tile}"
                first = tried(report, what, leaves, targets, weights, first)


def tried(report: Report, what: str, leaves: Any, targets: Any, weights: Any, first: Any) -> Any:
    """One way, and how far it is from the first one."""

    def work() -> list[torch.Tensor]:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=leaves[1].dtype == torch.float32):
            found = losses(*leaves, targets, weights)[0]
        return [found.detach(), *torch.autograd.grad(found, leaves)]

    free()
    before = held_gb()
    result = work()
    added = peak_gb() - before
    errors = [error(one, other) for one, other in zip(result, first or result, strict=True)]
    took = seconds(lambda: work() and None, rounds=2, warm_up=0)
    report(what, added_gb=added, ms=1e3 * took, from_first=max(errors))
    return first or result
