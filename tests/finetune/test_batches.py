"""Steps of a mix as rows: whole, reported by part, and the same to train on however they are packed and shared out.

python tests/finetune/test_batches.py OUT KIND   trains a tiny model on the mix below, under torchrun too
"""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from safetensors.torch import load_file

from finetune.batches import Examples, HeldOutRows, MixBatches
from finetune.item import Item, Source
from finetune.losses import Average, Loss, parse_losses
from finetune.mix import Budget, MixPlan, plan_mix
from finetune.textrows import TextRows
from longreach.errors import UserError
from longreach.model.batches import TrainRow, collate, micro_batches
from longreach.model.causal import causal_loss
from longreach.model.rope import Rope
from longreach.model.settings import TrainSettings
from longreach.model.stages import Stage
from longreach.model.train import train
from longreach.rows.packing import best_fit_decreasing
from longreach.rows.rows import Rows
from longreach.rows.shards import RowWriter
from tinyllama import tiny_tokenizer
from tinyrun import VOCABULARY, WINDOW, tiny_model

ROOT = Path(__file__).parents[2]
SEQ_LEN = 256
LOSSES = {"long": Loss(0.2), "short": Loss(), "text": Loss()}
KINDS: dict[str, dict[str, Any]] = {
    "single": {"alone": ("long", "short", "text")},
    "packed": {"pack_len": 100, "alone": ("long",)},
    "all": {"pack_all": True, "alone": ("long",)},
}


