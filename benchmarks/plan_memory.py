"""Memory as planned beside memory as measured, on small models on the CPU.

    python -m benchmarks.plan_memory [--quick]

Each case is a process of its own on one thread: a model of random weights, our attention and our loss, AdamW, two steps
of two micro-batches in float32, as `longreach.model.trainer` takes them. Measured is the peak of the resident memory
over what stood before the model was made, when every kernel had run once on a model of a few kilobytes. Blocks from
64 kB on come from the system and go back at once, so that the figure is of what was asked for. The bar is 15 %.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.attention_and_loss import resident
from longreach.model.flops import shape_of
from longreach.plan.layout import DDP, LORA, Layout
from longreach.plan.memory import GB, Memory, memory

BAR = 0.15
MICRO_BATCHES, STEPS = 2, 2
ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "OMP_NUM_THREADS": "1"}
COMMON = {"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 65_536}
LLAMA = COMMON | {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1_408,
    "num_hidden_layers": 8,
    "vocab_size": 8_192,
}
QWEN3 = COMMON | {
    "model_type": "qwen3",
    "hidden_size": 384,
    "intermediate_size": 1_024,
    "num_hidden_layers": 6,
    "vocab_size": 32_000,
    "tie_word_embeddings": True,
}
TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 96}
MODELS = {"llama": LLAMA, "qwen3": QWEN3}


@dataclass(frozen=True)
class Case:
    """A small model, rows of a length, checkpointing, the rank of an adapter (0: all weights)."""

    model: str
    seq_len: int
    checkpointing: bool = False
    lora: int = 0

    def planned(self) -> Memory:
        """As `pretrain plan` has it, on a CPU."""
        layout = Layout(
            mode=LORA if self.lora else DDP,
            gpus=1,
            seq_len=self.seq_len,
            checkpointing=self.checkpointing,
            lora=self.lora,
            on_gpu=False,
        )
        return memory(shape_of(MODELS[self.model]), layout)


CASES = (
    Case("llama", 512),
    Case("llama", 2_048),
    Case("llama", 4_096),
    Case("llama", 2_048, checkpointing=True),
    Case("llama", 8_192, checkpointing=True),
    Case("llama", 2_048, lora=16),
    Case("llama", 8_192, checkpointing=True, lora=16),
    Case("qwen3", 2_048),
    Case("qwen3", 8_192, checkpointing=True),
)
QUICK = (Case("llama", 512), Case("llama", 1_024, checkpointing=True), Case("llama", 512, lora=16))


def main() -> None:
    """Print the table, or in a child the figure of one case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three short cases")
    parser.add_argument("--case", nargs=4, metavar=("MODEL", "LENGTH", "CHECKPOINTING", "LORA"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.case:
        model, length, checkpointing, lora = given.case
        print(json.dumps(measure(Case(model, int(length), checkpointing == "True", int(lora)))))
        return
    print("| model | rows of | checkpointing | adapter | planned | measured | measured / planned |")
    print("|---|---:|---|---:|---:|---:|---:|")
    worst = max(abs(line(case) - 1) for case in (QUICK if given.quick else CASES))
    print(f"\nfurthest from the plan: {worst:.1%}, the bar is {BAR:.0%}")
    sys.exit(worst > BAR)


def line(case: Case) -> float:
    """Print one line of the table; the ratio."""
    words = map(str, (case.model, case.seq_len, case.checkpointing, case.lora))
    command = [sys.executable, "-m", "benchmarks.plan_memory", "--case", *words]
    done = subprocess.run(command, env={**os.environ, **ALLOCATION}, check=True, capture_output=True, text=True)
    measured, planned = json.loads(done.stdout), case.planned().total * GB
    print(
        f"| {case.model} | {case.seq_len:,} | {'yes' if case.checkpointing else 'no'} | {case.lora or ''} "
        f"| {planned / 1e6:,.0f} MB | {measured / 1e6:,.0f} MB | {measured / planned:.2f} |",
        flush=True,
    )
    return float(measured / planned)


def measure(case: Case) -> int:
    """Bytes added at the peak of the steps."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    train(MODELS[case.model] | TINY, Case(case.model, 64, case.checkpointing, case.lora))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    train(MODELS[case.model], case)
    return resident("VmHWM") - before


def train(config: dict[str, Any], case: Case) -> None:
    """The steps."""
    import torch

    from longreach.model.attention import register
    from longreach.model.causal import causal_loss
    from longreach.model.load import new_model
    from longreach.model.lora import add_lora
    from longreach.model.rope import Rope

    model = new_model("small", Rope("none"), case.seq_len, 0, "float32", register(), settings=config)
    model = causal_loss(add_lora(model, case.lora) if case.lora else model)
    model.train()
    if case.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    learning = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learning, fused=True)
    row = torch.randint(0, config["vocab_size"], (1, case.seq_len))
    place = torch.arange(case.seq_len)[None]
    for _ in range(STEPS):
        for _ in range(MICRO_BATCHES):
            model(input_ids=row, position_ids=place, weights=(place > 0).float()).loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
