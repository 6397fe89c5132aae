"""Operations, hours and money of a training run.

Hours follow from the operations and a share of the GPUs' peak, the MFU, which counts no recomputation. The range is
what was seen: 23 to 41 % by our trainer on one H100 (docs/gpu.md), 33 to 39 % by torchtitan on 8 to 128 of them without
float8 (its benchmarks/llama3_h100_202412_torchtitan.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from longreach.model.flops import Flops, Shape, stage_flops
from longreach.plan.gpus import Gpu

MFU, LOWEST_MFU, HIGHEST_MFU = 0.33, 0.23, 0.41
FROZEN = 4 / 6  # of a matrix' operations are left where its own gradient is not asked for


@dataclass(frozen=True)
class Effort:
    """Hours of the cluster at an MFU, and at the highest and lowest of the range; `cost` is None without a price."""

    flops: Flops
    mfu: float
    hours: float
    shortest: float
    longest: float
    gpu_hours: float
    cost: float | None


def run_flops(shape: Shape, stages: Sequence[tuple[int, int]], *, adapter: bool = False) -> Flops:
    """Of (length, tokens) stages; an adapter's own matrices are not worth counting, its base's learn nothing."""
    found = stage_flops(shape, stages)
    return Flops(found.dense * FROZEN, found.attention) if adapter else found


def effort(flops: Flops, gpu: Gpu, gpus: int, mfu: float, price: float) -> Effort:
    """On so many GPUs; `mfu` 0 is the usual one, `price` is of one GPU for an hour, 0 where nobody said."""
    at_peak = flops.total / (gpus * gpu.peak) / 3600
    taken = mfu or MFU
    hours = at_peak / taken
    return Effort(
        flops,
        taken,
        hours,
        min(at_peak / HIGHEST_MFU, hours),
        max(at_peak / LOWEST_MFU, hours),
        hours * gpus,
        hours * gpus * price if price else None,
    )
