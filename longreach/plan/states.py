"""Bytes of weights, gradients and optimizer on each GPU, and on the host, by mode.

Float32 weights, gradients and AdamW's two moments are 4 + 4 + 8 bytes a parameter; on several GPUs, too, since DDP's
gradients lie in the buckets that it sends. FSDP divides all of it by the GPUs. ZeRO (arXiv:1910.02054, Sec. 3.1) has
bfloat16 weights beside a float32 copy, 2 + 4 + 12, since gradients are added up in float32 here: stage 2 divides the 4
and the 12, stage 3 all. What it holds on a host, and without half precision, was read in DeepSpeed 0.19.8.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape, parameters
from longreach.plan.layout import ADAPTERS, DDP, FSDP, OPTIMIZER, QLORA, WEIGHTS, ZERO3, Layout

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
    if layout.mode in ADAPTERS:
        return _of_adapter(shape, layout)
    count = parameters(shape)
    if layout.mode == DDP:
        return States(4.0 * count, 4.0 * count, float(MOMENTS * count))
    return _offloaded(_sharded(count, layout), layout)


def trained(shape: Shape, layout: Layout) -> int:
    """Parameters that learn."""
    return adapter_parameters(shape, layout.lora) if layout.mode in ADAPTERS else parameters(shape)


def adapter_parameters(shape: Shape, rank: int) -> int:
    """Of an adapter of `longreach.model.lora`: two factors a linear layer, the embedding and every norm whole."""
    hidden, attended, keys = shape.hidden, shape.attended, shape.kv_heads * shape.head_dim
    attention = 2 * (hidden + attended) + 2 * (hidden + keys)
    mlp = GATED_SIDES * (hidden + shape.intermediate)
    norms = shape.norms * hidden + 2 * shape.head_dim * shape.head_norms
    return shape.layers * (rank * (attention + mlp) + norms) + hidden + shape.vocabulary * hidden


def _of_adapter(shape: Shape, layout: Layout) -> States:
    """The base stays beside the adapter, embedding and norms twice; in 4 bits are only its blocks' matrices."""
    learning, matrices = trained(shape, layout), shape.layers * shape.block_matrices
    base = 4.0 * parameters(shape)
    if layout.mode == QLORA:
        base -= (4.0 - NF4) * matrices
    return States(base + 4.0 * learning, 4.0 * learning, float(MOMENTS * learning))


def _sharded(count: int, layout: Layout) -> States:
    """Without half precision ZeRO has a float32 copy beside its weights, too."""
    part = count / layout.gpus
    if layout.mode == FSDP:
        return States(4 * part, 4 * part, MOMENTS * part)
    weights = 2 if layout.on_gpu else 4
    if layout.mode == ZERO3:
        return States(weights * part, 4 * part, (4 + MOMENTS) * part)
    return States(float(weights * count), 4 * part, (4 + MOMENTS) * part)


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