class Made:
    """Examples with tokens that are all different from their neighbours; text has several documents and no answers."""

    vocab_size = VOCABULARY

    def __init__(self, name: str, shortest: int, longest: int, count: int, text: bool = False) -> None:
        self.name, draw = name, np.random.default_rng((shortest, longest))
        self.items = [self._item(draw, int(draw.integers(shortest, longest + 1)), text) for _ in range(count)]
        self.lengths = np.array([len(item.tokens) for item in self.items])
        self.answers = np.array([int(item.answer.sum()) for item in self.items])

    def _item(self, draw: np.random.Generator, length: int, text: bool) -> Item:
        tokens = draw.integers(0, VOCABULARY, length).astype(np.uint16)
        if text:
            parts = np.array([length // 3, length - length // 3], np.int32)
            return Item(tokens, parts, np.zeros(length, bool))
        answer = np.zeros(length, bool)
        answer[-int(draw.integers(1, length // 2 + 1)) :] = True
        return Item(tokens, np.array([length], np.int32), answer)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> Item:
        return self.items[place]


SOURCES: list[Source] = [Made("long", 90, 250, 12), Made("short", 4, 60, 90), Made("text", 30, 60, 9, text=True)]
PLAN = plan_mix(SOURCES, {"long": 0.4, "short": 0.4, "text": 0.2}, "tokens", Budget(steps=4, batch_tokens=700), seed=0)


def batches_of(kind: str, **change: Any) -> MixBatches:
    return MixBatches(SOURCES, PLAN, LOSSES, seq_len=SEQ_LEN, **{**KINDS[kind], **change})


def picks(plan: MixPlan, step: int) -> list[tuple[str, int]]:
    span = slice(*plan.steps[step : step + 2])
    return [(SOURCES[of].name, int(number)) for of, number in zip(plan.source[span], plan.example[span], strict=True)]


# What is in the rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_holds_its_examples_whole(kind: str) -> None:
    batches = batches_of(kind)
    named = {source.name: source for source in SOURCES}
    for step in range(4):
        plan = batches.plan(step)
        assert sorted(pick for row in plan for pick in row.picks) == sorted(picks(PLAN, step))
        rows = [batches.row(row) for row in plan]
        widths = [len(row.tokens) for row in rows]
        assert widths == sorted(widths, reverse=True)
        for each, row in zip(plan, rows, strict=True):
            items = [named[name][number] for name, number in each.picks]
            assert row.tokens.tolist() == [token for item in items for token in item.tokens.tolist()]
            assert row.lengths.tolist() == [length for item in items for length in item.lengths.tolist()]
    assert [batches.position(step) for step in range(5)] == PLAN.steps.tolist()
    assert (batches.rows_per_step, batches.vocab_size, batches.seq_len) == (0, VOCABULARY, SEQ_LEN)


def test_who_shares_a_row() -> None:
    lengths = {source.name: source.lengths for source in SOURCES}
    single, packed, everything = (batches_of(kind).plan(0) for kind in ("single", "packed", "all"))
    assert all(len(row.picks) == 1 for row in single)
    for row in packed:
        names = {name for name, _ in row.picks}
        assert len(row.picks) == 1 if "long" in names else sum(lengths[name][at] for name, at in row.picks) <= 100
    assert max(len(row.picks) for row in packed) > 2
    assert any("long" in {name for name, _ in row.picks} and len(row.picks) > 1 for row in everything)
    assert len(everything) < len(packed) < len(single)


def test_what_is_longer_than_a_shared_row_stands_alone() -> None:
    """It is not cut, and not left out."""
    rows = batches_of("packed", alone=(), pack_len=55).plan(0)
    assert sorted(pick for row in rows for pick in row.picks) == sorted(picks(PLAN, 0))
    assert all(len(row.picks) == 1 for row in rows if row.picks[0][0] == "long")


def test_a_row_says_what_it_holds() -> None:
    assert str(Examples((("short", 3), ("short", 17), ("text", 2)))) == "short 3+17 text 2"


def test_every_trained_token_is_of_one_part() -> None:
    batches = batches_of("all")
    assert batches.parts == ("long prompt", "long answer", "short answer", "text text")
    named = {source.name: source for source in SOURCES}
    for item in batches.plan(0):
        row, begin = batches.row(item), 0
        assert row.parts is not None
        assert ((row.parts > 0) == (row.weights > 0)).all()
        for name, number in item.picks:
            example = named[name][number]
            span = slice(begin, begin := begin + len(example.tokens))
            parts, weights = row.parts[span], row.weights[span]
            kinds = np.where(example.answer, f"{name} answer", "text text" if name == "text" else f"{name} prompt")
            assert all(batches.parts[part - 1] == kind for part, kind in zip(parts, kinds, strict=True) if part)
            assert weights[parts == 1].tolist() == pytest.approx([0.2] * int((parts == 1).sum()))
            assert (weights[parts > 1] == 1).all()
            assert not parts[np.cumsum(example.lengths) - example.lengths].any()


def test_a_source_that_is_left_out_has_no_part() -> None:
    plan = plan_mix(SOURCES, {"long": 0, "short": 1, "text": 0}, "tokens", Budget(batch_size=8), seed=0)
    batches = MixBatches(SOURCES, plan, LOSSES, seq_len=SEQ_LEN)
    assert batches.parts == ("short answer",)
    assert set(np.concatenate([batches.row(row).parts for row in batches.plan(0)])) == {0, 1}
    MixBatches(SOURCES, plan, LOSSES, seq_len=64)  # long has examples that would not fit
    with pytest.raises(UserError, match="long has an example of 2") as caught:
        MixBatches(SOURCES, PLAN, LOSSES, seq_len=64)
    assert "raise --seq-len" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_the_average_of_examples_weighs_each_of_them_alike(kind: str) -> None:
    batches = batches_of(kind, average="examples")
    rows = [batches.row(item) for item in batches.plan(1)]
    assert sum(row.weights.sum(dtype=np.float64) for row in rows) == pytest.approx(len(picks(PLAN, 1)), rel=1e-6)


def test_held_out_examples_stand_alone() -> None:
    held = HeldOutRows(SOURCES[0], Loss(0.2), SEQ_LEN)
    assert (len(held), held.parts) == (12, ("long prompt", "long answer"))
    row = held[3]
    assert row.tokens.tolist() == SOURCES[0][3].tokens.tolist()
    assert row.parts is not None
    assert row.parts.tolist() == [0, *(2 if answer else 1 for answer in SOURCES[0][3].answer[1:])]
    assert HeldOutRows(SOURCES[2], Loss(), SEQ_LEN).parts == ("text text",)
    assert HeldOutRows(SOURCES[0], Loss(), SEQ_LEN, "examples")[3].weights.sum() == pytest.approx(1)
    with pytest.raises(UserError, match="long has an example of"):
        HeldOutRows(SOURCES[0], Loss(), 64)


def test_packed_rows_are_text(tmp_path: Path) -> None:
    lengths = [16, 5, 9, 3, 1, 7, 12, 7]
    packed = best_fit_decreasing(lengths, 16)
    with RowWriter(tmp_path, 16, np.uint16, 0) as writer:
        for row in range(len(packed)):
            mine = slice(packed.rows[row], packed.rows[row + 1])
            sizes, items = packed.length[mine], packed.item[mine]
            writer.append(np.arange(1, sizes.sum() + 1), sizes, items * 0, items, packed.offset[mine])
        shards = writer.finish()
    manifest = {"seq_len": 16, "rows": len(packed), "tokens": 60, "vocab_size": 300, "shards": shards}
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "tokenizer": "t", "tokenizer_sha256": "5eed"}))
    for rows in (Rows(tmp_path), Rows(tmp_path).split(8)):
        text = TextRows("text", rows)
        assert (len(text), text.lengths.sum(), text.answers.sum()) == (len(rows), 60, 0)
        assert text.lengths.min() < rows.seq_len  # some are not full
        for place in range(len(text)):
            item = text[place]
            assert len(item.tokens) == len(item.answer) == item.lengths.sum() == text.lengths[place]
            assert item.tokens.all()  # no padding
            assert not item.answer.any()


# What they teach


def gradient(batches: MixBatches, step: int, micro_tokens: int) -> tuple[float, torch.Tensor]:
    """The loss of a step and its gradient, as the trainer adds them up."""
    model = causal_loss(tiny_model(Rope("none"), SEQ_LEN))
    model.lm_head.weight.data *= 20  # else it knows nothing, and all tokens lose about the same
    rows: list[TrainRow] = [batches.row(item) for item in batches.plan(step)]
    weight = sum(row.weights.sum(dtype=np.float64) for row in rows)
    total = 0.0
    for part in micro_batches(rows, micro_tokens):
        batch = {name: tensor for name, tensor in collate(part).items() if name != "parts"}
        loss = model(**batch, use_cache=False).loss / weight
        loss.backward()
        total += loss.item()
    return total, torch.cat([each.grad.flatten() for each in model.parameters()])


@pytest.mark.parametrize("average", ["tokens", "examples"])
def test_packing_and_micro_batches_change_neither_loss_nor_gradient(average: Average) -> None:
    torch.set_num_threads(1)
    loss, slope = gradient(batches_of("single", average=average), 0, 1)
    for kind, micro_tokens in (("single", 300), ("packed", 1), ("packed", 100_000), ("all", 1), ("all", 600)):
        other, other_slope = gradient(batches_of(kind, average=average), 0, micro_tokens)
        assert other == pytest.approx(loss, rel=1e-6), kind
        assert float((other_slope - slope).norm() / slope.norm()) < 1e-6, kind
    heavier = replace(LOSSES["long"], prompt_weight=0.5)
    unlike = MixBatches(SOURCES, PLAN, {**LOSSES, "long": heavier}, seq_len=SEQ_LEN, average=average)
    other, other_slope = gradient(unlike, 0, 100_000)
    assert other != pytest.approx(loss, rel=1e-5)  # so the above says something
    assert float((other_slope - slope).norm() / slope.norm()) > 1e-3


def teach(out: Path, kind: str) -> None:
    """Plain gradients, unclipped, so that weights show them."""
    torch.set_num_threads(1)
    losses = parse_losses("long=all:0.2", ["long", "short", "text"])
    batches = MixBatches(SOURCES, PLAN, losses, seq_len=SEQ_LEN, average="examples", **KINDS[kind])
    settings = TrainSettings(
        warmup_steps=0, learning_rate=0.3, epsilon=1.0, clip=0.0, save_every=0, validate_every=0, dtype="float32",
        gradient_checkpointing=False, micro_batch_tokens=SEQ_LEN,
    )  # fmt: skip
    held_out = {source.name: HeldOutRows(source, losses[source.name], SEQ_LEN) for source in SOURCES}
    stage = Stage(batches, Rope("none"), len(PLAN.steps) - 1)
    tokenizer = tiny_tokenizer(VOCABULARY, WINDOW)
    train(tiny_model, tokenizer, [stage], settings, out, {"run": "mix"}, held_out)


def test_two_processes_learn_from_packed_rows_what_one_does_from_single_examples(tmp_path: Path) -> None:
    teach(tmp_path / "one", "single")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    ended = subprocess.run(
        [*command, f"--master-port={port}", __file__, str(tmp_path / "two"), "packed"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    assert_equal(tmp_path / "one", tmp_path / "two")


def assert_equal(one: Path, other: Path) -> None:
    """Up to the rounding of float32."""
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6
    lines, twins = (
        [orjson.loads(line) for line in (each / "metrics.jsonl").read_bytes().splitlines()] for each in (one, other)
    )
    assert [figures(line) for line in lines] == [pytest.approx(figures(twin), rel=1e-6) for twin in twins]
    assert sum("loss" in line for line in lines) == 4


def figures(line: dict[str, Any]) -> dict[str, float]:
    """Loss and gradient of a step and of its parts, or held-out losses."""
    found = {name: line[name] for name in ("loss", "gradient_norm", "tokens", "position") if name in line}
    for name, part in (line.get("parts", {}) | line.get("validation", {})).items():
        found |= {f"{name} loss": part["loss"], f"{name} tokens": part["tokens"]}
    return found


if __name__ == "__main__":
    teach(Path(sys.argv[1]), sys.argv[2])
