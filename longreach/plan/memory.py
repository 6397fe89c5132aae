"""Memory of one GPU in training, piece by piece, at the moment at which it holds most.

Three moments compete, and the pieces shown are those of the winner: the loss, when all blocks have been through; the
backward pass of the last block's MLP, and of its attention, when all that the others kept is still there. Gradients
count in full at each, since they stand from the second micro-batch of a step on: with one micro-batch it is less.
"""

from dataclasses import asdict, dataclass
from typing import Any

from longreach.model.chunks import LOGITS, LOGITS_ON_GPU, TILE, positions_at_once
from longreach.model.flops import Shape
from longreach.plan.activations import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    FP32,
    Numbers,
    attention_bytes,
    attention_in_flight,
    block_bytes,
    lora_bytes,
    mlp_in_flight,
    norm_bytes,
)
from longreach.plan.layout import ACTIVATIONS, ADAPTERS, DDP, OURS, QLORA, SHARDED, Layout
from longreach.plan.states import states, trained

GB = 1e9
FULL_LOGITS = (
    12  # bytes a position and word: three float32 tensors; docs/measurements.md has 12,597 MB for 2^15 x 32,000
)
BUCKET = 200_000_000  # elements that ZeRO sends at once, as in the deepspeed.json written here
AHEAD = 2  # blocks whose weights or checkpoints are on the GPU at once where they come from elsewhere
TILES = 16  # of a tiled MLP (ALST, arXiv:2506.13996), of which one is there at a time
LOSS, MLP, ATTENTION = "loss", "backward of an MLP", "backward of attention"


@dataclass(frozen=True)
class Memory:
    """GB of one GPU at its fullest, when `peak` says; `host` is what goes to the memory beside each GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float
    peak: str
    host: float = 0.0

    @property
    def total(self) -> float:
        """All that is on the GPU."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits + self.buffers

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"total": self.total}


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


def memory(shape: Shape, layout: Layout) -> Memory:
    """What a training step needs."""
    stand, moment = states(shape, layout), max(moments(shape, layout), key=lambda each: each.total)
    return Memory(
        stand.weights / GB,
        stand.gradients / GB,
        stand.optimizer / GB,
        moment.activations / GB,
        moment.logits / GB,
        (moment.buffers + standing_buffers(shape, layout)) / GB,
        moment.name,
        (stand.host + _checkpoints_on_host(shape, layout)) / GB,
    )


def numbers_of(layout: Layout) -> Numbers:
    """How wide its numbers are."""
    if not layout.on_gpu:
        return FLOAT32
    return AUTOCAST if layout.mode in OURS else BFLOAT16


def moments(shape: Shape, layout: Layout) -> list[Moment]:
    """The three that compete."""
    numbers, tokens = numbers_of(layout), layout.tokens
    kept, casts = kept_bytes(shape, layout), cast_bytes(shape, layout)
    returned = shape.hidden * numbers.stream  # the gradient that the loss hands back
    there = casts if not layout.checkpointing else block_casts(shape, layout)
    mlp = kept + recomputed_bytes(shape, layout) + mlp_in_flight(shape, numbers, TILES if layout.tiled_mlp else 1)
    before = before_mlp_bytes(shape, layout) if layout.checkpointing else 0
    attention = kept + before + attention_in_flight(shape, numbers, layout.sequence_parallel)
    return [
        Moment(LOSS, tokens * (kept + last_bytes(shape, numbers)), loss_bytes(shape, layout), casts),
        Moment(MLP, tokens * (mlp - returned), tokens * returned, there),
        Moment(ATTENTION, tokens * (attention - returned), tokens * returned, there),
    ]


def kept_bytes(shape: Shape, layout: Layout) -> int:
    """Of one token from forward to backward: all that blocks keep, or only what goes into each; and its rotations."""
    numbers = numbers_of(layout)
    tables = 2 * shape.head_dim * numbers.stream
    if not layout.checkpointing:
        return shape.layers * block_bytes(shape, numbers, layout.lora) + tables
    blocks = AHEAD if ACTIVATIONS in layout.offload else shape.layers
    return blocks * shape.hidden * numbers.stream + tables


