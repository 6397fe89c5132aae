"""Progress on stderr: a bar with ETA on a terminal, a plain line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 10.0


class ProgressLine:
    """Shows how much of `total` is done (0: unknown) and a text of counts."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._begun = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            columns = (
                TextColumn(self._title),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%" if self._total else ""),
                TimeElapsedColumn(),
                TextColumn("ETA"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[counts]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
            self._task = self._bar.add_task(self._title, total=self._total or None, counts="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, counts: str) -> None:
        """Say how far it is; cheap to call for every item."""
        if self._bar:
            self._bar.update(self._task, completed=done, counts=counts)
            return
        now = time.monotonic()
        if now - self._shown >= PLAIN_SECONDS:
            self._shown = now
            sys.stderr.write(f"{self._title}: {self._share(done, now)}{counts}\n")

    def _share(self, done: int, now: float) -> str:
        if not self._total or not done:
            return ""
        share = min(1.0, done / self._total)
        left = (now - self._begun) * (1 - share) / share
        return f"{share:.0%}, {int(left // 60)}:{int(left % 60):02d} left, "
