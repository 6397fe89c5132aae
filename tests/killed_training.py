"""Train the tiny run of tinyrun.py, kill it at named points one after the other, each time go on, and let it end.

python tests/killed_training.py OUT POINT... [NAME=VALUE...]
    step:N      in the middle of the N-th step from where it goes on       write:N   while the N-th checkpoint is written
    metrics:N   in the middle of its N-th line of metrics.jsonl            rename:N  right before it takes its name
    rotate:N    while the checkpoint that it replaces is being removed     final:1   while the finished model is written

A try that finds something half written removes it first: for rotate:N, that counts too. Each try is a fork of one
process that has everything imported, so ten kills take seconds.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from killed import kill_at
from longreach.model.metrics import Metrics
from tinyrun import Plan, read_plan, tiny_run

POINTS = {
    "step": ("before", "longreach.model.trainer:LongTrainer._get_grad_norm"),
    "write": ("before", "longreach.model.trainer:write_moments"),
    "rename": ("before", "longreach.model.checkpoint:_publish"),
    "rotate": ("before", "longreach.model.rotation:_erase"),
    "final": ("after", "longreach.model.train:load_weights"),
}


def train_through(out: Path, points: Sequence[str], plan: Plan) -> None:
    """Kill one try at each point, then let one end; AssertionError where a try ends otherwise."""
    for point in points:
        status = in_a_fork(lambda point=point: (arm(point), tiny_run(out, plan)))
        assert status == -signal.SIGKILL, f"{point}: not killed but ended with {status}"
    status = in_a_fork(lambda: tiny_run(out, plan))
    assert status == 0, f"the last try ended with {status}"


def in_a_fork(work: Callable[[], object]) -> int:
    """The exit status of a child that does this: minus a signal's number, 0 or 1."""
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def arm(point: str) -> None:
    name, _, nth = point.partition(":")
    if name == "metrics":
        tear_at(int(nth))
    else:
        kill_at(*POINTS[name], int(nth))


def tear_at(nth: int) -> None:
    """Leave half of the n-th line."""
    lines = 0
    write = Metrics.write

    def torn(self: Metrics, line: dict) -> None:  # type: ignore[type-arg]
        nonlocal lines
        lines += 1
        if lines == nth:
            whole = orjson.dumps(line)
            self._file.write(whole[: len(whole) // 2])
            self._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, line)

    Metrics.write = torn  # type: ignore[method-assign]


if __name__ == "__main__":
    words = sys.argv[2:]
    train_through(
        Path(sys.argv[1]), [word for word in words if "=" not in word], read_plan([w for w in words if "=" in w])
    )
