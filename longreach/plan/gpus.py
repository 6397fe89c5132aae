"""GPUs and nodes as data: memory, its bandwidth, dense bf16 peak, how many stand together. Prices are the user's.

Memory is what the driver reports, in GB (10^9 bytes): of an H100 as docs/gpu.md has it, of the others as nvidia-smi of
their owners shows it. Peaks, without sparsity, and bandwidths are the makers', of the SXM boards where there are two;
nodes are as their providers list them.
"""

from dataclasses import dataclass

from longreach.config import did_you_mean
from longreach.errors import UserError

USABLE = 0.92  # of a GPU's memory; the rest: CUDA's context, NCCL, holes of the allocator (ours)

PEAKS = {  # dense bf16, in TFLOP/s, by what the device's name holds; the first that fits
    "B200": 2250.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "H20": 148.0,
    "A100": 312.0,
    "A800": 312.0,
    "H800": 989.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "A10": 125.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
    "MI300X": 1307.0,
}


@dataclass(frozen=True)
class Gpu:
    """One GPU. `device` is the part of its name by which PEAKS knows it, `bandwidth_gb` its memory's, a second."""

    name: str
    device: str
    memory_gb: float
    bandwidth_gb: float

    @property
    def peak(self) -> float:
        """Dense bf16 operations per second."""
        return PEAKS[self.device] * 1e12

    @property
    def bandwidth(self) -> float:
        """Bytes of its memory that it can read per second."""
        return self.bandwidth_gb * 1e9

    @property
    def room_gb(self) -> float:
        """What a training step may fill."""
        return USABLE * self.memory_gb


@dataclass(frozen=True)
class Node:
    """GPUs that stand together. `host_gb` is the memory beside them, 0 where nobody says."""

    name: str
    gpu: Gpu
    gpus: int = 8
    host_gb: float = 0.0


GPUS = {
    each.name: each
    for each in (
        Gpu("a100-40", "A100", 42.9, 1_555),
        Gpu("a100-80", "A100", 85.9, 2_039),
        Gpu("h100", "H100", 85.5, 3_350),
        Gpu("h200", "H200", 150.8, 4_800),
        Gpu("b200", "B200", 192.3, 8_000),
        Gpu("l40s", "L40S", 48.3, 864),
        Gpu("rtx4090", "RTX 4090", 25.8, 1_008),
    )
}
NODES = {
    each.name: each
    for each in (
        Node("p4d.24xlarge", GPUS["a100-40"], 8, 1_237.0),
        Node("p4de.24xlarge", GPUS["a100-80"], 8, 1_237.0),
        Node("p5.48xlarge", GPUS["h100"], 8, 2_199.0),
        Node("p5en.48xlarge", GPUS["h200"], 8, 2_199.0),
        Node("a2-ultragpu-8g", GPUS["a100-80"], 8, 1_460.0),
        Node("a3-highgpu-8g", GPUS["h100"], 8, 2_010.0),
        Node("g6e.48xlarge", GPUS["l40s"], 8, 1_649.0),
    )
}


def find_node(name: str) -> Node:
    """The node of that name, or eight of the GPU of that name; UserError for neither."""
    key = name.lower()
    if key in NODES:
        return NODES[key]
    if key in GPUS:
        return Node(key, GPUS[key])
    known = [*GPUS, *NODES]
    raise UserError(f"no GPU or node {name}{did_you_mean(key, known)}", f"known: {', '.join(known)}")