def recomputed_bytes(shape: Shape, layout: Layout) -> int:
    """Of one token, what the block keeps that is computed again, beside its checkpoint."""
    if not layout.checkpointing:
        return 0
    numbers = numbers_of(layout)
    if layout.tiled_mlp:
        return before_mlp_bytes(shape, layout) + norm_bytes(shape, numbers) // 2
    return block_bytes(shape, numbers, layout.lora) - _own_input(shape, numbers)


def before_mlp_bytes(shape: Shape, layout: Layout) -> int:
    """Of one token, what a block keeps up to its attention's end: half of the norms are behind it."""
    numbers = numbers_of(layout)
    kept = norm_bytes(shape, numbers) // 2 + attention_bytes(shape, numbers) + lora_bytes(shape, numbers, layout.lora)
    return kept - _own_input(shape, numbers)


def _own_input(shape: Shape, numbers: Numbers) -> int:
    """What the first norm keeps of a token, where that is the checkpoint: in bfloat16 it makes a float32 copy."""
    return shape.hidden * FP32 if numbers.stream == FP32 else 0


def last_bytes(shape: Shape, numbers: Numbers) -> int:
    """Of one token, what the norm before the head keeps and gives."""
    return shape.hidden * (FP32 + 2 * numbers.stream)


def loss_bytes(shape: Shape, layout: Layout) -> float:
    """Head and loss: one chunk of logits and the gradients of hidden states and head (`longreach.model.loss`)."""
    numbers, tokens = numbers_of(layout), layout.tokens
    if layout.full_logits:
        return float(FULL_LOGITS * tokens * shape.vocabulary)
    chunk = positions_at_once(tokens, shape.vocabulary, LOGITS_ON_GPU if layout.on_gpu else LOGITS)
    rows = chunk * shape.hidden * (numbers.compute + FP32)
    tiles = numbers.compute * TILE * (chunk + shape.hidden) if numbers.compute < FP32 else 0
    frozen = layout.mode in ADAPTERS and not shape.tied
    head = 0 if frozen else FP32 * shape.vocabulary * shape.hidden
    return float(FP32 * chunk * shape.vocabulary + rows + tiles + head + tokens * shape.hidden * numbers.stream)


def cast_bytes(shape: Shape, layout: Layout) -> int:
    """The bfloat16 copies of float32 weights that stand at the end of the forward pass.

    Autocast keeps those of weights that learn until the pass ends; of frozen ones only what the blocks keep.
    """
    if numbers_of(layout) != AUTOCAST or layout.mode == QLORA:
        return 0
    if layout.mode in ADAPTERS and layout.checkpointing:
        return block_casts(shape, layout)
    return 2 * shape.layers * shape.block_matrices


def block_casts(shape: Shape, layout: Layout) -> int:
    """Those of one block: what 4 bits are unpacked to, too."""
    return 2 * shape.block_matrices if numbers_of(layout) == AUTOCAST else 0


def standing_buffers(shape: Shape, layout: Layout) -> int:
    """What GPUs that work together hold for it.

    DDP has buckets as large as all gradients, its default (torch.nn.parallel.DistributedDataParallel). ZeRO and FSDP
    have a bucket to reduce, and gather whole blocks where weights are sharded: those of now and next, the gradients of
    one, and the embedding or head.
    """
    if layout.gpus == 1 and not layout.offload:
        return 0
    if layout.mode in {DDP, *ADAPTERS}:
        return 4 * trained(shape, layout)
    if layout.mode not in SHARDED:
        return 2 * BUCKET
    return 2 * ((AHEAD + 1) * shape.block_matrices + shape.vocabulary * shape.hidden + BUCKET)


def _checkpoints_on_host(shape: Shape, layout: Layout) -> float:
    if ACTIVATIONS not in layout.offload:
        return 0.0
    return float(layout.tokens * shape.layers * shape.hidden * numbers_of(layout).stream)
