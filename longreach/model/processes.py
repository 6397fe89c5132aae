"""The processes of a run: torchrun starts several, one per GPU; without it there is one."""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta

import torch
from accelerate import PartialState
from torch import distributed

PATIENCE = timedelta(hours=1)  # while the first process writes a checkpoint, the others wait


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", 0))


def world() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", 1))


def meet() -> None:
    """Let the processes know of each other: over NCCL between GPUs, over gloo between CPUs."""
    PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def summed(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Numbers added up over all processes: the same in each, to the last bit."""
    total = torch.tensor(numbers, dtype=torch.float64, device=device)
    if distributed.is_initialized():
        distributed.all_reduce(total)
    found: list[float] = total.tolist()
    return found


def barrier() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def say(line: str) -> None:
    """A line on stderr, once for all processes."""
    if rank() == 0:
        sys.stderr.write(line + "\n")
