"""The machine: cores, memory, disk and GPUs, without torch."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CPU_NAMES = Path("/proc/cpuinfo")  # Linux; others tell their architecture
QUERY = "name,memory.total,compute_cap,driver_version"
PATIENCE = 30  # seconds: a driver may hang
MIB = 2**20


@dataclass(frozen=True)
class Gpu:
    """As its driver tells it; memory in GB, powers of ten."""

    name: str
    memory_gb: float
    capability: tuple[int, int]
    driver: str

    @property
    def bfloat16(self) -> bool:
        """Whether it computes in it: Ampere and later."""
        return self.capability >= (8, 0)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """As it calls itself."""
    lines = CPU_NAMES.read_text().splitlines() if CPU_NAMES.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def memory_gb() -> float:
    """All of it, in GB."""
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9)


def free_gb(folder: Path) -> float:
    """Of the disk that a folder is on, in GB."""
    return shutil.disk_usage(folder).free / 1e9


def gpus() -> list[Gpu]:
    """NVIDIA's; none where its tool is missing or fails."""
    if not shutil.which("nvidia-smi"):
        return []
    command = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [gpu_of(line) for line in said.splitlines() if line.strip()]


def gpu_of(line: str) -> Gpu:
    """A line of the tool's CSV; 0 where the driver does not tell."""
    name, memory, capability, driver = (field.strip() for field in line.split(","))
    major, _, minor = capability.partition(".")
    return Gpu(name, _number(memory) * MIB / 1e9, (_number(major), _number(minor)), driver)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
