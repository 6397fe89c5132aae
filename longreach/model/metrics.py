"""What a training run says about itself: metrics.jsonl, and the same numbers for TensorBoard under runs/.

One line a step and one a validation, in order. What is under "time" differs from run to run; everything else is the
same to the last bit whether a run was killed and gone on with or not. Going on cuts away the lines past the checkpoint,
and TensorBoard drops its points past it.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from longreach.jsonl import write_whole

try:
    from torch.utils.tensorboard import SummaryWriter
except ImportError:  # tensorboard is not installed
    SummaryWriter = None

METRICS, RUNS = "metrics.jsonl", "runs"
log = logging.getLogger(__name__)


class Metrics:
    """Appends to the metrics of a run from the step `after` on."""

    def __init__(self, folder: Path, after: int) -> None:
        path = folder / METRICS
        write_whole(path, b"".join(lines_up_to(path, after)))
        self._file = path.open("ab")
        self._board = SummaryWriter(str(folder / RUNS), purge_step=after + 1) if SummaryWriter else None
        if self._board is None:
            log.warning("tensorboard is not installed: no curves under %s, metrics.jsonl has them all", folder / RUNS)

    def write(self, line: Mapping[str, Any]) -> None:
        """One line, at once in the hands of the operating system, so that it outlives this process."""
        self._file.write(orjson.dumps(line) + b"\n")
        self._file.flush()
        if self._board:
            for name, value in _points(line):
                self._board.add_scalar(name, value, line["step"])

    def sync(self) -> None:
        """Put the lines onto the disk: before a checkpoint that relies on them."""
        os.fsync(self._file.fileno())
        if self._board:
            self._board.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._board:
            self._board.close()


def lines_up_to(path: Path, step: int) -> Iterator[bytes]:
    """The whole lines of the steps up to this one; none for step 0, whose validation is measured again."""
    if not step or not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or orjson.loads(line)["step"] > step:
                return
            yield line


def _points(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a line under its path: "validation/books/by_length/1024"."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _points(value, f"{prefix}{name}/")
        elif (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and prefix + name != "step"
            and isfinite(value)
        ):
            yield prefix + name, value
