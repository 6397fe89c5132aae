"""The parts of training that are pure: learning rate, guard, batches, buckets, metrics."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.model.batches import (
    EMPTY,
    Packed,
    PackedBatches,
    TrainRow,
    collate,
    micro_batches,
    packed_row,
    step_batch,
)
from longreach.model.guard import ENOUGH, WINDOW, Guard
from longreach.model.meter import Meter, clock, short, step_line
from longreach.model.metrics import Metrics, lines_up_to
from longreach.model.rope import Rope
from longreach.model.rotation import Checkpoints
from longreach.model.schedule import Schedule
from longreach.model.trainer import step_seed
from longreach.model.validate import by_length
from longreach.rows.rows import Row
from tinyrun import TinyRows, tiny_model


def test_the_learning_rate_rises_peaks_and_falls() -> None:
    cosine = Schedule("cosine", 100, 10, 0.1)
    assert [cosine.share(step) for step in (1, 5, 10)] == [0.1, 0.5, 1.0]
    assert cosine.share(55) == pytest.approx(0.55)
    assert cosine.share(100) == pytest.approx(0.1)
    linear = Schedule("linear", 100, 0, 0.0)
    assert [linear.share(step) for step in (25, 100)] == [0.75, 0.0]
    assert Schedule("constant", 100, 10, 0.1).share(99) == 1.0
    assert Schedule("cosine", 10, 10, 0.1).share(10) == 1.0


# Guard


def test_a_guard_knows_no_spike_before_it_has_seen_enough() -> None:
    guard = Guard(10.0)
    assert [guard.judge(loss, 1.0) for loss in [2.0] * (ENOUGH - 1) + [50.0]] == [""] * ENOUGH


def test_a_spike_is_far_above_the_median_and_forgotten() -> None:
    guard = Guard(10.0, [2.0 + 0.1 * math.sin(place) for place in range(WINDOW)])
    before = guard.losses
    assert guard.judge(2.6, 1.0) == ""
    assert "jumped to 9.0" in guard.judge(9.0, 1.0)
    assert guard.losses == [*before[1:], 2.6]
    assert Guard(0.0, before).judge(9.0, 1.0) == ""


def test_a_flat_loss_does_not_make_a_wiggle_a_spike() -> None:
    assert Guard(10.0, [1.0] * WINDOW).judge(1.4, 1.0) == ""
    assert Guard(10.0, [1.0] * WINDOW).judge(1.6, 1.0) != ""


@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_no_number_is_bad(loss: float, norm: float) -> None:
    guard = Guard(0.0)
    assert guard.judge(loss, norm)
    assert guard.losses == []


# Batches


def row_of(lengths: list[int], width: int) -> Row:
    return Row(np.arange(width, dtype=np.uint16), np.array(lengths, np.int32), np.zeros(len(lengths), np.int64))


def test_every_token_counts_but_first_ones_and_padding() -> None:
    assert packed_row(row_of([3, 1, 2], 8), False).weights.tolist() == [0, 1, 1, 0, 0, 1, 0, 0]
    assert packed_row(row_of([3, 1, 2], 8), True).weights.tolist() == [0, 1, 1, 1, 1, 1, 0, 0]
    assert packed_row(row_of([3, 1, 2], 8), True).lengths.tolist() == [6]
    for across in (False, True):
        assert not packed_row(row_of([], 8), across).weights.any()


def test_positions_restart_at_documents_and_padding() -> None:
    rows = [packed_row(row_of([3, 2], 8), False), packed_row(row_of([2], 8), False)]
    batch = collate(rows)
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 1, 2], [0, 1, 0, 1, 2, 3, 4, 5]]
    assert batch["weights"].tolist() == [[0, 1, 1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0]]
    assert batch["input_ids"].tolist() == [list(range(8))] * 2
    assert [tensor.dtype for tensor in batch.values()] == [torch.int64, torch.int64, torch.float32]


def test_rows_of_other_lengths_stand_end_to_end() -> None:
    batch = collate([packed_row(row_of([3, 2], 6), False), packed_row(row_of([2], 2), False)])
    assert batch["position_ids"].tolist() == [[0, 1, 2, 0, 1, 0, 0, 1]]
    assert batch["weights"].tolist() == [[0, 1, 1, 0, 1, 0, 0, 1]]
    assert batch["input_ids"].tolist() == [[0, 1, 2, 3, 4, 5, 0, 1]]


@given(st.lists(st.integers(2, 9), min_size=1, max_size=12), st.integers(1, 30))
def test_micro_batches_hold_every_row_once_within_their_size(widths: list[int], tokens: int) -> None:
    rows = [TrainRow(np.zeros(width), np.array([width]), np.zeros(width)) for width in widths]
    parts = list(micro_batches(rows, tokens))
    assert [row for part in parts for row in part] == rows
    assert all(len(part) == 1 or sum(len(row.tokens) for row in part) <= tokens for part in parts)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_share_each_step(world: int) -> None:
    batches = PackedBatches(Packed(TinyRows(10, 64, 0)), 256, seed=1)
    for step in range(4):
        shares = [step_batch(batches, step, rank, world, 64) for rank in range(world)]
        read = sorted(micro["input_ids"].tolist()[0] for share in shares for micro in share.micro)
        assert read == sorted(batches.row(item).tokens.tolist() for item in batches.plan(step))
        assert sum(share.weight for share in shares) == sum(
            batches.row(item).weights.sum() for item in batches.plan(step)
        )


def test_steps_follow_the_order_of_all_epochs() -> None:
    batches = PackedBatches(Packed(TinyRows(12, 64, 0)), 256, seed=1)
    first = [item for step in range(3) for item in batches.plan(step)]
    second = [item for step in range(3, 6) for item in batches.plan(step)]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert batches.position(3) == 12


def test_a_process_without_rows_reads_one_that_weighs_nothing() -> None:
    batches = PackedBatches(Packed(TinyRows(10, 64, 0)), 64, seed=1)
    share = step_batch(batches, 0, 1, 2, 64)
    assert (len(share.micro), share.weight, share.lengths) == (1, 0.0, [])
    assert not collate([EMPTY])["weights"].any()


def test_a_batch_is_whole_rows() -> None:
    with pytest.raises(UserError, match="no whole number of rows of 64") as caught:
        PackedBatches(Packed(TinyRows(10, 64, 0)), 300, seed=1)
    assert "320" in caught.value.hint


def test_random_numbers_differ_between_steps_and_processes() -> None:
    seeds = {step_seed(seed, step, rank) for seed in range(3) for step in range(20) for rank in range(4)}
    assert len(seeds) == 240
    assert step_seed(0, 0, 0) == 2673160886387138021  # the same in every version: a run goes on under another one


# Validation


def test_a_bucket_holds_tokens_by_what_stands_before_them() -> None:
    losses, weights = np.array([[9.0, 1.0, 2.0, 3.0]]), np.array([[0.0, 1.0, 1.0, 0.5]])
    sums = by_length(losses, weights, np.array([[0, 64, 65, 128]]))
    assert sums[:, :3].tolist() == [[1.0, 3.5, 0.0], [1.0, 1.5, 0.0]]


# Metrics and the step line


def test_going_on_cuts_what_is_past_the_checkpoint(tmp_path: Path) -> None:
    with Metrics(tmp_path, 0) as metrics:
        for step in range(1, 6):
            metrics.write({"step": step, "loss": 1.5})
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes() + b'{"step":6,"lo')
    with Metrics(tmp_path, 3) as metrics:
        metrics.write({"step": 4, "loss": 2.5})
    assert [line for line in path.read_text().splitlines() if '"step":4' in line] == ['{"step":4,"loss":2.5}']
    assert len(path.read_text().splitlines()) == 4
    assert list(lines_up_to(path, 0)) == []


def test_rotation_counts_whole_checkpoints_alone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for name in ("checkpoint-8", "checkpoint-x", "checkpoint-9.removing", ".checkpoint-9.partial"):
        (tmp_path / name).mkdir()
    for step in (2, 4, 10):
        checkpoints.write(step, lambda folder: None, {})
    assert checkpoints.steps() == [4, 10]
    assert checkpoints.clean() == [".checkpoint-9.partial", "checkpoint-8", "checkpoint-9.removing"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-4", "checkpoint-x"]


def test_the_step_line_is_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longreach.model.meter.peak_flops", lambda device: 1e12)
    meter = Meter(tiny_model(Rope("none"), 64), torch.device("cpu"))
    assert meter.flops([64]) == 64 * (6 * (2 * 36_864 + 300 * 64) + 12 * 2 * 64 * 64)
    numbers = {"loss": 2.5, "gradient_norm": 0.1, "learning_rate": 1e-5, "tokens": 1e6}
    lines = [{"step": step, **numbers, "time": meter.step(512.0, flops)} for step, flops in ((7, 0.0), (1000, 3e6))]
    shown = [step_line(line, 1000, 60.0) for line in lines]
    assert shown[0].startswith("step    7/1000 |     1M tokens | loss   2.5000 | norm    0.100 | lr 1.00e-05 | ")
    assert [place for place, mark in enumerate(shown[0]) if mark == "|"] == [
        place for place, mark in enumerate(shown[1]) if mark == "|"
    ]
    assert "mfu      - |" in shown[0]
    assert "%" in shown[1]
    assert step_line({**lines[0], "skipped": "why"}, 1000, 60.0).endswith("ETA 0:01:00 | SKIPPED: why")


def test_figures_are_short() -> None:
    assert [short(number) for number in (7, 1234, 4_194_304, 4e11)] == ["7", "1.23k", "4.19M", "400B"]
    assert clock(3725) == "1:02:05"
