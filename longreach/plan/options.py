"""The settings that `pretrain plan` and `finetune plan` share. 0 and "": derived, and said."""

from collections.abc import Iterator
from dataclasses import dataclass

from longreach.config import factor, setting, share
from longreach.errors import UserError
from longreach.model.options import MODEL, RUN, TRAINING
from longreach.plan.layout import MODES, OFFLOADS

AUTO = "auto"
CLUSTER, LAYOUT = "Cluster", "Layout"


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is to be trained, on which GPUs, and how it is laid out."""

    base: str = setting(
        "", "Alias, folder, config.json or hub id; only its configuration is read.", group=MODEL, metavar="M"
    )
    lora: int = setting(0, "Rank of an adapter to train instead of all weights.", group=MODEL, metavar="R")
    seq_len: int = setting(0, "Tokens of a row; 0: the paper's.", group=TRAINING, metavar="N")
    tokens: int = setting(0, "Of the whole run, instead of --steps.", group=TRAINING, metavar="N")
    steps: int = setting(0, "Optimizer steps.", group=TRAINING, metavar="N")
    batch_tokens: int = setting(0, "Tokens of a step.", group=TRAINING, metavar="N")

    gpus: int = setting(8, "GPUs of the whole cluster.", group=CLUSTER, metavar="N")
    gpu: str = setting(
        "h100",
        "a100-40, a100-80, h100, h200, b200, l40s, rtx4090, or a node as p5.48xlarge.",
        group=CLUSTER,
        metavar="NAME",
    )
    price: float | None = setting(None, "Of one GPU for an hour.", group=CLUSTER, metavar="F", parse=factor)
    mfu: float | None = setting(
        None, "Share of the GPUs' peak that the run reaches; 0.33 unless said.", group=CLUSTER, metavar="F", parse=share
    )

    mode: str = setting(AUTO, "Auto: DDP, or the least change that fits.", group=LAYOUT, choices=(AUTO, *MODES))
    gradient_checkpointing: bool = setting(False, "Compute activations again rather than keep them.", group=LAYOUT)
    sequence_parallel: int = setting(1, "GPUs that share each row.", group=LAYOUT, metavar="N")
    offload: tuple[str, ...] = setting(
        (), f"What goes to the host's memory: {', '.join(OFFLOADS)}.", group=LAYOUT, metavar="WHAT..."
    )
    micro_batch: int = setting(
        0, "Rows that go through a GPU at once; 0: as many as hold 8,192 tokens.", group=LAYOUT, metavar="N"
    )
    out: str = setting(
        "", "Folder for plan.json, launch.sh and deepspeed.json.", group=RUN, metavar="DIR", shapes_output=False
    )

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise UserError("\n".join(problems), "--help lists what can be given")

    def _problems(self) -> Iterator[str]:
        """What is wrong with the settings by themselves."""
        if not self.base:
            yield "no model: give --base"
        if self.tokens and self.steps:
            yield "--tokens and --steps both set how long the run is: give one"
        if self.gpus < 1 or self.sequence_parallel < 1:
            yield "--gpus and --sequence-parallel: at least 1"
        if self.mfu == 0:
            yield "--mfu 0: the run would never end"
        for what in self.offload:
            if what not in OFFLOADS:
                yield f"--offload {what}: none of {', '.join(OFFLOADS)}; several stand with spaces between"
