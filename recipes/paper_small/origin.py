"""Where a report comes from: by which command, on what machine, with which versions, in how long."""

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from longreach.run import versions
from recipes.paper_small.commands import Setting

PACKAGES = ("longreach", "torch", "transformers", "trl", "numpy")
CPU_NAMES = Path("/proc/cpuinfo")  # Linux; others tell their architecture


@dataclass(frozen=True)
class Origin:
    """`seconds` are of all jobs together, however many went at once."""

    command: str
    machine: str
    lanes: int
    seconds: float
    versions: Mapping[str, str]


def origin(run: Setting, seeds: int, lanes: int, seconds: float) -> Origin:
    """Of the run that this process has carried out."""
    sources = [f"--docs {' '.join(run.sources)}"] if any("=" in each for each in run.sources) else []
    words = ["python -m recipes.paper_small", f"--scale {run.scale.name}", f"--seeds {seeds}", *sources]
    return Origin(" ".join(words), ", ".join(machine()), lanes, seconds, versions(*PACKAGES))


def machine() -> Iterator[str]:
    """Cores, memory, accelerator."""
    yield f"{cores()} cores ({cpu()})"
    yield f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB"
    import torch

    yield torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """As it calls itself."""
    lines = CPU_NAMES.read_text().splitlines() if CPU_NAMES.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
