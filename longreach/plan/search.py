"""The least change that makes a training run fit, and the longest rows of a layout.

Changes are tried one after the other, each on top of those before it, in the order of the trouble that they make; once
it fits, whatever turns out to be superfluous is taken back, the worst first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from longreach.model.flops import Shape
from longreach.model.parallel.mode import SHARD_GRAD_OP
from longreach.plan.gpus import Node
from longreach.plan.host import host
from longreach.plan.layout import (
    ADAPTERS,
    DDP,
    FSDP,
    LORA,
    OPTIMIZER,
    QLORA,
    ZERO,
    ZERO1,
    ZERO2,
    ZERO3,
    Layout,
    problems,
)
from longreach.plan.memory import memory

FURTHEST = 2**28  # tokens: no longer row is looked for
GRAIN = 1_024  # lengths are told in these
MOST_GPUS = 8_192
FURTHER = {
    DDP: FSDP,
    LORA: FSDP,
    SHARD_GRAD_OP: FSDP,
    ZERO1: ZERO3,
    ZERO2: ZERO3,
}  # FSDP: no DeepSpeed, and 2 bytes less


@dataclass(frozen=True)
class Change:
    """One thing that is done otherwise, and the trouble with it."""

    name: str
    trouble: str
    values: Mapping[str, Any] = field(default_factory=dict)
    offload: frozenset[str] = frozenset()


def changes(shape: Shape, layout: Layout, node: Node) -> Iterator[Change]:
    """In their order; all of them are run today, but for a base of 4 bits by `pretrain`."""
    yield Change("one row at once", "smaller products, a little slower", {"rows": 1})
    yield Change("gradient checkpointing", "a third more computing", {"checkpointing": True})
    if layout.mode in FURTHER:
        mode = FURTHER[layout.mode]
        yield Change(mode, "GPUs share optimizer, gradients and weights, and gather each block", {"mode": mode})
    if layout.mode != QLORA:
        for degree in _degrees(shape, layout, node):
            yield Change(f"{degree} GPUs to a row", "they share it by heads", {"sequence_parallel": degree})
    if layout.mode in ADAPTERS and layout.sequence_parallel == 1:
        whole = {"mode": QLORA, "sequence_parallel": 1}
        yield Change("a base of 4 bits", "slower, and the adapter learns around its rounding", whole)
    if layout.mode in {DDP, *ZERO}:
        yield Change("optimizer on the host", "every step waits for it", {"mode": ZERO3}, frozenset({OPTIMIZER}))


def _degrees(shape: Shape, layout: Layout, node: Node) -> Iterator[int]:
    """2, 4, 8, ... GPUs of a node that can share a row, more than do."""
    degrees = (2**power for power in range(1, min(layout.gpus, node.gpus).bit_length()))
    return (
        degree
        for degree in degrees
        if degree > layout.sequence_parallel and not (layout.gpus % degree or shape.heads % degree)
    )


def applied(layout: Layout, done: Sequence[Change]) -> Layout:
    """With all changes."""
    for change in done:
        layout = replace(layout, **change.values, offload=layout.offload | change.offload)
    return layout


def fits(shape: Shape, layout: Layout, node: Node) -> bool:
    """Whether it can be laid out so, and there is room for it."""
    return not problems(layout, shape) and has_room(shape, layout, node)


def has_room(shape: Shape, layout: Layout, node: Node) -> bool:
    """Whether GPU and host have the memory."""
    beside = host(shape, layout, node).fullest
    return memory(shape, layout).total <= node.gpu.room_gb and (not node.host_gb or beside <= node.host_gb)


def least_change(shape: Shape, layout: Layout, node: Node) -> tuple[Layout, tuple[Change, ...]] | None:
    """The layout that fits with the least trouble, and what was changed; None where nothing helps."""
    if fits(shape, layout, node):
        return layout, ()
    done: list[Change] = []
    for change in changes(shape, layout, node):
        done.append(change)
        if fits(shape, applied(layout, done), node):
            needed = _needed(shape, layout, node, done)
            return applied(layout, needed), tuple(needed)
    return None


def _needed(shape: Shape, layout: Layout, node: Node, done: list[Change]) -> list[Change]:
    """Those without which it does not fit."""
    needed = done
    for change in reversed(done):
        fewer = [each for each in needed if each is not change]
        if fits(shape, applied(layout, fewer), node):
            needed = fewer
    return needed


def fewest_gpus(shape: Shape, layout: Layout, node: Node) -> int | None:
    """Twice, four times, ... as many until some layout fits; None where more do not help."""
    gpus = layout.gpus
    while gpus <= MOST_GPUS:
        if least_change(shape, replace(layout, gpus=gpus), node):
            return gpus
        gpus *= 2
    return None


def adapter_instead(shape: Shape, layout: Layout, node: Node, rank: int) -> Layout | None:
    """An adapter that fits on weights that are not in 4 bits, with what longreach runs today."""
    adapter = Layout(mode=LORA, gpus=layout.gpus, seq_len=layout.seq_len, rows=layout.rows, lora=rank)
    found = least_change(shape, adapter, node) if layout.mode == DDP else None
    return found[0] if found and found[0].mode != QLORA else None


def longest_rows(shape: Shape, layout: Layout, node: Node) -> int:
    """Tokens of the longest row that fits, one at once, a multiple of 1,024; 0 for none."""
    short, long = 0, FURTHEST // GRAIN
    while short < long:
        middle = (short + long + 1) // 2
        if has_room(shape, replace(layout, seq_len=middle * GRAIN, rows=1), node):
            short = middle
        else:
            long = middle - 1
    return short * GRAIN
