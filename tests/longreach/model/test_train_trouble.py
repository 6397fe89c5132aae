"""What goes wrong in training: bad numbers, full disks, signals, rows that do not fit."""

import errno
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from longreach.errors import UserError
from longreach.model.batches import Packed, PackedBatches, TrainRow
from longreach.model.parallel import moments
from longreach.model.parallel.moments import Moments
from longreach.model.rope import Rope
from longreach.model.stages import Stage
from longreach.model.train import train
from longreach.model.trainer import LongTrainer
from tinyllama import tiny_tokenizer
from tinyrun import VOCABULARY, Plan, TinyRows, recorded, settings_of, tiny_model, tiny_run

EACH = Plan(steps="4@64", save_every=1, keep_checkpoints=0)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """spoil(factor, *steps): multiply the loss of these steps."""

    def spoil(factor: float, *steps: int) -> None:
        stock = LongTrainer.compute_loss

        def spoiled(self: LongTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
            return stock(self, *args, **kwargs) * (factor if self.state.global_step + 1 in steps else 1)

        monkeypatch.setattr(LongTrainer, "compute_loss", spoiled)

    return spoil


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_step_without_numbers_stops_the_run(tmp_path: Path, spoil: Callable[..., None], factor: float) -> None:
    spoil(factor, 3)
    with pytest.raises(UserError, match="step 3 was not applied: the loss is") as caught:
        tiny_run(tmp_path, EACH)
    order = PackedBatches(Packed(TinyRows(50, 64, 0)), 512, seed=0)
    rows = ", ".join(map(str, order.plan(2)))
    assert f"position 16 of stage 1: rows {rows}" in caught.value.problem
    assert "--skip-bad-batches" in caught.value.hint
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert [line["step"] for line in recorded(tmp_path) if "loss" in line] == [1, 2]


def test_a_skipped_step_leaves_weights_and_moments(tmp_path: Path, spoil: Callable[..., None]) -> None:
    spoil(math.nan, 3)
    report = tiny_run(tmp_path, replace(EACH, skip_bad_batches=True))
    assert len(report.losses) == 3
    before, after = tmp_path / "checkpoint-2", tmp_path / "checkpoint-3"
    assert (before / "model.safetensors").read_bytes() == (after / "model.safetensors").read_bytes()
    both = [Moments(folder) for folder in (before, after)]
    assert len(both[0]) > 10
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])
    lines = {line["step"]: line for line in recorded(tmp_path) if "loss" in line}
    assert lines[3]["loss"] is None
    assert lines[3]["skipped"] == "the loss is nan"
    assert "skipped" not in lines[4]
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "model.safetensors").values())


def test_a_spike_is_caught_after_a_resume_as_before(tmp_path: Path, spoil: Callable[..., None]) -> None:
    plan = Plan(steps="22@64", save_every=18, keep_checkpoints=0, validate_every=0, spike_factor=20.0)
    spoil(4.0, 20)
    messages = []
    for _ in range(2):
        with pytest.raises(UserError, match="step 20 was not applied: the loss jumped to") as caught:
            tiny_run(tmp_path, plan)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-18"]


def test_skipping_has_an_end(tmp_path: Path, spoil: Callable[..., None]) -> None:
    spoil(math.nan, *range(1, 99))
    with pytest.raises(UserError, match="9 steps in a row were bad"):
        tiny_run(tmp_path, replace(EACH, steps="20@64", skip_bad_batches=True))


def test_a_full_disk_costs_no_older_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = moments.save_file, []

    def full(tensors: dict[str, torch.Tensor], path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:  # the optimizer of step 2
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path)

    monkeypatch.setattr(moments, "save_file", full)
    with pytest.raises(UserError, match="no room"):
        tiny_run(tmp_path, EACH)
    assert [path.name for path in tmp_path.glob("*checkpoint-*")] == ["checkpoint-1"]
    assert tiny_run(tmp_path, EACH).steps == 4


def test_a_checkpoint_of_an_older_version_is_refused(tmp_path: Path) -> None:
    """Its moments lay in another file, and it did not say by which engine it was trained."""
    tiny_run(tmp_path, EACH)
    for name in ("longreach.json", "model.safetensors", "checkpoint-2/optimizer-00001.safetensors"):
        (tmp_path / name).unlink()
    for step in (3, 4):
        shutil.rmtree(tmp_path / f"checkpoint-{step}", ignore_errors=True)
    path = tmp_path / "checkpoint-2" / "longreach.json"
    provenance = json.loads(path.read_text())
    del provenance["training"]["mode"]
    path.write_text(json.dumps(provenance))
    with pytest.raises(UserError, match=r"checkpoint-2 has no .* of the optimizer"):
        tiny_run(tmp_path, EACH)


