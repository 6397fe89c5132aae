"""`evaluate loss` at 32k tokens of context beside stock transformers; a Markdown table on stdout.

    python -m benchmarks.loss_of_long_documents [--tokens 32768] [--hidden 512] [--windows 2] [--quick]

The same windows through the same random Llama (2 layers, vocabulary 32,000) in float32 on one thread, each way in a
process of its own. Ours is what the command runs: the loss of every token of a window. The peer is
`model(input_ids, labels=...)`, which makes all logits. Memory is the peak over what stood before: weights and imports.
A peer that would not fit into the memory that is free is left out and says so.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OURS, PEER = "evaluate loss", "model(input_ids, labels)"
VOCABULARY = 32_000
COPIES = 3  # of all logits in float32 that the peer holds at once, about


def main() -> None:
    """Print the table, or in a child measure one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="2,048 tokens")
    parser.add_argument("--way", choices=(OURS, PEER), help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.tokens = 2_048
    if given.way:
        print(json.dumps(measured(given)))
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Both ways, one after the other."""
    print(f"{given.windows} windows of {given.tokens:,} tokens, hidden size {given.hidden}\n")
    print("| | CPU seconds | ours is | added MB | ours is | loss |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder), given)
        ours: dict[str, float] = {}
        for way in (OURS, PEER):
            needed = 4 * COPIES * VOCABULARY * given.tokens if way == PEER else 0
            if needed > 0.8 * free_memory():
                print(f"| {way} | left out: needs some {needed / 1e9:.0f} GB | | | | |")
                continue
            each = child(way, folder, given)
            ours = ours or each
            speed, memory = each["seconds"] / ours["seconds"], ours["added"] / each["added"]
            figures = (
                f"{each['seconds']:.1f} | {speed:.2f} times as fast | {each['added'] / 1e6:,.0f} | {memory:.3f} of it"
            )
            print(f"| {way} | {figures} | {each['loss']:.6f} |")


def child(way: str, model: str, given: argparse.Namespace) -> Any:
    """What a process of its own found."""
    sizes = ["--tokens", str(given.tokens), "--windows", str(given.windows)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loss_of_long_documents", "--way", way, "--model", model, *sizes],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def make_model(folder: Path, given: argparse.Namespace) -> None:
    """A random Llama; windows are random tokens, so it needs no tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=given.hidden,
        intermediate_size=given.hidden * 11 // 4,
        num_hidden_layers=2,
        num_attention_heads=given.hidden // 64,
        num_key_value_heads=max(1, given.hidden // 256),
        max_position_embeddings=given.tokens,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        dtype=torch.float32,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def measured(given: argparse.Namespace) -> dict[str, float]:
    """One way's figures; the first pass is not counted."""
    import numpy as np
    import torch

    torch.set_num_threads(1)
    rows = np.random.default_rng(0).integers(0, VOCABULARY, (given.windows, given.tokens))
    loss_of = (ours if given.way == OURS else peer)(given.model, given.tokens)
    loss_of(rows[0, :64])
    stood, begun = resident("VmRSS"), time.process_time()
    losses = [loss_of(row) for row in rows]
    seconds = time.process_time() - begun
    return {"seconds": seconds, "added": resident("VmHWM") - stood, "loss": sum(losses) / len(losses)}


def ours(model: str, tokens: int) -> Any:
    """As the command tells a window whole."""
    from evaluation.told import _token_losses
    from longreach.model.attention import register
    from longreach.model.causal import causal_loss
    from longreach.model.load import load_model
    from longreach.model.rope import NONE, Rope

    loaded, _ = load_model(model, Rope(NONE), tokens, dtype="float32", attention=register())
    ready = causal_loss(loaded).eval()
    return lambda row: float(_token_losses(ready, row[None], len(row) - 1).mean())


def peer(model: str, tokens: int) -> Any:
    """Stock."""
    import torch
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa").eval()

    def loss_of(row: Any) -> float:
        ids = torch.from_numpy(row[None])
        with torch.no_grad():
            return float(loaded(input_ids=ids, labels=ids, use_cache=False).loss)

    return loss_of


def resident(field: str) -> int:
    """Bytes of this process by one field of its status."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[field].split()[0]) * 1024


def free_memory() -> int:
    """Bytes that are available."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


if __name__ == "__main__":
    main()
