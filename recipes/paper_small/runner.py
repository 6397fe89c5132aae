"""Jobs on lanes: each in a child of this process, as many at once as there are lanes, the longest chain first.

A job that fails stops those that need it and no other. The first SIGINT or SIGTERM is passed on to the children, which
save and leave; the same command goes on from there.
"""

import ctypes
import math
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import FrameType
from typing import Any

from recipes.paper_small.jobs import Job, Plan
from recipes.paper_small.marks import Marks

WATCHED = (signal.SIGINT, signal.SIGTERM)
DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux' prctl
TICK = 0.5  # seconds between two looks at the children
SAY_EVERY = 10.0  # seconds between two lines on what is under way
LAST_LINES = 12  # of the log of a job that failed
Work = Callable[[Job, Path, Path], None]


@dataclass
class Running:
    """A child and its job."""

    job: Job
    child: ForkProcess
    begun: float


@dataclass
class Runner:
    """`failed` and `done` are names; `stopping` is the signal that ended it early."""

    plan: Plan
    marks: Marks
    lanes: int
    work: Work
    done: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    running: dict[str, Running] = field(default_factory=dict)
    stopping: int = 0
    _pace: list[tuple[float, float]] = field(default_factory=list)  # estimated and real seconds of what ended here

    def run(self) -> int:
        """All jobs; the exit status: 0, 1 where some failed, 128 and the signal where it was stopped."""
        self.done = {job.name for job in self.plan if self.marks.finished(job)}
        if self.done:
            say(f"{len(self.done)} of {len(self.plan)} jobs are done already")
        before = {number: signal.signal(number, self._stop) for number in WATCHED}
        said = time.monotonic()
        try:
            while self._start() or self.running:
                self._look()
                if time.monotonic() - said > SAY_EVERY:
                    said = time.monotonic()
                    self._say_running()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if self.stopping:
            say("stopped: the same command goes on from here")
            return 128 + self.stopping
        return self._sum_up()

    def _start(self) -> bool:
        """Fill the lanes; whether something was started."""
        if self.stopping:
            return False
        begun = {*self.running, *self.failed}
        able = self.plan.ready(self.done, begun)[: self.lanes - len(self.running)]
        for job in able:
            self.marks.begin(job)
            arguments = (self.work, job, self.marks.folder(job), self.marks.log(job))
            child = get_context("fork").Process(target=in_child, args=arguments)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()  # else the child would say it again
            signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)  # a child must not answer as its parent would
            child.start()
            self.running[job.name] = Running(job, child, time.monotonic())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
            if self.stopping:
                break
        return bool(able)

    def _look(self) -> None:
        """Wait a little, and take in what ended."""
        wait([each.child.sentinel for each in self.running.values()], timeout=TICK)
        for name, each in list(self.running.items()):
            if each.child.exitcode is None:
                continue
            each.child.join()
            del self.running[name]
            self._ended(each, time.monotonic() - each.begun)

    def _ended(self, each: Running, seconds: float) -> None:
        job, status = each.job, each.child.exitcode
        self.marks.end(job, seconds, finished=status == 0)
        if status == 0:
            self.done.add(job.name)
            self._pace.append((job.seconds, seconds))
            say(f"{job.name}: {seconds:.0f} s; {len(self.done)} of {len(self.plan)} jobs, {self._time_left()} left")
        elif not self.stopping:
            self.failed.add(job.name)
            log = self.marks.log(job)
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:] if log.exists() else []
            say("\n".join([f"{job.name} failed with {status}; {log} says why:", *(f"  {line}" for line in lines)]))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Pass it on, once for each signal that comes; a second one ends the children at once."""
        first, self.stopping = not self.stopping, number
        if first:
            say(f"{signal.Signals(number).name}: {len(self.running)} jobs save and stop")
        for each in self.running.values():
            if each.child.is_alive():
                each.child.terminate()

    # What it says

    def _say_running(self) -> None:
        for name, each in self.running.items():
            spent, share = time.monotonic() - each.begun, self.marks.share_done(each.job)
            left = (
                spent * (1 - share) / share if share > 0.02 else max(0.0, each.job.seconds * self._slowness() - spent)
            )
            say(f"  {name}: {f'{share:.0%}, ' if share else ''}{clock(spent)} so far, about {clock(left)} left")

    def _time_left(self) -> str:
        return clock(self.plan.seconds_left(self.done, self.lanes) * self._slowness())

    def _slowness(self) -> float:
        """Real seconds of an estimated one, by what has ended here."""
        estimated, real = (1.0 + math.fsum(each) for each in zip((0.0, 0.0), *self._pace, strict=True))
        return real / estimated

    def _sum_up(self) -> int:
        left = [job.name for job in self.plan if job.name not in self.done | self.failed]
        if self.failed:
            say(f"{len(self.failed)} jobs failed: {', '.join(sorted(self.failed))}")
        if left:
            say(f"{len(left)} jobs need what failed: {', '.join(left)}")
        return 1 if self.failed else 0


def in_child(work: Work, job: Job, folder: Path, log: Path) -> None:
    """The job, with signals as any process has them; it does not outlive a parent that is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    work(job, folder, log)


def say(line: str) -> None:
    """On stderr."""
    print(line, file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours too."""
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def seconds_by_experiment(marks: Marks, names: dict[str, list[Job]]) -> dict[str, Any]:
    """What the jobs of each experiment took together."""
    return {name: round(sum(marks.seconds(job) for job in jobs), 1) for name, jobs in names.items()}
