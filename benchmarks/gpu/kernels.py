"""Attention on the GPU against a float64 reference, document by document: forward, gradients, leaks and speed."""

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.gpu.place import DEVICE, GPU, Report, error, free, peak_gb, seconds, wait
from longreach.errors import UserError
from longreach.model import attention as attentions
from longreach.model import kernels
from longreach.model.attention import attention, register, whole_rows
from longreach.model.isolation import check_isolation
from longreach.model.load import new_model
from longreach.model.rope import NONE, Rope

ROWS = ((1, 700, 130, 1217), (2048,), (3, 64, 65, 1000, 916))  # documents of each row
UNEVEN = ((1, 700, 130, 1169), (2000,))  # no whole number of blocks of 128
CLOSE = {torch.bfloat16: 1e-2, torch.float32: 1e-4}


class Shape(NamedTuple):
    """One layer's attention."""

    heads: int = 8
    kv_heads: int = 2
    size: int = 128
    value_size: int = 0  # 0: as the queries
    window: int | None = None
    softcap: float | None = None
    dtype: torch.dtype = torch.bfloat16
    rows: tuple[tuple[int, ...], ...] = ROWS

    def __str__(self) -> str:
        named = {
            f"values of {self.value_size}": self.value_size,
            f"window {self.window}": self.window,
            f"softcap {self.softcap}": self.softcap,
            f"rows of {sum(self.rows[0])}": self.rows is not ROWS,
        }
        extras = [name for name, there in named.items() if there]
        kind = "fp32" if self.dtype == torch.float32 else "bf16"
        return ", ".join([f"{self.heads}/{self.kv_heads} heads of {self.size} {kind}", *extras])


VARLEN = (
    Shape(8, 8, 64),
    Shape(8, 2, 64),
    Shape(8, 2, 128),
    Shape(8, 2, 128, window=100),
    Shape(8, 2, 128, rows=UNEVEN),
    Shape(8, 1, 256),
    Shape(8, 8, 192, 128),
    Shape(4, 2, 32),
)
SHORT = ((64,), (64,))
FLEX = (
    Shape(8, 2, 64),
    Shape(16, 4, 128, rows=SHORT),
    Shape(8, 2, 128, window=100),
    Shape(8, 2, 128, softcap=30.0),
    Shape(8, 2, 128, dtype=torch.float32),
    Shape(8, 2, 128, rows=UNEVEN),
    Shape(8, 1, 256, window=100, softcap=50.0),
)


def varlen(report: Report, work: Path, tiny: bool) -> None:
    """The kernel of torch."""
    report(
        "the kernel that is chosen", bf16=chosen(), capped=chosen(capped=True), takes=sorted(kernels._varlen_takes())
    )
    check(report, kernels.VARLEN, VARLEN)


def flex(report: Report, work: Path, tiny: bool) -> None:
    """Flex attention, compiled."""
    check(report, kernels.FLEX, FLEX)


def chosen(capped: bool = False) -> str:
    """What longreach takes for heads of 128."""
    return kernels.choose(torch.bfloat16, 128, capped) if GPU else "the CPU's"


def force(kernel: str) -> None:
    """Take this kernel for everything."""
    kernels.choose = lambda *_: kernel  # type: ignore[assignment]


def check(report: Report, kernel: str, shapes: Sequence[Shape]) -> None:
    """Errors against the reference, and whether another first document changes what comes after it."""
    force(kernel)
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    for shape in shapes:
        begun = time.perf_counter()
        query, key, value, grad = drawn(shape)
        found = gradients(lambda q, k, v, shape=shape: ours(q, k, v, shape), query, key, value, grad)
        wanted = gradients(lambda q, k, v, shape=shape: reference(q, k, v, shape), *doubled(query, key, value, grad))
        errors = [error(one, other) for one, other in zip(found, wanted, strict=True)]
        close = max(errors) < CLOSE[shape.dtype]
        leak = leaked(query, key, value, shape)
        took = time.perf_counter() - begun
        report(str(shape), ok=close and leak == 0, out_q_k_v=errors, leak=leak, seconds=took)


def drawn(shape: Shape) -> list[torch.Tensor]:
    """Query, key, value and the gradient of the output."""
    draw = torch.Generator(DEVICE).manual_seed(1)
    rows, length, wide = len(shape.rows), sum(shape.rows[0]), shape.value_size or shape.size
    sizes = ((shape.heads, shape.size), (shape.kv_heads, shape.size), (shape.kv_heads, wide))
    tensors = [torch.randn(rows, heads, length, size, generator=draw, device=DEVICE) for heads, size in sizes]
    tensors.append(torch.randn(rows, length, shape.heads, wide, generator=draw, device=DEVICE))
    return [tensor.to(shape.dtype) for tensor in tensors]


def doubled(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.double() for tensor in tensors]


def gradients(attend: Any, query: Any, key: Any, value: Any, grad: Any) -> list[torch.Tensor]:
    """The output, and the gradients of query, key and value."""
    leaves = [tensor.detach().requires_grad_() for tensor in (query, key, value)]
    out = attend(*leaves)
    return [out, *torch.autograd.grad(out, leaves, grad)]


