"""Bytes of one GPU beside the states, piece by piece: what blocks keep, the loss, casts, what is gathered and sent.

What FSDP and ZeRO hold was read in torch 2.13 and DeepSpeed 0.19.8, not fitted.
"""

from longreach.model.chunks import LOGITS, LOGITS_ON_GPU, MOMENTS_BYTES, TILE, positions_at_once
from longreach.model.flops import Shape
from longreach.model.parallel.mode import SHARD_GRAD_OP
from longreach.plan.activations import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    FP32,
    Numbers,
    attention_bytes,
    block_bytes,
    lora_bytes,
    norm_bytes,
)
from longreach.plan.layout import ACTIVATIONS, FSDPS, QLORA, WHOLE, ZERO1, ZERO2, ZERO3, Layout
from longreach.plan.states import MOMENTS, adapter_of_block, trained

FULL_LOGITS = (
    12  # bytes a position and word: three float32 tensors; docs/measurements.md has 12,597 MB for 2^15 x 32,000
)
SENT_AT_ONCE = 500_000_000  # elements of whole sums; a larger tensor goes alone, and is not copied
AHEAD = 2  # blocks whose weights or checkpoints are on the GPU at once where they come from elsewhere


def numbers_of(layout: Layout) -> Numbers:
    """How wide its numbers are."""
    if not layout.on_gpu:
        return FLOAT32
    return AUTOCAST if layout.mode in WHOLE else BFLOAT16


def outer_parameters(shape: Shape) -> int:
    """Of embedding and head."""
    return shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def learning_outside(shape: Shape, layout: Layout) -> int:
    """Of embedding and head what learns: of an adapter its embedding, which is the head, too, where they are tied."""
    return shape.vocabulary * shape.hidden if layout.adapter else outer_parameters(shape)


def learning_of_block(shape: Shape, layout: Layout) -> int:
    """What learns of one block."""
    return adapter_of_block(shape, layout.lora) if layout.adapter else shape.block_matrices


def kept_bytes(shape: Shape, layout: Layout, behind: int = 0) -> int:
    """Of one token from forward to backward: all that blocks keep, or only what goes into each; and its rotations.

    So many blocks are `behind` the backward pass.
    """
    numbers = numbers_of(layout)
    tables, layers = 2 * shape.head_dim * numbers.stream, shape.layers - behind
    if not layout.checkpointing:
        return layers * block_bytes(shape, numbers, layout.lora, layout.sequence_parallel) + tables
    blocks = min(AHEAD, layers) if ACTIVATIONS in layout.offload else layers
    return blocks * shape.hidden * numbers.stream + tables


def recomputed_bytes(shape: Shape, layout: Layout) -> int:
    """Of one token, what the block keeps that is computed again, beside its checkpoint."""
    if not layout.checkpointing:
        return 0
    numbers = numbers_of(layout)
    if layout.tiled_mlp:
        return before_mlp_bytes(shape, layout) + norm_bytes(shape, numbers) // 2
    return block_bytes(shape, numbers, layout.lora, layout.sequence_parallel) - _own_input(shape, numbers)


def before_mlp_bytes(shape: Shape, layout: Layout) -> int:
    """Of one token, what a block keeps up to its attention's end: half of the norms are behind it."""
    numbers = numbers_of(layout)
    kept = norm_bytes(shape, numbers) // 2 + attention_bytes(shape, numbers, layout.sequence_parallel)
    kept += lora_bytes(shape, numbers, layout.lora)
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
    head = 0 if _frozen_head(shape, layout) else shape.vocabulary * shape.hidden
    rounded = numbers.stream * head if numbers.stream < FP32 else 0  # when the chunk is gone
    room = max(FP32 * chunk * shape.vocabulary + rows + tiles, rounded)
    return float(room + FP32 * head + tokens * shape.hidden * numbers.stream)


def _frozen_head(shape: Shape, layout: Layout) -> bool:
    return layout.adapter and not shape.tied


def cast_bytes(shape: Shape, layout: Layout) -> int:
    """The bfloat16 copies of float32 weights that stand at the end of the forward pass.

    Autocast keeps those of weights that learn until the pass ends; of frozen ones only what the blocks keep.
    """
    if numbers_of(layout) != AUTOCAST or layout.mode == QLORA:
        return 0
    if layout.adapter and layout.checkpointing:
        return block_casts(shape, layout)
    return 2 * shape.layers * shape.block_matrices


