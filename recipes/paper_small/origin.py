"""Where a report comes from: by which command, on what machine, with which versions, in how long."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from longreach.machine import cores, cpu, gpus, memory_gb
from longreach.run import versions
from recipes.paper_small.commands import Setting

PACKAGES = ("longreach", "torch", "transformers", "trl", "numpy")


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
    yield f"{memory_gb():.0f} GB"
    yield next((gpu.name for gpu in gpus()), "no GPU")
