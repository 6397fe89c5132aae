"""How a training run is laid out over GPUs, and which layouts longreach runs today.

`ddp`, `lora` and `qlora` are our trainer (`longreach.model.trainer`): weights in float32, computed in bfloat16. The
others are plans only: weights in bfloat16 beside a float32 copy that the optimizer keeps, as DeepSpeed's ZeRO
(arXiv:1910.02054) and PyTorch's FSDP do it.
"""

from dataclasses import dataclass

from longreach.model.flops import Shape

DDP, ZERO1, ZERO2, ZERO3, FSDP, LORA, QLORA = "ddp", "zero1", "zero2", "zero3", "fsdp", "lora", "qlora"
MODES = (DDP, ZERO1, ZERO2, ZERO3, FSDP, LORA, QLORA)
ADAPTERS = frozenset({LORA, QLORA})
OURS = frozenset({DDP, LORA, QLORA})
RUN_BY = {"pretrain": frozenset({DDP, LORA}), "finetune": OURS}  # the modes that each command trains in
SHARDED = frozenset({ZERO3, FSDP})  # whose weights are gathered block by block
OPTIMIZER, WEIGHTS, ACTIVATIONS = OFFLOADS = ("optimizer", "weights", "activations")


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
    on_gpu: bool = True

    @property
    def name(self) -> str:
        """Everything that sets it apart, as "zero3+checkpointing+sequence-parallel:8"."""
        parts = [self.mode, "checkpointing" * self.checkpointing]
        parts += [f"sequence-parallel:{self.sequence_parallel}" * (self.sequence_parallel > 1)]
        parts += [f"offload:{what}" for what in OFFLOADS if what in self.offload]
        return "+".join(filter(None, [*parts, "tiled-mlp" * self.tiled_mlp]))

    @property
    def tokens(self) -> int:
        """That one GPU holds at once."""
        return -(-self.rows * self.seq_len // self.sequence_parallel)

    def runs_in(self, program: str) -> bool:
        """Whether that command of ours trains so."""
        return self.mode in RUN_BY[program] and self.sequence_parallel == 1 and not (self.offload or self.tiled_mlp)


def problems(layout: Layout, shape: Shape) -> list[str]:
    """Why it cannot be, if it cannot."""
    found = []
    if layout.offload and layout.mode in OURS:
        found.append(f"{layout.mode} offloads nothing: only zero1, zero2, zero3 and fsdp do")
    if WEIGHTS in layout.offload and layout.mode not in SHARDED:
        found.append("weights are offloaded where they are sharded: zero3, fsdp")
    if ACTIVATIONS in layout.offload and not layout.checkpointing:
        found.append("what is offloaded of the activations is their checkpoints: it needs gradient checkpointing")
    if layout.sequence_parallel > 1 and layout.mode in OURS:
        found.append(f"{layout.mode} gives no row to several GPUs: only zero1, zero2, zero3 and fsdp are planned so")
    if layout.gpus % layout.sequence_parallel or shape.heads % layout.sequence_parallel:
        found.append(
            f"{layout.sequence_parallel} GPUs to a sequence do not divide {layout.gpus} GPUs and {shape.heads} heads"
        )
    return found
