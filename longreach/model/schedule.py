"""The learning rate of every step: warm-up from nothing, then one of three shapes down to a share of the peak.

A pure function of the step, so a run that goes on needs nothing remembered, and stages share one curve.
"""

import math
from dataclasses import dataclass

COSINE, LINEAR, CONSTANT = SHAPES = ("cosine", "linear", "constant")


@dataclass(frozen=True)
class Schedule:
    """`share(step)` of the peak learning rate for the steps 1 to `steps`."""

    shape: str
    steps: int
    warmup_steps: int
    final_share: float

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise ValueError(f"no schedule {self.shape!r}: choose {', '.join(SHAPES)}")

    def share(self, step: int) -> float:
        """The peak is reached at the end of the warm-up, the final share at the last step."""
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        if self.shape == CONSTANT:
            return 1.0
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        left = (1 + math.cos(math.pi * done)) / 2 if self.shape == COSINE else 1 - done
        return self.final_share + (1 - self.final_share) * max(left, 0.0)
