"""How fast a run is: tokens per second, model FLOPs utilisation, memory, time left, and the line that shows them.

MFU counts what `longreach.model.flops` counts, documents apart as they are trained, over the dense bf16 peak of the
GPUs; it is "-" elsewhere, for models whose FLOPs are not known and for adapters, which skip a part of them. Activations
that are computed twice are no model FLOPs.
"""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import is_peft_model

from longreach.errors import UserError
from longreach.model.flops import Shape, document_flops, shape_of
from longreach.model.parts import shown_parts
from longreach.plan.gpus import PEAKS
from longreach.ranks import world


def peak_flops(device: torch.device) -> float:
    """The dense bf16 operations per second of a device; 0 where they are unknown."""
    if device.type != "cuda":
        return 0.0
    name = torch.cuda.get_device_name(device)
    return next((1e12 * peak for part, peak in PEAKS.items() if part in name), 0.0)


def known_shape(model: Any) -> Shape | None:
    """None where the FLOPs of its training are not known."""
    try:
        return None if is_peft_model(model) else shape_of(model.config.to_dict())
    except UserError:
        return None


class Meter:
    """Measures the steps of all processes, whose devices are alike."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self._device = device
        self._peak = peak_flops(device) * world()
        self._shape = known_shape(model)
        self._begun = self._last = time.perf_counter()
        self._steps = 0

    def flops(self, lengths: Sequence[int]) -> float:
        """What training on these documents takes; 0 where nobody asks."""
        return document_flops(self._shape, lengths).total if self._shape and self._peak else 0.0

    def pause(self) -> None:
        """The clock of the next step starts now: what came before was no training."""
        now = time.perf_counter()
        self._begun += now - self._last
        self._last = now

    def step(self, tokens: float, flops: float) -> dict[str, float]:
        """The figures of the step that ends now, in which all processes together trained on so much."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        self._steps += 1
        figures = {"seconds": seconds, "tokens_per_second": tokens / seconds, "memory_gb": self._memory() / 1e9}
        return figures | ({"mfu": flops / seconds / self._peak} if flops else {})

    def left(self, steps: int) -> float:
        """Seconds that so many more steps take at the pace of this process."""
        return (self._last - self._begun) / self._steps * steps

    def _memory(self) -> int:
        """The most that this process has held: of its GPU, or resident."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def step_line(line: Mapping[str, Any], steps: int, left: float) -> str:
    """One step, every field at its own place."""
    figures = line["time"]
    mfu = f"{figures['mfu']:6.1%}" if "mfu" in figures else "     -"
    width = len(str(steps))
    shown = (
        f"step {line['step']:{width}d}/{steps} | {short(line['tokens']):>6s} tokens | loss {line['loss']:8.4f} | "
        f"norm {line['gradient_norm']:8.3f} | lr {line['learning_rate']:.2e} | "
        f"{short(figures['tokens_per_second']):>6s} tokens/s | mfu {mfu} | {figures['memory_gb']:5.1f} GB | "
        f"ETA {clock(left)}"
    )
    if "parts" in line:
        shown += f" | {shown_parts(line['parts'])}"
    return f"{shown} | SKIPPED: {line['skipped']}" if "skipped" in line else shown


def short(number: float) -> str:
    """1234567 -> "1.23M"."""
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g}{unit}"
    return f"{number:.0f}"


def clock(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
