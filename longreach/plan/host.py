"""What a node holds in its own memory, beside its GPUs: while the model is loaded, and while it is trained.

Every process reads the whole model in float32 (`longreach.model.train`): one after the other where it is sharded, else
all at once. The first one of ZeRO has it in bfloat16, too, before anything is shared.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape
from longreach.plan.activations import BFLOAT16, FP32
from longreach.plan.gpus import Node
from longreach.plan.layout import QLORA, WHOLE, ZERO, Layout
from longreach.plan.memory import GB, memory
from longreach.plan.pieces import written_bytes
from longreach.plan.states import held


@dataclass(frozen=True)
class Host:
    """GB of one node, the first one, which writes the checkpoints."""

    loading: float
    training: float
    writing: float  # besides

    @property
    def fullest(self) -> float:
        """The most at any time."""
        return max(self.loading, self.training + self.writing)


def host(shape: Shape, layout: Layout, node: Node) -> Host:
    """What a run needs that is laid out so."""
    processes = min(node.gpus, layout.gpus)
    loading = loaded_bytes(shape, layout) * (processes if layout.mode in WHOLE else 1)
    return Host(loading / GB, processes * memory(shape, layout).host, written_bytes(shape, layout) / GB)


def loaded_bytes(shape: Shape, layout: Layout) -> int:
    """Of the first process; a base of 4 bits is made on its GPU."""
    if layout.mode == QLORA:
        return 0
    copied = BFLOAT16.stream if layout.mode in ZERO and layout.on_gpu else 0
    return (FP32 + copied) * held(shape, layout)
