"""What `pretrain plan` computes beside what others published, with the error: nothing here is fitted to any of it.

    python -m benchmarks.plan_published

Sources, as read there: the paper's Table 10 (arXiv:2309.16039); docs/gpu.md, our own trainer; for ALST
(arXiv:2506.13996) projects/sequence-parallelism/run-h100-*.yml of ArcticTraining, whose lengths its authors ran as the
longest; README and accelerate_configs/zero3_offload.json of EasyContext; benchmarks/llama3_h100_202412_torchtitan.md of
torchtitan; train_64K.sh and train_512K.sh of ProLong; TRL's claim of more than 300K tokens with Qwen3-8B on 8 H100, and
of its release 1.13.0 the 1,048,576 tokens at 380 s a step and 56.2 GB; Llama 2's GPU hours (arXiv:2307.09288, Table 2,
as quoted by others) for its 2T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.gpu.training import BILLION
from longreach.model.aliases import BATCH_TOKENS, STEPS, aliases
from longreach.model.flops import Shape, flops_per_token, paper_shape, shape_of, stage_flops
from longreach.plan.gpus import GPUS, find_node
from longreach.plan.layout import ACTIVATIONS, DDP, FSDP, OPTIMIZER, WEIGHTS, ZERO2, ZERO3, Layout
from longreach.plan.memory import GB, memory
from longreach.plan.search import has_room, longest_rows
from recipes.paper_small.computed import FLOPS_SHAPE
from recipes.paper_small.published import FLOPS

GIB = 2**30 / GB
SHORT, LONG = 4_096, 32_768  # Sec. 4.4
HOST = frozenset({OPTIMIZER})
ALST = {"mode": ZERO3, "offload": HOST}
WITH_CHECKPOINTS = {"mode": ZERO3, "offload": HOST | {ACTIVATIONS}}
RING = {"mode": ZERO3, "offload": HOST | {WEIGHTS}, "full_logits": True}

Cells = Sequence[object]


@dataclass(frozen=True)
class Longest:
    """A length that somebody ran as the longest."""

    who: str
    model: str
    gpu: str
    gpus: int
    tokens: int
    how: dict[str, Any]
    said: str

    def cells(self) -> Cells:
        """One line of the table."""
        layout = Layout(gpus=self.gpus, seq_len=self.tokens, checkpointing=True, **self.how)
        planned = longest_rows(shape(self.model), layout, find_node(self.gpu))
        where = f"{self.gpus} {self.gpu}"
        return self.who, self.model, where, self.said, f"{self.tokens:,}", f"{planned:,}", error(planned, self.tokens)


LONGEST = (
    Longest("ALST", "llama3.1-8b", "h100", 8, 32_000, ALST | {"full_logits": True}, "zero3, optimizer on the host"),
    Longest("ALST", "llama3.1-8b", "h100", 8, 160_000, ALST, "the same, logits in parts"),
    Longest("ALST", "llama3.1-8b", "h100", 8, 1_100_000, ALST | {"sequence_parallel": 8}, "the same, 8 to a row"),
    Longest(
        "ALST",
        "llama3.1-8b",
        "h100",
        8,
        1_200_000,
        ALST | {"sequence_parallel": 8, "tiled_mlp": True},
        "the same, MLP in tiles",
    ),
    Longest(
        "ALST",
        "llama3.1-8b",
        "h100",
        8,
        2_400_000,
        WITH_CHECKPOINTS | {"sequence_parallel": 8},
        "8 to a row, checkpoints on the host",
    ),
    Longest(
        "ALST",
        "llama3.1-8b",
        "h100",
        8,
        3_700_000,
        WITH_CHECKPOINTS | {"sequence_parallel": 8, "tiled_mlp": True},
        "the same, MLP in tiles",
    ),
    Longest(
        "ALST",
        "llama3.1-8b",
        "h100",
        32,
        15_000_000,
        WITH_CHECKPOINTS | {"sequence_parallel": 32, "tiled_mlp": True},
        "the same, 32 to a row",
    ),
    Longest(
        "ALST",
        "llama3.1-8b",
        "h100",
        1,
        500_000,
        {"mode": ZERO3, "offload": HOST | {WEIGHTS, ACTIVATIONS}, "tiled_mlp": True},
        "all on the host, MLP in tiles",
    ),
    Longest(
        "ALST",
        "llama3.1-70b",
        "h100",
        8,
        200_000,
        ALST | {"sequence_parallel": 8, "tiled_mlp": True},
        "8 to a row, MLP in tiles",
    ),
    Longest(
        "EasyContext", "llama2-7b", "a100-80", 8, 700_000, RING | {"sequence_parallel": 8}, "ring of 8, full logits"
    ),
    Longest(
        "EasyContext", "llama2-13b", "a100-80", 16, 1_000_000, RING | {"sequence_parallel": 16}, "ring of 16, the same"
    ),
)
TRL_ROW, TRL = 1_048_576, {"mode": FSDP, "sequence_parallel": 8, "offload": frozenset({ACTIVATIONS})}
RAN = (  # who, model, GPUs, GPU, length, layout: they ran it, and did not say that it was the longest
    ("ProLong", "llama3-8b", 8, "h100", 65_536, {"mode": FSDP}),
    ("ProLong", "llama3-8b", 8, "h100", 524_288, {"mode": FSDP, "sequence_parallel": 8}),
    ("TRL", "qwen3-8b", 8, "h100", 300_000, {"mode": FSDP, "sequence_parallel": 8}),
    ("TRL", "qwen3-8b", 8, "h100", TRL_ROW, TRL),
)
OURS = (  # docs/gpu.md: tokens of a row, rows at once, checkpointing, GB
    (4_096, 2, True, 22.4),
    (4_096, 8, True, 28.3),
    (4_096, 2, False, 40.5),
    (16_384, 1, True, 24.2),
    (16_384, 2, True, 28.3),
    (32_768, 1, True, 28.3),
)
ON_H200 = (  # mode, what is on the host, GB: benchmarks.gpu's engines, BILLION, one process, one row of 16,384
    (DDP, frozenset(), 25.14),
    (FSDP, frozenset(), 22.02),
    (ZERO2, frozenset(), 25.65),
    (ZERO3, frozenset(), 26.00),
    (ZERO3, HOST, 8.03),
)
RECIPES_BUCKET = 500_000_000  # of recipes/deepspeed-*.json
TORCHTITAN = ((32_768, 1, 83.9), (65_536, 2, 84.2), (131_072, 4, 84.0), (262_144, 8, 84.5))  # length, CP, GiB
SPEEDS = (  # who, model, tokens of a row, GPU, tokens a second of one GPU
    ("torchtitan, bf16", "llama3.1-8b", 8_192, "h100", 5_762),
    ("torchtitan, bf16, compiled", "llama3.1-8b", 8_192, "h100", 6_667),
    ("EasyContext, data parallel", "llama2-7b", 65_536, "a100-80", 10_240 / 8),
    ("EasyContext, ring", "llama2-7b", 524_288, "a100-80", 2_133 / 8),
    ("EasyContext, ring", "llama2-7b", 700_000, "a100-80", 1_603 / 8),
    ("TRL, ring", "qwen3-8b", TRL_ROW, "h100", TRL_ROW / 380 / 8),
    ("Llama 2, from scratch", "llama2-7b", 4_096, "a100-80", 2e12 / 184_320 / 3600),
    ("Llama 2, from scratch", "llama2-70b", 4_096, "a100-80", 2e12 / 1_720_320 / 3600),
)


def main() -> None:
    """Print every table."""
    table("FLOPs of Sec. 4.4", ("4,096 before 32,768", "published", "planned", "error"), flops())
    head = ("who", "model", "GPUs", "how", "longest published", "planned", "error")
    table("Longest rows", head, [each.cells() for each in LONGEST])
    table("Rows that were run", ("who", "model", "GPUs", "tokens", "fits by the plan", "longest planned"), ran())
    head = ("rows", "at once", "checkpointing", "measured", "planned", "error")
    table("Our trainer on one H100, 1.1 billion parameters, GB", head, ours())
    head = ("mode", "on the host", "measured", "planned", "error", "fullest")
    table("Ours on one H200, the same model by every engine, GB", head, on_h200())
    head = ("rows", "GPUs to a row", "reported", "planned", "error")
    table("torchtitan, Llama 3.1 8B on 8 H100 of 96 GB, full logits, float8 and compiled, GiB", head, torchtitan())
    table("MFU that published speeds come to", ("who", "model", "rows", "tokens/s of a GPU", "MFU"), speeds())


def table(title: str, head: Sequence[str], rows: Sequence[Cells]) -> None:
    """As Markdown."""
    print(f"\n{title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")


def shape(alias: str) -> Shape:
    """Of a model by its short name."""
    return shape_of(aliases()[alias].config)


def error(planned: float, published: float) -> str:
    """How far the plan is off, with its sign."""
    return f"{planned / published - 1:+.1%}"


def flops() -> list[Cells]:
    """The four curricula of the paper: equal tokens, a part of them in short rows first."""
    tokens, found = STEPS * BATCH_TOKENS, []
    for percent, published in FLOPS.items():
        stages = [(SHORT, tokens * percent // 100), (LONG, tokens * (100 - percent) // 100)]
        planned = stage_flops(paper_shape(*FLOPS_SHAPE), stages).total
        found.append((f"{percent} %", f"{published:.3e}", f"{planned:.3e}", f"{planned / published - 1:+.2%}"))
    return found


def ran() -> list[Cells]:
    """Whether the plan allows what was done."""
    found = []
    for who, model, gpus, gpu, tokens, how in RAN:
        layout, node = Layout(gpus=gpus, seq_len=tokens, checkpointing=True, **how), find_node(gpu)
        fits = "yes" if has_room(shape(model), layout, node) else "no"
        found.append(
            (who, model, f"{gpus} {gpu}", f"{tokens:,}", fits, f"{longest_rows(shape(model), layout, node):,}")
        )
    return found


def ours() -> list[Cells]:
    """Peaks of docs/gpu.md."""
    found = []
    for length, rows, checkpointing, measured in OURS:
        layout = Layout(mode=DDP, gpus=1, seq_len=length, rows=rows, checkpointing=checkpointing)
        planned = memory(shape_of(BILLION), layout).total
        often = "yes" if checkpointing else "no"
        found.append((f"{length:,}", rows, often, measured, f"{planned:.1f}", error(planned, measured)))
    return found


def on_h200() -> list[Cells]:
    """Peak memory that was allocated: torch 2.11, DeepSpeed 0.19.8, gradient checkpointing."""
    found = []
    for mode, offload, measured in ON_H200:
        layout = Layout(mode=mode, gpus=1, seq_len=16_384, checkpointing=True, offload=offload, bucket=RECIPES_BUCKET)
        planned = memory(shape_of(BILLION), layout)
        host = ", ".join(sorted(offload))
        cells = mode, host, f"{measured:.2f}", f"{planned.total:.2f}", error(planned.total, measured), planned.peak
        found.append(cells)
    return found


def torchtitan() -> list[Cells]:
    """What it reports is what the allocator had reserved."""
    found = []
    for length, degree, reported in TORCHTITAN:
        layout = Layout(
            mode=FSDP, gpus=8, seq_len=length, checkpointing=True, sequence_parallel=degree, full_logits=True
        )
        planned = memory(shape("llama3.1-8b"), layout).total / GIB
        found.append((f"{length:,}", degree, reported, f"{planned:.1f}", error(planned, reported)))
    return found


def speeds() -> list[Cells]:
    """By the formula of `longreach.model.flops`, attention in full squares."""
    found = []
    for who, model, length, gpu, speed in SPEEDS:
        mfu = speed * flops_per_token(shape(model), length).total / GPUS[gpu].peak
        found.append((who, model, f"{length:,}", f"{speed:,.0f}", f"{mfu:.1%}"))
    return found


if __name__ == "__main__":
    main()
