"""A run that is killed, stopped or handed to another number of processes ends as one that was not."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from killed_training import train_through
from longreach.errors import UserError
from longreach.model.checkpoint import read_provenance
from longreach.model.parallel.moments import Moments
from tinyrun import Plan, figures, recorded, tiny_run

ROOT = Path(__file__).parents[3]
CURRICULUM = Plan(steps="4@64,3@128", keep_checkpoints=1)


def weights(folder: Path, name: str = "model.safetensors") -> bytes:
    return (folder / name).read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The curriculum, trained without a break."""
    folder = tmp_path_factory.mktemp("whole")
    tiny_run(folder, CURRICULUM)
    return folder


def test_kills_change_nothing(whole: Path, tmp_path: Path) -> None:
    points = ["metrics:2", "step:3", "rotate:1", "write:1", "rename:1", "write:1", "step:2", "metrics:1", "metrics:4"]
    points.append("final:1")
    train_through(tmp_path, points, CURRICULUM)
    assert recorded(tmp_path) == recorded(whole)
    assert weights(tmp_path) == weights(whole)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in whole.iterdir()}
    board = EventAccumulator(str(tmp_path / "runs"))
    board.Reload()
    assert [event.step for event in board.Scalars("loss")] == list(range(1, 8))


def test_a_curriculum_is_one_run(whole: Path) -> None:
    lines = [line for line in recorded(whole) if "loss" in line]
    assert [(line["step"], line["stage"]) for line in lines] == [(step, 1 + (step > 4)) for step in range(1, 8)]
    assert [line["position"] for line in lines] == [8, 16, 24, 32, 4, 8, 12]  # rows of 64, then of 128
    assert lines[-1]["learning_rate"] == pytest.approx(3e-4)
    validated = [line for line in recorded(whole) if "validation" in line]
    assert [line["step"] for line in validated] == [0, 3, 4, 6, 7]
    assert set(validated[0]["validation"]["held-out"]["by_length"]) == {"64", "128"}
    assert read_provenance(whole)["rope"] == "abf:50000"
    for folder in (whole, whole / "checkpoint-7"):
        config = orjson.loads((folder / "config.json").read_bytes())
        assert config["rope_parameters"]["rope_theta"] == 50_000
        assert (config["pad_token_id"], config["use_cache"]) == (None, True)  # the base's, not the trainer's
    assert int(Moments(whole / "checkpoint-7")["step"]) == 7


def test_a_finished_run_is_left_alone(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = weights(whole)
    report = tiny_run(whole, CURRICULUM)
    assert (report.steps, report.losses, weights(whole)) == (7, (), before)
    assert "finished already" in capsys.readouterr().err


def test_adapters_go_on_too_and_random_numbers_parts_and_samples(tmp_path: Path) -> None:
    plan = Plan(steps="3@64", lora=True, dropout=0.1, save_every=1, ragged=True, samples=True, validate_every=1)
    tiny_run(tmp_path / "whole", plan)
    train_through(tmp_path / "killed", ["step:2", "step:2"], plan)
    assert recorded(tmp_path / "killed") == recorded(tmp_path / "whole")
    name = "adapter_model.safetensors"
    assert weights(tmp_path / "killed", name) == weights(tmp_path / "whole", name)


@pytest.mark.parametrize("lora", [False, True])
def test_tied_weights_are_saved_and_gone_on_with(tmp_path: Path, lora: bool) -> None:
    """Of an adapter the trained copy of the embeddings is the head's, too, and PEFT asks for both."""
    plan = Plan(steps="2@64", lora=lora, tied=True, save_every=1)
    tiny_run(tmp_path / "whole", plan)
    train_through(tmp_path / "killed", ["step:2"], plan)
    assert recorded(tmp_path / "killed") == recorded(tmp_path / "whole")
    name = "adapter_model.safetensors" if lora else "model.safetensors"
    assert weights(tmp_path / "killed", name) == weights(tmp_path / "whole", name)
    assert any("lm_head" in key for key in load_file(tmp_path / "whole" / name)) == lora


@pytest.mark.parametrize("change", [{"micro_batch_tokens": 512}, {"gradient_checkpointing": True}])
def test_how_a_step_is_cut_changes_nothing(tmp_path: Path, change: dict[str, Any]) -> None:
    plan = Plan(steps="2@64", clip=0.0, learning_rate=0.3, epsilon=1.0, ragged=True, micro_batch_tokens=64)
    tiny_run(tmp_path / "one", plan)
    tiny_run(tmp_path / "other", Plan(**{**vars(plan), **change}))
    assert_close(tmp_path / "one", tmp_path / "other")


def assert_close(one: Path, other: Path) -> None:
    """Equal up to the rounding of float32."""
    ours, theirs = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-6
    for line, twin in zip(recorded(one), recorded(other), strict=True):
        assert figures(line) == pytest.approx(figures(twin), rel=1e-6)


def test_two_processes_go_on_where_one_was(tmp_path: Path) -> None:
    """Rows of uneven weight, of which there is sometimes one for the two of them; plain gradients, unclipped."""
    plan = {
        "steps": "4@64",
        "ragged": True,
        "samples": True,
        "clip": 0.0,
        "learning_rate": 0.3,
        "epsilon": 1.0,
        "keep_checkpoints": 0,
    }
    tiny_run(tmp_path / "one", Plan(**plan))
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    for path in ("checkpoint-4", "runs"):
        shutil.rmtree(tmp_path / "two" / path)
    (tmp_path / "two" / "longreach.json").unlink()
    (tmp_path / "two" / "model.safetensors").unlink()
    said = torchrun(tmp_path / "two", plan)
    assert "step 2 of 4 is done" in said
    assert "trained by 1 processes, now there are 2" in said
    assert_close(tmp_path / "one", tmp_path / "two")


def torchrun(out: Path, plan: dict[str, Any]) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    given = [f"{name}={value}" for name, value in plan.items()]
    ended = subprocess.run(
        [*command, f"--master-port={port}", "tests/tinyrun.py", str(out), *given],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def test_half_written_checkpoints_are_removed_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan(steps="4@64")
    tiny_run(tmp_path, plan)
    expected = weights(tmp_path)
    (tmp_path / "longreach.json").unlink()
    (tmp_path / "checkpoint-4" / "longreach.json").unlink()
    (tmp_path / ".checkpoint-6.partial").mkdir()
    capsys.readouterr()
    tiny_run(tmp_path, plan)
    said = capsys.readouterr().err
    assert "checkpoint-4 was half written: removed" in said
    assert ".checkpoint-6.partial was half written: removed" in said
    assert "checkpoint-2: step 2 of 4 is done" in said
    assert weights(tmp_path) == expected


def test_a_checkpoint_of_something_else_is_no_start(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-500").mkdir()
    with pytest.raises(UserError, match="checkpoints of something else"):
        tiny_run(tmp_path, Plan())
    assert (tmp_path / "checkpoint-500").is_dir()
