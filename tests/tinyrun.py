"""A training run of seconds: a Llama of two layers on rows of made-up documents, everything else as in earnest.

python tests/tinyrun.py OUT [NAME=VALUE...]   trains it, under torchrun too; the names are those of `Plan`
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from longreach.errors import UserError
from longreach.model.attention import register
from longreach.model.batches import Packed, PackedBatches, TrainRow
from longreach.model.parallel.mode import read_mode
from longreach.model.rope import Rope
from longreach.model.ropeconfig import with_rope
from longreach.model.samples import Question, Samples
from longreach.model.settings import TrainSettings
from longreach.model.stages import Stage
from longreach.model.train import TrainReport, train
from longreach.rows.rows import Row
from tinyllama import tiny_tokenizer

VOCABULARY, WINDOW = 300, 32


@dataclass(frozen=True)
class Plan:
    """What a test may change."""

    steps: str = "6"  # of each stage, and its rows: "4@64,4@128"
    batch_tokens: int = 512
    micro_batch_tokens: int = 128
    save_every: int = 2
    keep_checkpoints: int = 2
    validate_every: int = 3
    learning_rate: float = 3e-3
    epsilon: float = 1e-5
    clip: float = 1.0
    spike_factor: float = 10.0
    skip_bad_batches: bool = False
    gradient_checkpointing: bool = False
    ragged: bool = False  # 1, 2, 3, 1, ... rows a step, weights that are fractions, prompts and answers told apart
    samples: bool = False  # a question is answered wherever the held-out loss is measured
    dropout: float = 0.0  # of the embeddings, in training
    lora: bool = False
    tied: bool = False  # the embeddings are the head
    dtype: str = "float32"
    threads: int = 1
    fsdp: str = ""
    deepspeed: str = ""
    sequence: int = 1


class TinyRows:
    """Rows of several documents and some padding; every word follows from the one before but for the first of each."""

    vocab_size = VOCABULARY

    def __init__(self, rows: int, seq_len: int, seed: int) -> None:
        self.rows, self.seq_len, self.seed = rows, seq_len, seed

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, row: int) -> Row:
        draw = np.random.default_rng((self.seed, row))
        cuts = np.sort(draw.choice(np.arange(2, self.seq_len), 3, replace=False))
        lengths = np.diff(cuts, prepend=0).astype(np.int32)
        first = np.repeat(draw.integers(0, VOCABULARY, 3), lengths)
        tokens = np.zeros(self.seq_len, np.uint16)
        tokens[: cuts[-1]] = (first + 7 * (np.arange(cuts[-1]) % 5)) % VOCABULARY
        return Row(tokens, lengths, np.zeros(3, np.int64))


class Parted(Packed):
    """The first third of each row is a prompt, then comes an answer; the last word is in neither."""

    parts = ("prompt", "answer")

    def __getitem__(self, place: int) -> TrainRow:
        row = super().__getitem__(place)
        parts = np.full(len(row.tokens), 2, np.uint8)
        parts[: len(parts) // 3] = 1
        parts[row.lengths.sum() - 1] = 0
        return replace(row, parts=parts)


class RaggedBatches:
    """As a mix of chats gives them."""

    rows_per_step, vocab_size = 0, VOCABULARY

    def __init__(self, rows: Packed) -> None:
        self.seq_len, self.rows, self.parts = rows.seq_len, rows, rows.parts

    def plan(self, step: int) -> Sequence[int]:
        return range(self.position(step), self.position(step + 1))

    def row(self, item: int) -> TrainRow:
        row = self.rows[item]
        return replace(row, weights=row.weights * np.random.default_rng(item).random(len(row.weights), np.float32))

    def position(self, step: int) -> int:
        return sum(1 + place % 3 for place in range(step))


def tiny_model(rope: Rope, seq_len: int, tied: bool = False) -> LlamaForCausalLM:
    """Equal arguments, equal weights, but for the RoPE."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=WINDOW,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=tied,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM._from_config(with_rope(config, rope, seq_len), attn_implementation=register())


def stages_of(plan: Plan) -> list[Stage]:
    """The first with the RoPE as it is, those after it with a larger base."""
    found = []
    for place, word in enumerate(plan.steps.split(",")):
        steps, _, length = word.partition("@")
        rows = TinyRows(50, int(length or 64), 0)
        packed = PackedBatches(Packed(rows), plan.batch_tokens, seed=place)
        batches = RaggedBatches(Parted(rows)) if plan.ragged else packed
        found.append(Stage(batches, Rope("abf", 50_000.0) if place else Rope("none"), int(steps)))
    return found


def settings_of(plan: Plan) -> TrainSettings:
    own = {each.name for each in fields(TrainSettings)}
    given = {name: value for name, value in vars(plan).items() if name in own}
    mode = read_mode(plan.fsdp, plan.deepspeed, plan.sequence)
    return TrainSettings(warmup_steps=2, validation_rows=4, mode=mode, **given)


def tiny_run(out: Path, plan: Plan) -> TrainReport:
    torch.set_num_threads(plan.threads)
    tokenizer = tiny_tokenizer(VOCABULARY, WINDOW)

    def load(rope: Rope, seq_len: int) -> Any:
        model = tiny_model(rope, seq_len, plan.tied)
        if plan.dropout:
            model.get_input_embeddings().register_forward_hook(
                lambda module, given, found: torch.nn.functional.dropout(found, plan.dropout, module.training)
            )
        return with_lora(model) if plan.lora else model

    held_out = {"held-out": (Parted if plan.ragged else Packed)(TinyRows(9, 256, 1))}
    samples = samples_of(tokenizer) if plan.samples else None
    return train(load, tokenizer, stages_of(plan), settings_of(plan), out, {"run": "tiny"}, held_out, samples)


def samples_of(tokenizer: Any) -> Samples:
    """One question that nobody answered yet, and one whose answer may be anything."""
    questions = [
        Question("short", list(range(20, 30)), "twenty?", "Thirty"),
        Question("long", list(range(100, 150)), "a hundred?", ""),
    ]
    return Samples(questions, tokenizer, frozenset({2, 3}), 5)


def with_lora(model: Any) -> Any:
    from longreach.model.lora import add_lora

    return add_lora(model, 4)


def recorded(folder: Path) -> list[dict[str, Any]]:
    """The metrics without what differs from run to run."""
    lines = [orjson.loads(line) for line in (folder / "metrics.jsonl").read_bytes().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def figures(line: dict[str, Any]) -> list[float]:
    """All losses and counts of a line of metrics."""
    held_out = line.get("validation", {}).get("held-out", {})
    parts = [number for each in (line, held_out) for part in each.get("parts", {}).values() for number in part.values()]
    mine = [line.get(name, 0) for name in ("loss", "gradient_norm", "tokens")]
    return [*mine, held_out.get("loss", 0), held_out.get("tokens", 0), *held_out.get("by_length", {}).values(), *parts]


def read_plan(words: list[str]) -> Plan:
    """ "clip=0" -> Plan(clip=0.0)."""
    plan = Plan()
    for word in words:
        name, _, value = word.partition("=")
        kind = type(getattr(plan, name))
        plan = replace(plan, **{name: value == "True" if kind is bool else kind(value)})
    return plan


if __name__ == "__main__":
    try:
        report = tiny_run(Path(sys.argv[1]), read_plan(sys.argv[2:]))
    except UserError as error:
        sys.exit(f"error: {error}")
    print(json.dumps({"steps": report.steps, "losses": report.losses, "stopped_by": report.stopped_by}))
    sys.exit(128 + report.stopped_by if report.stopped_by else 0)
