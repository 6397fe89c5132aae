"""Stopping a run from outside: the first SIGTERM or Ctrl-C asks it to save after this step, the second ends it at once.

torchrun passes a Ctrl-C on to processes that the terminal has told already: what follows at once is no second one.
"""

import signal
import time
from types import FrameType, TracebackType
from typing import Any, Self

from longreach.model.processes import say

WATCHED = (signal.SIGTERM, signal.SIGINT)
SECOND = 1.0  # seconds after which another signal is meant as one


class StopRequest:
    """While it is entered, `received` is the number of the first such signal (0: none)."""

    def __init__(self) -> None:
        self.received = 0
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in WATCHED}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._at = number, time.monotonic()
            say(
                f"{signal.Signals(number).name}: finishing this step and saving; another one stops at once and loses "
                "the steps since the last checkpoint"
            )
        elif time.monotonic() - self._at > SECOND:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