def test_a_disk_without_room_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("longreach.model.preflight.disk_usage", lambda folder: usage)
    with pytest.raises(UserError, match=r"has room for 0\.0 GB"):
        tiny_run(tmp_path, EACH)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    tiny_run(tmp_path / "whole", replace(EACH, save_every=0))
    stock = LongTrainer.compute_loss

    def told(self: LongTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step == 1:
            os.kill(os.getpid(), number)  # several times, as torchrun does
        return stock(self, *args, **kwargs)

    with monkeypatch.context() as context:
        context.setattr(LongTrainer, "compute_loss", told)
        report = tiny_run(tmp_path / "stopped", replace(EACH, save_every=0))
    assert (report.steps, report.stopped_by) == (2, number)
    assert "saved after step 2 of 4: the same command goes on from there" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "stopped").glob("checkpoint-*")] == ["checkpoint-2"]
    assert not (tmp_path / "stopped" / "config.json").exists()
    assert tiny_run(tmp_path / "stopped", replace(EACH, save_every=0)).stopped_by == 0
    assert recorded(tmp_path / "stopped") == recorded(tmp_path / "whole")


def test_the_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longreach.model.signals.SECOND", -1.0)
    stock = LongTrainer.compute_loss

    def told(self: LongTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return stock(self, *args, **kwargs)

    monkeypatch.setattr(LongTrainer, "compute_loss", told)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            tiny_run(tmp_path, EACH)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


# Preflight


class Rewritten(Packed):
    """Rows in which every one is changed by `change`."""

    def __init__(self, change: Callable[[TrainRow], TrainRow]) -> None:
        super().__init__(TinyRows(20, 64, 0))
        self.change = change

    def __getitem__(self, place: int) -> TrainRow:
        return self.change(super().__getitem__(place))


def heavier(row: TrainRow, place: int) -> TrainRow:
    weights = row.weights.copy()
    weights[place] = 1
    return replace(row, weights=weights)


def run(rows: Packed, out: Path, load: Callable[[Rope, int], Any] = tiny_model, batch: int = 512) -> None:
    stages = [Stage(PackedBatches(rows, batch, 0), Rope("none"), 2)]
    train(load, tiny_tokenizer(VOCABULARY, 64), stages, settings_of(Plan()), out, {})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda row: replace(row, weights=0 * row.weights), "has no token to train on"),
        (lambda row: replace(row, tokens=row.tokens + VOCABULARY), "holds token"),
        (lambda row: replace(row, weights=row.weights * np.nan), "are no numbers"),
        (lambda row: heavier(row, 0), "on the first token of a document"),
        (lambda row: heavier(row, -1), "has a weight on padding"),
    ],
)
def test_rows_that_cannot_be_trained_on(tmp_path: Path, change: Callable[[TrainRow], TrainRow], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        run(Rewritten(change), tmp_path)


def test_rows_of_another_tokenizer(tmp_path: Path) -> None:
    rows = Packed(TinyRows(20, 64, 0))
    rows.vocab_size = VOCABULARY + 1
    with pytest.raises(UserError, match="another tokenizer"):
        run(rows, tmp_path)


def test_rows_longer_than_the_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="longer than the model's window of 32"):
        run(Packed(TinyRows(20, 64, 0)), tmp_path, lambda rope, seq_len: tiny_model(rope, 32))


def test_a_rope_that_is_not_in_effect(tmp_path: Path) -> None:
    def load(rope: Rope, seq_len: int) -> Any:
        model = tiny_model(rope, seq_len)
        model.config.rope_parameters["rope_theta"] = 77_000.0  # as users do, without effect
        return model

    with pytest.raises(UserError, match="is not the RoPE of the config"):
        run(Packed(TinyRows(20, 64, 0)), tmp_path, load)


@pytest.mark.parametrize("across", [False, True])
def test_documents_are_proven_to_stand_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, across: bool) -> None:
    def leaks(model: Any) -> None:
        raise UserError("they see each other")

    monkeypatch.setattr("longreach.model.preflight.check_isolation", leaks)
    rows = Packed(TinyRows(20, 64, 0), attend_across_documents=across)
    if across:
        run(rows, tmp_path)
        return
    with pytest.raises(UserError, match="they see each other"):
        run(rows, tmp_path)


def test_processes_that_cannot_share_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("longreach.model.processes.world", lambda: 3)
    with pytest.raises(UserError, match="8 rows of 64 tokens, which 3 processes cannot share evenly: 1, 2, 4 could"):
        run(Packed(TinyRows(20, 64, 0)), tmp_path)


def test_nothing_is_sent_to_the_makers_of_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    module = sys.modules["trl.trainer.base_trainer"]
    monkeypatch.setattr(module, "send_telemetry", lambda *args, **kwargs: sent.append(args))
    monkeypatch.delenv("CI", raising=False)
    tiny_run(tmp_path, Plan(steps="1@64"))
    assert not sent
