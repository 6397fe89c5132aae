"""How a training run is laid out over GPUs, and which layouts longreach runs today.

`ddp`, `lora` and `qlora` hold every weight on each GPU, in float32, and compute in bfloat16. The others are those of
`longreach.model.parallel`: weights in float32 that are gathered in bfloat16 (PyTorch's FSDP2: `fsdp` is its full_shard,
beside which `shard_grad_op` keeps them gathered from the forward pass to the backward pass), or weights in bfloat16
beside a float32 copy that the optimizer keeps (DeepSpeed's ZeRO, arXiv:1910.02054). An adapter learns in `lora` and
`qlora`, and in what shards where a rank is given.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape
from longreach.model.parallel.mode import SHARD_GRAD_OP

DDP, FSDP, LORA, QLORA = "ddp", "fsdp", "lora", "qlora"
ZERO1, ZERO2, ZERO3 = "zero1", "zero2", "zero3"
SHARDING = (FSDP, SHARD_GRAD_OP, ZERO1, ZERO2, ZERO3)
MODES = (DDP, *SHARDING, LORA, QLORA)
ADAPTERS = frozenset({LORA, QLORA})  # of nothing but an adapter
WHOLE = frozenset({DDP, LORA, QLORA})  # every GPU holds all weights
ZERO = frozenset({ZERO1, ZERO2, ZERO3})
FSDPS = frozenset({FSDP, SHARD_GRAD_OP})
RUN_BY = {  # the modes that each command trains in
    "pretrain": frozenset(MODES) - {QLORA},
    "finetune": frozenset(MODES),
}
OPTIMIZER, WEIGHTS, ACTIVATIONS = OFFLOADS = ("optimizer", "weights", "activations")
RUN_OFFLOADS = frozenset({OPTIMIZER, WEIGHTS})  # by ZeRO
BUCKET = 200_000_000  # elements that ZeRO reduces at once, in the deepspeed.json written here


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A mode and what goes with it. `rows` go through the model at once; `lora` is the rank of an adapter."""

    mode: str
    gpus: int
    seq_len: int
    rows: int = 1
    checkpointing: bool = False
    sequence_parallel: int = 1
    offload: frozenset[str] = frozenset()
    tiled_mlp: bool = False
    full_logits: bool = False  # of other trainers; ours never holds them
    lora: int = 0
    bucket: int = BUCKET
    on_gpu: bool = True

    @property
    def name(self) -> str:
        """Everything that sets it apart, as "zero3+lora+checkpointing+sequence-parallel:8"."""
        parts = [self.what, "checkpointing" * self.checkpointing]
        parts += [f"sequence-parallel:{self.sequence_parallel}" * (self.sequence_parallel > 1)]
        parts += [f"offload:{what}" for what in OFFLOADS if what in self.offload]
        return "+".join(filter(None, [*parts, "tiled-mlp" * self.tiled_mlp]))

    @property
    def what(self) -> str:
        """What shards, if anything does, and an adapter on it: "zero3+lora"."""
        return f"{self.mode}+{LORA}" if self.adapter and self.mode in SHARDING else self.mode

    @property
    def adapter(self) -> bool:
        """Whether an adapter learns and its base does not."""
        return self.lora > 0

    @property
    def tokens(self) -> int:
        """That one GPU holds at once."""
        return -(-self.rows * self.seq_len // self.sequence_parallel)

    def runs_in(self, program: str) -> bool:
        """Whether that command of ours trains so."""
        return self.mode in RUN_BY[program] and self.offload <= RUN_OFFLOADS and not self.tiled_mlp


def problems(layout: Layout, shape: Shape) -> list[str]:
    """Why it cannot be, if it cannot."""
    found = []
    if layout.offload and layout.mode in WHOLE:
        found.append(f"{layout.mode} offloads nothing: only what shards does")
    if OPTIMIZER in layout.offload and layout.mode in {ZERO1, *FSDPS}:
        found.append("the optimizer is offloaded by zero2 and zero3")
    if WEIGHTS in layout.offload and layout.mode in {ZERO1, ZERO2, *FSDPS}:
        found.append("weights are offloaded by zero3")
    if ACTIVATIONS in layout.offload and not layout.checkpointing:
        found.append("what is offloaded of the activations is their checkpoints: it needs gradient checkpointing")
    if layout.sequence_parallel > 1 and layout.mode == QLORA:
        found.append("qlora gives no row to several GPUs: every other mode does")
    if layout.gpus % layout.sequence_parallel or shape.heads % layout.sequence_parallel:
        found.append(
            f"{layout.sequence_parallel} GPUs to a sequence do not divide {layout.gpus} GPUs and {shape.heads} heads"
        )
    return found
