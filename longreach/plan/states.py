"""Bytes of weights, gradients and optimizer on each GPU, and on the host, by mode.

Float32 weights, gradients and AdamW's two moments are 4 + 4 + 8 bytes a parameter; on several GPUs, too, since DDP's
gradients lie in the buckets that it sends. FSDP divides all of it by the GPUs. ZeRO (arXiv:1910.02054, Sec. 3.1) has
bfloat16 weights beside a float32 copy, 2 + 4 + 12, since gradients are added up in float32 here: stage 1 divides the
12, stage 2 the 4, too, stage 3 all. Of an adapter what learns alone has gradients and moments, and ZeRO's float32
copy; its base is sharded as what learns is. What ZeRO holds on a host, and without half precision, was read in
DeepSpeed 0.19.8.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape, parameters
from longreach.plan.layout import FSDPS, OPTIMIZER, QLORA, WEIGHTS, WHOLE, ZERO1, ZERO3, Layout

NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8  # bytes a weight; its scales are quantised themselves (arXiv:2305.14314)
MOMENTS = 8  # bytes of AdamW's two, a parameter
GATED_SIDES = 3  # of an MLP: gate, up, down


@dataclass(frozen=True)
class States:
    """Bytes that stand through the whole run on one GPU, and what one GPU has on its host."""

    weights: float
    gradients: float
    optimizer: float
    host: float = 0.0


def states(shape: Shape, layout: Layout) -> States:
    """Of a model of this shape, laid out so."""
    if layout.mode in WHOLE:
        return _whole(shape, layout)
    return _offloaded(_sharded(shape, layout), layout)


def trained(shape: Shape, layout: Layout) -> int:
    """Parameters that learn."""
    return adapter_parameters(shape, layout.lora) if layout.adapter else parameters(shape)


def held(shape: Shape, layout: Layout) -> int:
    """Parameters that are there: the base stays beside its adapter, embedding and norms twice."""
    return parameters(shape) + (trained(shape, layout) if layout.adapter else 0)


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Of an adapter of `longreach.model.lora`: two factors a linear layer, the embedding and every norm whole."""
    return shape.layers * adapter_of_block(shape, rank) + shape.hidden + shape.vocabulary * shape.hidden


def adapter_of_block(shape: Shape, rank: int) -> int:
    """Its part in one block."""
    hidden, attended, keys = shape.hidden, shape.attended, shape.kv_heads * shape.head_dim
    attention = 2 * (hidden + attended) + 2 * (hidden + keys)
    mlp = GATED_SIDES * (hidden + shape.intermediate)
    norms = shape.norms * hidden + 2 * shape.head_dim * shape.head_norms
    return rank * (attention + mlp) + norms


def _whole(shape: Shape, layout: Layout) -> States:
    """In 4 bits are only the blocks' matrices."""
    weights, learning = 4.0 * held(shape, layout), trained(shape, layout)
    if layout.mode == QLORA:
        weights -= (4.0 - NF4) * shape.layers * shape.block_matrices
    return States(weights, 4.0 * learning, float(MOMENTS * learning))


def _sharded(shape: Shape, layout: Layout) -> States:
    """Without half precision ZeRO has a float32 copy beside its weights, too."""
    count, part = held(shape, layout), trained(shape, layout) / layout.gpus
    if layout.mode in FSDPS:
        return States(4 * count / layout.gpus, 4 * part, MOMENTS * part)
    weights = float((2 if layout.on_gpu else 4) * count)
    if layout.mode == ZERO1:
        return States(weights, 4.0 * trained(shape, layout), (4 + MOMENTS) * part)
    return States(weights / layout.gpus if layout.mode == ZERO3 else weights, 4 * part, (4 + MOMENTS) * part)


def _offloaded(here: States, layout: Layout) -> States:
    """With the optimizer goes room for its gradients; ZeRO 3 adds them up there, ZeRO 2 on the GPU.

    ZeRO 2 has new weights pass through a bfloat16 copy on the host.
    """
    weights = here.weights if WEIGHTS in layout.offload else 0.0
    if OPTIMIZER not in layout.offload:
        return States(here.weights - weights, here.gradients, here.optimizer, weights)
    if layout.mode == ZERO3:
        return States(here.weights - weights, 0.0, 0.0, weights + 2 * here.gradients + here.optimizer)
    return States(here.weights, here.gradients, 0.0, 1.5 * here.gradients + here.optimizer)