def block_casts(shape: Shape, layout: Layout) -> int:
    """Those of one block."""
    return 2 * shape.block_matrices if numbers_of(layout) == AUTOCAST and layout.mode != QLORA else 0


def unpacked_bytes(shape: Shape, layout: Layout) -> int:
    """The largest matrix of a block, which bitsandbytes unpacks to bfloat16 when it is multiplied, one at a time."""
    return 2 * largest_matrix(shape) if layout.mode == QLORA else 0


def largest_matrix(shape: Shape) -> int:
    """Elements of one of a block's."""
    return shape.hidden * max(shape.intermediate, shape.attended)


def gathered_bytes(shape: Shape, layout: Layout) -> int:
    """In a block's backward pass, what is there of sharded weights and not yet shared of gradients.

    ZeRO 3 has the block of now, the next, one on its way, and the head; gradients go to its bucket. FSDP keeps
    embedding and head through the pass, and the gradient of the head to its end; the gradients of a block stand
    until they are summed in float32, for which there is room of its own. One GPU sends nothing and has none on its way.
    FSDP's `shard_grad_op` has all blocks there, and none on its way.
    """
    compute, block = numbers_of(layout).compute, learning_of_block(shape, layout)
    blocks = compute * (AHEAD + (layout.gpus > 1)) * shape.block_matrices
    if layout.mode in FSDPS:
        head = 0 if _frozen_head(shape, layout) else shape.vocabulary * shape.hidden
        gradients = compute * (head + block) + FP32 * block
        return (gathered_until_backward(shape, layout) or blocks) + gathered_outside(shape, layout) + gradients
    if sums_whole(layout):
        return (compute + FP32) * min(largest_matrix(shape), block)  # a gradient until it is added, in float32
    if layout.mode in {ZERO1, ZERO2}:
        return 2 * compute * layout.bucket  # it fills one while it sends another, in each backward pass
    return blocks + gathered_outside(shape, layout) if layout.mode == ZERO3 and layout.gpus > 1 else 0


def sums_whole(layout: Layout) -> bool:
    """Whether gradients are added up in one float32 tensor on each GPU, which is sent when a step ends: ZeRO 1."""
    return layout.mode == ZERO1 and layout.on_gpu


def summed_together(shape: Shape, layout: Layout) -> int:
    """Elements that are copied to be sent as one: what learns and what decays not, where both are small."""
    count = trained(shape, layout)
    return count if count <= SENT_AT_ONCE else 0


def gathered_outside(shape: Shape, layout: Layout) -> int:
    """Of embedding and head; FSDP also gathers the embedding that an adapter does not use."""
    if layout.mode in FSDPS:
        unused = shape.vocabulary * shape.hidden if layout.adapter else 0
        return numbers_of(layout).compute * (outer_parameters(shape) + unused)
    sharded = layout.mode == ZERO3 and layout.gpus > 1
    return numbers_of(layout).compute * shape.vocabulary * shape.hidden if sharded else 0


def gathered_until_backward(shape: Shape, layout: Layout) -> int:
    """All blocks, which `shard_grad_op` gathers in the forward pass and keeps."""
    if layout.mode != SHARD_GRAD_OP:
        return 0
    return numbers_of(layout).compute * shape.layers * shape.block_matrices


def standing_buffers(layout: Layout) -> int:
    """ZeRO 3's bucket. DDP's are the gradients themselves."""
    return numbers_of(layout).compute * layout.bucket if layout.mode == ZERO3 else 0


def checkpoints_on_host(shape: Shape, layout: Layout) -> float:
    if ACTIVATIONS not in layout.offload:
        return 0.0
    return float(layout.tokens * shape.layers * shape.hidden * numbers_of(layout).stream)


def written_bytes(shape: Shape, layout: Layout) -> int:
    """What the first process gathers for a checkpoint: weights that learn, then moments, one file of them at once."""
    count = trained(shape, layout)
    return max(FP32 * count, min(MOMENTS_BYTES, MOMENTS * count))
