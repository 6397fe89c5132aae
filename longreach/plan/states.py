"""Bytes of weights, gradients and optimizer on each GPU, and on the host, by mode.

Our trainer keeps float32 weights, gradients and AdamW's two moments: 4 + 4 + 8 bytes a parameter. With bfloat16 weights
ZeRO (arXiv:1910.02054, Sec. 3.1) has 2 + 2 + 12, of which stage 1 divides the 12 by the GPUs, stage 2 the gradients
too, stage 3 all; FSDP divides 4 + 4 + 8. ZeRO-Offload (arXiv:2101.06840) has gradients on the host with the optimizer.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape, parameters
from longreach.plan.layout import ADAPTERS, DDP, FSDP, OPTIMIZER, QLORA, WEIGHTS, ZERO1, ZERO2, ZERO3, Layout

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
    part = count / layout.gpus
    if layout.mode == FSDP:
        return States(4 * part, 4 * part, MOMENTS * part)
    return States(
        2 * (part if layout.mode == ZERO3 else count),
        2 * (count if layout.mode == ZERO1 else part),
        (4 + MOMENTS) * part,
    )


def _offloaded(here: States, layout: Layout) -> States:
    """FSDP takes everything to the host or nothing."""
    everything = layout.mode == FSDP and bool({OPTIMIZER, WEIGHTS} & layout.offload)
    weights = here.weights if everything or WEIGHTS in layout.offload else 0.0
    optimizer = here.optimizer if everything or OPTIMIZER in layout.offload else 0.0
    gradients = here.gradients if optimizer and layout.mode in (ZERO2, ZERO3, FSDP) else 0.0
    return States(
        here.weights - weights,
        here.gradients - gradients,
        here.optimizer - optimizer,
        weights + optimizer + gradients,
    )
