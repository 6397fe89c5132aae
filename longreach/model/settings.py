"""What shapes the training itself, whatever it trains on.

The weights that are trained stay in float32; `dtype` bfloat16 computes in it (autocast) and writes the finished model
in it. The paper gives neither the optimizer nor its numbers: those here are Llama 2's, AdamW that decays the matrices.
"""

from dataclasses import dataclass, field

from longreach.model.parallel.mode import Mode

FLOAT32, BFLOAT16 = DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Those of one run. What stands below the line changes no number of a run that meets no bad batch."""

    learning_rate: float
    warmup_steps: int = 0
    schedule: str = "cosine"  # or linear, constant
    final_lr_share: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-5
    weight_decay: float = 0.1
    clip: float = 1.0  # 0: no clipping
    seed: int = 0
    dtype: str = FLOAT32
    # ---
    micro_batch_tokens: int = 0  # 0: one row of the longest stage
    gradient_checkpointing: bool = False
    save_every: int = 500  # steps; 0: only where a stage ends
    keep_checkpoints: int = 2  # 0: all
    validate_every: int = 100  # steps; 0: only before the first step and where a stage ends
    validation_rows: int = 64  # of each set, evenly spread over it; 0: all
    skip_bad_batches: bool = False
    mode: Mode = field(default_factory=Mode)
    spike_factor: float = 10.0  # robust deviations above the median; 0: only nan and inf are bad
