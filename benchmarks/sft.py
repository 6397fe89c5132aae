"""Finetuning on long and short examples: the project's trainer beside TRL's SFTTrainer, in one run on the same data.

    python -m benchmarks.sft [--quick] [--steps 6] [--loss long=all,short=answer]

40 long examples of 4,000 to 15,000 tokens and 2,000 short ones, 60 of them in a step, in the order of one mix; a Llama
of 2 layers, width 128 and vocabulary 8,192, in float32 on one thread; AdamW with the same numbers. Each way runs in a
process of its own, one after the other. Useful tokens are those of the examples, without padding. CPU seconds are
counted from the first step on, reading included; memory is the peak of the whole process, and what training added to
what stood there before it, which is imports and the model.

TRL gets ids and labels, -100 where nothing is trained on, and its best stock setting: one example at a time, no
gradient checkpointing, no bf16, fused AdamW, causal sdpa, its own tiled loss. The losses of the steps must be the same.
Its other ways stand beside it for their rate: four examples at a time, padded, and its packing that loses nothing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
VOCABULARY, SEQ_LEN, BATCH = 8_192, 16_384, 60  # examples of a step
OURS, BEST, PADDED, PACKED = "ours", "TRL, 1 example at a time", "TRL, 4 at a time, padded", "TRL, packed (bfd_split)"
WAYS = (OURS, BEST, PADDED, PACKED)
RATE, BETAS, EPSILON, DECAY, CLIP = 1e-3, (0.9, 0.95), 1e-5, 0.1, 1.0
SPEED, MEMORY, LOSSES = 2.5, 0.6, 1e-5  # what must hold against TRL at its best


def main() -> None:
    """Print the table, or in a child make the data or train one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="an eighth of the lengths and 2 steps")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--loss", default="long=all,short=answer")
    parser.add_argument("--way", choices=("data", *WAYS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.steps = min(given.steps, 2)
    if given.way == "data":
        make(given.folder, 8 if given.quick else 1)
    elif given.way:
        print(json.dumps(trained(given)))
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Every way in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        child("data", folder, given, given.steps)
        found = {}
        for way in WAYS:  # the slow ways of TRL for a rate alone
            steps = given.steps if way in (OURS, BEST) else min(2, given.steps)
            found[way] = child(way, folder, given, steps)
            print(f"{way}: {found[way]['seconds']:.0f} CPU seconds", file=sys.stderr, flush=True)
    print(f"{given.steps} steps of {BATCH} examples, --loss {given.loss}\n")
    print("| | useful tokens per CPU-second | ours is | peak MB | ours is | added MB | ours is | padding |")
    print("|---|---|---|---|---|---|---|---|")
    ours = found[OURS]
    for way, each in found.items():
        speed, padding = each["tokens"] / each["seconds"], 1 - each["tokens"] / each["padded"]
        times = ours["tokens"] / ours["seconds"] / speed
        shares = {name: f"{each[name] / 1e6:,.0f} | {ours[name] / each[name]:.2f} of it" for name in ("peak", "added")}
        print(f"| {way} | {speed:,.0f} | {times:.2f} times | {shares['peak']} | {shares['added']} | {padding:.0%} |")
    print(f"\n{verdict(ours, found[BEST])}")


def verdict(ours: dict[str, Any], best: dict[str, Any]) -> str:
    """How the bars stand."""
    speed = ours["tokens"] / ours["seconds"] / (best["tokens"] / best["seconds"])
    memory = ours["peak"] / best["peak"]
    apart = max(abs(one - other) for one, other in zip(ours["losses"], best["losses"], strict=True))
    held = {True: "held", False: "NOT HELD"}
    return "\n".join(
        (
            f"speed {speed:.2f} of TRL at its best, at least {SPEED}: {held[speed >= SPEED]}",
            f"peak memory {memory:.2f} of it, at most {MEMORY}: {held[memory <= MEMORY]}",
            f"losses of the steps differ by {apart:.1e}, at most {LOSSES:.0e}: {held[apart <= LOSSES]}",
        )
    )


def child(way: str, folder: str, given: argparse.Namespace, steps: int) -> Any:
    """What a process of its own found."""
    command = [sys.executable, "-m", "benchmarks.sft", "--way", way, "--folder", folder, "--steps", str(steps)]
    quiet = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [*command, "--loss", given.loss, *(["--quick"] if given.quick else [])],
        cwd=ROOT,
        env=os.environ | quiet | {"CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) if way != "data" else None


def make(folder: Path, shorter: int) -> None:
    """Examples and model."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from finetune.store import StoreWriter
    from longreach.text.tokenize import SHIPPED

    rng = np.random.default_rng(0)
    long = rng.integers(4_000, 15_001, 40) // shorter
    short = (rng.lognormal(5.2, 0.8, 2_000).astype(int) // shorter).clip(16, 2_000)
    for name, lengths, answers in (("long", long, [100 // shorter] * 40), ("short", short, short // 2)):
        with StoreWriter(folder / name, VOCABULARY) as writer:
            for number, (length, answer) in enumerate(zip(lengths, answers, strict=True)):
                tokens = (VOCABULARY * rng.random(length) ** 3).astype(np.uint32)  # some far more often than others
                writer.append(tokens, np.arange(length) >= length - answer, number, number, 0, "")
            writer.finish()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=SEQ_LEN,
        dtype=torch.float32,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), **special).save_pretrained(folder / "model")


def trained(given: argparse.Namespace) -> dict[str, Any]:
    """The figures of one way."""
    import torch

    from finetune.losses import parse_losses
    from finetune.mix import Budget, plan_mix
    from finetune.store import Store

    torch.set_num_threads(1)
    sources = [Store(given.folder / name) for name in ("long", "short")]
    plan = plan_mix(sources, None, "examples", Budget(epochs=1, batch_size=BATCH), seed=0)
    losses = parse_losses(given.loss, ("long", "short"))
    if given.way == OURS:
        return ours(given.folder, sources, plan, losses, given.steps)
    return peer(given.way, given.folder, sources, plan, losses, given.steps)


def ours(folder: Path, sources: Sequence[Any], plan: Any, losses: Any, steps: int) -> dict[str, Any]:
    """As `finetune sft` trains."""
    from finetune.batches import MixBatches
    from longreach.model import train as training
    from longreach.model.attention import register
    from longreach.model.load import load_model
    from longreach.model.rope import Rope
    from longreach.model.settings import TrainSettings
    from longreach.model.stages import Stage

    batches = MixBatches(sources, plan, losses, seq_len=SEQ_LEN, pack_len=SEQ_LEN, alone=("long",))
    clock = Clock()

    class Clocked(training.LongTrainer):
        """The project's trainer under the clock."""

        def follow(self, course: Any) -> None:
            super().follow(course)
            self.add_callback(clock.callback())

    training.LongTrainer = Clocked
    settings = TrainSettings(
        learning_rate=RATE,
        schedule="constant",
        betas=BETAS,
        epsilon=EPSILON,
        weight_decay=DECAY,
        clip=CLIP,
        micro_batch_tokens=SEQ_LEN,
        save_every=0,
        spike_factor=0,
    )
    _, tokenizer = load_model(str(folder / "model"), Rope("none"), SEQ_LEN, dtype="float32", attention=register())

    def load(rope: Rope, seq_len: int) -> Any:
        return load_model(str(folder / "model"), rope, seq_len, dtype="float32", attention=register())[0]

    report = training.train(load, tokenizer, [Stage(batches, Rope("none"), steps)], settings, folder / "ours", {})
    return {"losses": list(report.losses), "tokens": report.tokens, "padded": report.tokens, **clock.figures()}


def peer(way: str, folder: Path, sources: Sequence[Any], plan: Any, losses: Any, steps: int) -> dict[str, Any]:
    """As TRL trains out of the box."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    together = 4 if way == PADDED else 1
    chosen = list(zip(plan.source.tolist(), plan.example.tolist(), strict=True))[: int(plan.steps[steps])]
    examples = [labelled(sources[source][number], losses[sources[source].name]) for source, number in chosen]
    data = Dataset.from_list(examples)
    packing = {"packing": True, "packing_strategy": "bfd_split"} if way == PACKED else {}
    rows_of_step = 1 if way == PACKED else BATCH // together
    config = SFTConfig(
        output_dir=str(folder / "peer"),
        max_steps=steps,
        per_device_train_batch_size=together,
        gradient_accumulation_steps=rows_of_step,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        adam_epsilon=EPSILON,
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        train_sampling_strategy="sequential",
        max_length=SEQ_LEN if way == PACKED else None,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **packing,
    )
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    trainer = SFTTrainer(model=model, args=config, train_dataset=data, processing_class=tokenizer)
    clock = Clock()
    trainer.add_callback(clock.callback())
    trainer.train()
    seen = [len(row) for row in trainer.train_dataset[: steps * rows_of_step * together]["input_ids"]]
    padded = sum(together * max(seen[start : start + together]) for start in range(0, len(seen), together))
    found = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"losses": found, "tokens": sum(seen), "padded": padded, **clock.figures()}


def labelled(item: Any, loss: Any) -> dict[str, list[int]]:
    """An example as TRL takes it; what nothing precedes is not counted by either side."""
    import numpy as np

    from finetune.losses import weights_of

    weights = weights_of(item, loss, "tokens")
    if set(np.unique(weights)) - {0.0, 1.0}:
        raise SystemExit("TRL has no weights: compare with all or answer")
    tokens = item.tokens.astype(np.int64)
    return {"input_ids": tokens.tolist(), "labels": np.where(weights > 0, tokens, -100).tolist()}


class Clock:
    """CPU seconds and memory from the beginning of training to the end of the last step, by the trainer's callbacks."""

    begun = ended = 0.0
    stood = peak = 0

    def callback(self) -> Any:
        """The same for every trainer."""
        from transformers import TrainerCallback

        clock = self

        class Watch(TrainerCallback):
            """Told by the trainer."""

            def on_train_begin(self, *given: Any, **more: Any) -> None:
                clock.stood, clock.begun = resident("VmRSS"), time.process_time()

            def on_step_end(self, *given: Any, **more: Any) -> None:
                clock.ended, clock.peak = time.process_time(), resident("VmHWM")

        return Watch()

    def figures(self) -> dict[str, float]:
        """What it saw."""
        return {"seconds": self.ended - self.begun, "peak": self.peak, "added": self.peak - self.stood}


def resident(field: str) -> int:
    """Bytes of this process by one field of its status; unlike getrusage, without what its parent held."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[field].split()[0]) * 1024


if __name__ == "__main__":
    main()
