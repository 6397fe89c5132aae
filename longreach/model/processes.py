"""The processes of a run: torchrun starts several, one per GPU; without it there is one.

Neighbours may share rows, `degree` processes each; such a set of processes is a team. Without, every process is one.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from torch import distributed

from longreach.errors import UserError
from longreach.ranks import rank, world

Made = TypeVar("Made")

GONE = ("Connection closed by peer", "Connection reset by peer", "NCCL", "Timed out waiting", "Socket Timeout")
PATIENCE = timedelta(hours=1)  # while the first process writes a checkpoint, the others wait


@dataclass(frozen=True)
class Team:
    """The processes that share rows with this one: it is the `place`-th of `degree` in the `number`-th of `count`."""

    degree: int = 1
    group: Any = None  # to send to; None for a process on its own

    @property
    def place(self) -> int:
        """From 0."""
        return rank() % self.degree

    @property
    def number(self) -> int:
        """From 0."""
        return rank() // self.degree

    @property
    def count(self) -> int:
        """Of teams."""
        return world() // self.degree


_team = Team()


def team() -> Team:
    """That of this process."""
    return _team


def meet(degree: int = 1) -> None:
    """Let the processes know of each other, over NCCL between GPUs, over gloo between CPUs; teams have `degree`."""
    global _team
    PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    groups = [None] * world()
    if degree > 1:  # every process must know of every group
        groups = [distributed.new_group(list(range(first, first + degree))) for first in range(0, world(), degree)]
    _team = Team(degree, groups[rank() // degree])


def device() -> torch.device:
    """That of this process."""
    found: torch.device = PartialState().device
    return found


def in_turn(make: Callable[[], Made], *, one_by_one: bool) -> Made:
    """What `make` gives; with `one_by_one`, the processes of a machine call it one after the other, the first one last:
    it may keep what the others do not."""
    turns = int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if one_by_one else 1
    mine = int(os.environ.get("LOCAL_RANK", 0)) % turns
    for turn in reversed(range(turns)):
        if turn == mine:
            made = make()
        barrier()
    return made


def summed(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Numbers added up over all processes: the same in each, to the last bit."""
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def most(number: int, device: torch.device) -> int:
    """The largest that any process has."""
    found = torch.tensor(number, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(found, distributed.ReduceOp.MAX)
    return int(found)


def barrier() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


@contextmanager
def said_of_others() -> Iterator[None]:
    """What the libraries of communication raise where another process is gone, as one message."""
    try:
        yield
    except RuntimeError as error:
        if world() == 1 or not any(sign in str(error) for sign in GONE):
            raise
        raise UserError(
            f"another process is gone: {str(error).splitlines()[0]}",
            "what ended that one stands in its own log, or in the system's (out of memory?); the last checkpoint is "
            "good, and the same command goes on from there",
        ) from error


def say(line: str) -> None:
    """A line on stderr, once for all processes."""
    if rank() == 0:
        sys.stderr.write(line + "\n")