def positions(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Anew for every document."""
    return torch.stack([torch.cat([torch.arange(length) for length in row]) for row in rows]).to(DEVICE)


def ours(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, shape: Shape) -> torch.Tensor:
    """As a layer of a model calls it."""
    mask = whole_rows(shape.window, DEVICE)
    at = positions(shape.rows)
    return attention(torch.nn.Identity(), query, key, value, mask, softcap=shape.softcap, position_ids=at)[0]


def reference(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The plain formula, one document after the other."""
    key, value = (x.repeat_interleave(shape.heads // shape.kv_heads, 1) for x in (key, value))
    rows = []
    for number, lengths in enumerate(shape.rows):
        bounds = torch.tensor([0, *lengths]).cumsum(0).tolist()
        parts = [
            plain(query[number, :, a:b], key[number, :, a:b], value[number, :, a:b], shape) for a, b in pairwise(bounds)
        ]
        rows.append(torch.cat(parts, 1))
    return torch.stack(rows).transpose(1, 2)


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, shape: Shape) -> torch.Tensor:
    """[H, T, D] of one document."""
    scores = query @ key.transpose(1, 2) * shape.size**-0.5
    if shape.softcap:
        scores = shape.softcap * torch.tanh(scores / shape.softcap)
    at = torch.arange(query.shape[1], device=query.device)
    behind = at[:, None] - at
    seen = (behind >= 0) & (behind < (shape.window or len(at)))
    return scores.masked_fill(~seen, -torch.inf).softmax(-1) @ value


def leaked(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, shape: Shape) -> float:
    """The largest change of the later documents where the first one of each row is another."""
    with torch.no_grad():
        before = ours(query, key, value, shape)
        other = [tensor.clone() for tensor in (query, key, value)]
        for tensor in other:
            for number, lengths in enumerate(shape.rows):
                tensor[number, :, : lengths[0]] = 3 - tensor[number, :, : lengths[0]]
        after = ours(*other, shape)
    changes = [torch.zeros((), device=DEVICE)] + [
        (before[number, lengths[0] :] - after[number, lengths[0] :]).abs().max()
        for number, lengths in enumerate(shape.rows)
        if len(lengths) > 1
    ]
    return float(torch.stack(changes).max())


def lengths(report: Report, work: Path, tiny: bool) -> None:
    """Flex attention on rows of ever other lengths, as sft has them: it must not be compiled anew each time."""
    force(kernels.FLEX)
    times, worst = [], 0.0
    for number in range(12):
        row = (17 + 31 * number, 500 + 97 * number, 240 - 13 * number)
        shape = Shape(8, 2, 64, rows=(row,))
        query, key, value, grad = drawn(shape)
        begun = time.perf_counter()
        found = gradients(lambda q, k, v, shape=shape: ours(q, k, v, shape), query, key, value, grad)
        wait()
        times.append(time.perf_counter() - begun)
        wanted = gradients(lambda q, k, v, shape=shape: reference(q, k, v, shape), *doubled(query, key, value, grad))
        worst = max(worst, *(error(one, other) for one, other in zip(found, wanted, strict=True)))
    report("flex, 12 rows of other lengths", ok=worst < 1e-2, worst_error=worst, seconds=times)


def speed(report: Report, work: Path, tiny: bool) -> None:
    """One layer of a 7B or 8B model on a row of 32k tokens, forward and backward."""
    tokens = 512 if tiny else 32_768
    for count in (1, 32):
        for kernel in (kernels.VARLEN, kernels.FLEX):
            force(kernel)
            for kv_heads in (8,):
                shape = Shape(32, kv_heads, 128, rows=((tokens // count,) * count,))
                query, key, value, grad = drawn(shape)
                free()
                both = seconds(lambda shape=shape, q=query, k=key, v=value, g=grad: step(q, k, v, g, shape))
                pairs = count * (tokens / count) ** 2 / 2  # causal: half of the square
                flops = 3.5 * 4 * 32 * 128 * pairs  # forward 2 products, backward 5
                report(
                    f"{count} x {tokens // count} tokens, 32/{kv_heads} heads, {kernel.split(' instead')[0]}",
                    ms=1e3 * both,
                    causal_tflops=flops / both / 1e12,
                    peak_gb=peak_gb(),
                )


def step(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, grad: torch.Tensor, shape: Shape) -> None:
    gradients(lambda q, k, v: ours(q, k, v, shape), query, key, value, grad)


SMALL = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 256,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "initializer_range": 0.2,  # so that what a document says is heard
}
FAMILIES = {
    "llama": {},
    "mistral": {"sliding_window": 16},
    "qwen3": {},
    "gemma2": {"sliding_window": 16, "query_pre_attn_scalar": 32},
}


def isolation(report: Report, work: Path, tiny: bool) -> None:
    """The proof of every training run, with the model on the GPU; and that it sees a leak."""
    for family, extra in FAMILIES.items():
        settings = {"model_type": family, **SMALL, **extra}
        model = new_model(family, Rope(NONE), 256, 0, "float32", register(), settings=settings).to(DEVICE)
        check_isolation(model)
        report(f"{family}: documents apart", ok=True)
        report(f"{family}: a planted leak is seen", ok=leak_is_seen(model))


def leak_is_seen(model: torch.nn.Module) -> bool:
    """Where every row is taken for one document."""
    apart = attentions.documents_of
    attentions.documents_of = lambda at, rows: apart(torch.arange(at.shape[1], device=at.device)[None], rows)
    try:
        check_isolation(model)
    except UserError:
        return True
    finally:
        attentions.documents_of = apart
    return False
