"""Where the cases run, how they are timed, and how they report."""

import gc
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from longreach.model import load
from longreach.model.rotary import check_rope, rotaries

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")


@dataclass(frozen=True)
class Report:
    """The file of one case: a line for every result, there at once, so that a case that is cut off keeps its own."""

    file: Path
    case: str

    def __call__(self, what: str, **figures: Any) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"case": self.case, "what": what, **figures}) + "\n")
        print(line_of({"case": self.case, "what": what, **figures}), flush=True)


def line_of(row: dict[str, Any]) -> str:
    """A result as the table shows it."""
    figures = "  ".join(f"{name} {shown(value)}" for name, value in row.items() if name not in ("case", "what"))
    return f"{row['case']:14} {row['what']:46} {figures}"


def shown(value: Any) -> str:
    """Numbers in four digits."""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def made_there(make: Callable[[], Any]) -> Any:
    """A model of random weights, drawn on the GPU to save the minutes that a CPU takes.

    Its frequencies are computed on the CPU, as those of a loaded model; the check of its RoPE comes afterwards, since
    it makes tensors of its own.
    """
    load.check_rope = lambda model: None
    try:
        with DEVICE:
            model = make()
    finally:
        load.check_rope = check_rope
    for rotary in rotaries(model):
        rotary.inverse.copy_(type(rotary.module)(model.config).inv_freq)
    check_rope(model)
    return model


def wait() -> None:
    """Until the GPU is done."""
    if GPU:
        torch.cuda.synchronize()


def free() -> None:
    """Give back what nobody holds, and forget the peak."""
    gc.collect()
    if GPU:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gb() -> float:
    """The most that tensors have held on the GPU since `free`; 0 on a CPU."""
    return torch.cuda.max_memory_allocated() / 1e9 if GPU else 0.0


def held_gb() -> float:
    """What tensors hold now."""
    return torch.cuda.memory_allocated() / 1e9 if GPU else 0.0


def seconds(work: Callable[[], Any], rounds: int = 3, warm_up: int = 1) -> float:
    """The median of some rounds, after a warm-up."""
    found = []
    for number in range(warm_up + rounds):
        wait()
        start = time.perf_counter()
        work()
        wait()
        if number >= warm_up:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The relative distance of two tensors, in float64."""
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm() / wanted.norm())


def out_of_memory(work: Callable[[], Any]) -> bool:
    """Whether the work does not fit; the memory that it held is given back."""
    try:
        work()
    except torch.OutOfMemoryError:
        return True
    return False
