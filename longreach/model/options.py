"""The settings of every training run, whatever it trains on. None and 0: derived, and printed with the reason."""

from dataclasses import dataclass

from longreach.config import factor, ratio, setting, share, size
from longreach.model.parallel.mode import FSDP_WAYS, Mode, read_mode
from longreach.model.rope import parse_rope

MODEL, TRAINING, PROCESSES, RUN = "Model", "Training", "Processes", "Run"  # headings of --help
SCHEDULES = ("cosine", "linear", "constant")
DTYPES = ("auto", "float32", "bfloat16")
MICRO_BATCH_TOKENS = 8_192  # where nobody says: small rows go through the model together


def rope_text(text: str) -> str:
    """A RoPE in its usual form."""
    return str(parse_rope(text))


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What shapes the optimization, and how often the run looks up from it."""

    batch_tokens: int = setting(0, "Tokens of an optimizer step.", group=TRAINING, metavar="N")
    learning_rate: float | None = setting(None, "At its peak.", group=TRAINING, metavar="F", parse=factor)
    schedule: str = setting("cosine", "Of the learning rate.", group=TRAINING, choices=SCHEDULES)
    warmup_steps: int | None = setting(None, "To the peak.", group=TRAINING, metavar="N", parse=size)
    final_lr_share: float = setting(0.1, "Of the peak, at the end.", group=TRAINING, metavar="F", parse=share)
    weight_decay: float = setting(0.1, "Of AdamW.", group=TRAINING, metavar="F", parse=ratio)
    clip: float = setting(1.0, "Largest norm of the gradient; 0: any.", group=TRAINING, metavar="F", parse=ratio)
    dtype: str = setting("auto", "Of the computation; weights stay float32.", group=TRAINING, choices=DTYPES)
    gradient_checkpointing: bool = setting(
        False, "Compute activations again rather than keep them.", group=TRAINING, shapes_output=False
    )
    seed: int = setting(0, "Of the order of rows and of new weights.", group=TRAINING, metavar="N")
    skip_bad_batches: bool = setting(
        False,
        "Leave out a batch whose loss is no number or a spike, instead of stopping.",
        group=TRAINING,
        shapes_output=False,
    )

    fsdp: str = setting(
        "",
        "Shard weights, gradients and moments by FSDP; shard_grad_op keeps weights until the backward pass.",
        group=PROCESSES,
        choices=FSDP_WAYS,
        shapes_output=False,
    )
    deepspeed: str = setting(
        "",
        "Shard by ZeRO, as this configuration of DeepSpeed says.",
        group=PROCESSES,
        metavar="F.json",
        shapes_output=False,
    )
    sequence_parallel: int = setting(
        1, "Processes that share each row, by Ulysses.", group=PROCESSES, metavar="N", shapes_output=False
    )

    validate_every: int = setting(0, "Steps between two validations.", group=RUN, metavar="N", shapes_output=False)
    save_every: int = setting(0, "Steps between two checkpoints.", group=RUN, metavar="N", shapes_output=False)
    keep: int = setting(2, "Checkpoints kept on the way; 0: all.", group=RUN, metavar="N", shapes_output=False)

    @property
    def mode(self) -> Mode:
        """How the run is laid out over its processes; UserError where that cannot be."""
        return read_mode(self.fsdp, self.deepspeed, self.sequence_parallel)
