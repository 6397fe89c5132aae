"""Which steps must not be applied: numbers that are none, and losses far out of line.

A spike is a loss more than `factor` robust deviations above the median of the last good losses. The deviation is the
scaled median absolute one and never taken as less than FLOOR nats, so that a loss that hardly moves does not make every
wiggle a spike. Only good losses are remembered; they are saved with each checkpoint, so a run that goes on decides as
an uninterrupted one would. A new stage starts with none: its loss may well be higher (paper, Fig. 6).
"""

import math
from collections import deque
from collections.abc import Iterable
from statistics import median

WINDOW, ENOUGH = 64, 16  # losses remembered; fewer than ENOUGH say nothing about a spike
FLOOR = 0.05  # nats
NORMAL = 1.4826  # median absolute deviation -> standard deviation, for a normal distribution


class Guard:
    """Judges each step before it is applied. `factor` 0: only numbers that are none are bad."""

    def __init__(self, factor: float, losses: Iterable[float] = ()) -> None:
        self._factor = factor
        self._losses = deque(losses, maxlen=WINDOW)

    @property
    def losses(self) -> list[float]:
        """The good losses that it goes by, oldest first."""
        return list(self._losses)

    def judge(self, loss: float, gradient_norm: float) -> str:
        """Why this step is bad; empty where it is good, and then its loss is remembered."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if not math.isfinite(gradient_norm):
            return f"the gradient norm is {gradient_norm}"
        limit = self._limit()
        if loss > limit:
            return f"the loss jumped to {loss:.4f}, over {limit:.4f}"
        self._losses.append(loss)
        return ""

    def _limit(self) -> float:
        if not self._factor or len(self._losses) < ENOUGH:
            return math.inf
        middle = median(self._losses)
        deviation = NORMAL * median(abs(loss - middle) for loss in self._losses)
        return middle + self._factor * max(deviation, FLOOR)
