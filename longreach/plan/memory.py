"""Memory of one GPU in training, piece by piece, at the moment at which it holds most.

The pieces shown are those of the moment that wins. Gradients count in full at each, since they stand from the second
micro-batch of a step on: with one it is less.
"""

from dataclasses import asdict, dataclass
from typing import Any

from longreach.model.flops import Shape
from longreach.plan.layout import Layout
from longreach.plan.moments import moments
from longreach.plan.pieces import checkpoints_on_host, standing_buffers
from longreach.plan.states import states

GB = 1e9


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


def memory(shape: Shape, layout: Layout) -> Memory:
    """What a training step needs."""
    stand, moment = states(shape, layout), max(moments(shape, layout), key=lambda each: each.total)
    return Memory(
        stand.weights / GB,
        stand.gradients / GB,
        stand.optimizer / GB,
        moment.activations / GB,
        moment.logits / GB,
        (moment.buffers + standing_buffers(layout)) / GB,
        moment.name,
        (stand.host + checkpoints_on_host(shape, layout)) / GB,
    )
