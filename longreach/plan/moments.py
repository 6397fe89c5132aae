"""The moments of a training step at which one GPU may hold most.

They compete: the loss, when all blocks have been through; the backward pass of the last block's MLP, and of its
attention, when all that the others kept is still there; where gradients are shared, the reduction of a full bucket
(ZeRO) or of embedding and head (FSDP); ZeRO 3's step, which copies gradients; where host and device are one, the
writing of a checkpoint.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from longreach.model.flops import Shape
from longreach.plan.activations import (
    FP32,
    attention_in_flight,
    mlp_in_flight,
)
from longreach.plan.layout import FSDPS, OPTIMIZER, WHOLE, ZERO, ZERO1, ZERO3, Layout
from longreach.plan.pieces import (
    before_mlp_bytes,
    block_casts,
    cast_bytes,
    gathered_bytes,
    gathered_outside,
    gathered_until_backward,
    kept_bytes,
    last_bytes,
    learning_of_block,
    learning_outside,
    loss_bytes,
    numbers_of,
    recomputed_bytes,
    summed_together,
    sums_whole,
    unpacked_bytes,
    written_bytes,
)
from longreach.plan.states import trained

TILES = 16  # of a tiled MLP (ALST, arXiv:2506.13996), of which one is there at a time
LOSS, MLP, ATTENTION = "loss", "backward of an MLP", "backward of attention"
REDUCTION, STEP = "reduction of gradients", "step of the optimizer"
WRITING = "writing of a checkpoint"
SUB_GROUP = 1_000_000_000  # parameters of one GPU that ZeRO 3 steps at once, DeepSpeed's default


@dataclass(frozen=True)
class Moment:
    """Bytes beside the states."""

    name: str
    activations: float
    logits: float
    buffers: float

    @property
    def total(self) -> float:
        """Of all three."""
        return self.activations + self.logits + self.buffers


def moments(shape: Shape, layout: Layout) -> list[Moment]:
    """Those that compete."""
    return [*_passes(shape, layout), *_reductions(shape, layout), *_writing(shape, layout)]


def _passes(shape: Shape, layout: Layout) -> list[Moment]:
    """The loss, and the backward pass of the last block."""
    numbers, tokens = numbers_of(layout), layout.tokens
    kept, casts = kept_bytes(shape, layout), cast_bytes(shape, layout)
    returned = shape.hidden * numbers.stream  # the gradient that the loss hands back
    there = casts if not layout.checkpointing else block_casts(shape, layout)
    mlp = kept + recomputed_bytes(shape, layout) + mlp_in_flight(shape, numbers, TILES if layout.tiled_mlp else 1)
    before = before_mlp_bytes(shape, layout) if layout.checkpointing else 0
    attention = kept + before + attention_in_flight(shape, numbers, layout.sequence_parallel)
    there += gathered_bytes(shape, layout) + unpacked_bytes(shape, layout)
    casts += gathered_outside(shape, layout) + gathered_until_backward(shape, layout)
    return [
        Moment(LOSS, tokens * (kept + last_bytes(shape, numbers)), loss_bytes(shape, layout), casts),
        Moment(MLP, tokens * (mlp - returned), tokens * returned, there),
        Moment(ATTENTION, tokens * (attention - returned), tokens * returned, there),
    ]


def _reductions(shape: Shape, layout: Layout) -> Iterator[Moment]:
    """Where gradients are shared: their reduction, and the step of ZeRO 3."""
    compute, part = numbers_of(layout).compute, 1 / layout.gpus
    if layout.mode in FSDPS:
        sent = learning_outside(shape, layout) * (compute + FP32 * (1 + part))
        yield Moment(REDUCTION, 0, 0, gathered_outside(shape, layout) + sent)
    if sums_whole(layout):
        yield Moment(REDUCTION, 0, 0, FP32 * summed_together(shape, layout))
    elif layout.mode in ZERO:
        kept = kept_bytes(shape, layout, behind=blocks_of_a_bucket(shape, layout)) + recomputed_bytes(shape, layout)
        summed = FP32 * part if layout.mode == ZERO3 and compute < FP32 else 0
        copies = (compute + summed) * min(layout.bucket, trained(shape, layout))
        if layout.mode == ZERO1:  # what goes to a bucket leaves the gradients
            copies -= compute * min(layout.bucket, trained(shape, layout))
        if layout.mode != ZERO3:  # without half precision a micro-batch's gradients stand beside their sum
            copies += 2 * compute * layout.bucket + (0 if layout.on_gpu else FP32 * part * trained(shape, layout))
        yield Moment(REDUCTION, layout.tokens * kept, 0, copies)
    if layout.mode == ZERO3 and OPTIMIZER not in layout.offload:
        yield Moment(STEP, 0, 0, FP32 * min(SUB_GROUP, trained(shape, layout) * part))


def _writing(shape: Shape, layout: Layout) -> Iterator[Moment]:
    """Without a GPU, where this is in the same memory."""
    if layout.mode not in WHOLE and not layout.on_gpu:
        yield Moment(WRITING, 0, 0, written_bytes(shape, layout))


def blocks_of_a_bucket(shape: Shape, layout: Layout) -> int:
    """Whose gradients fill ZeRO's first bucket, behind those of the head."""
    head = 0 if shape.tied or layout.adapter else shape.vocabulary * shape.hidden
    return min(shape.layers - 1, max(0, layout.bucket - head) // learning_of_block(shape, layout))
