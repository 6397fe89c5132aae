"""A finetuning run that is killed or stopped anywhere, and begun again by the same command, ends as one that was not."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.cli import main
from killed import kill_at
from killed_training import arm, in_a_fork

ROOT = Path(__file__).parents[2]
CHATS = ROOT / "recipes/chats.jsonl"
STEPS = ("--steps", "6", "--batch-tokens", "1024", "--learning-rate", "1e-3", "--samples", "1")
SAVES = ("--validate-every", "3", "--save-every", "2", "--keep", "1")
STEP = re.compile(r"step \d+/6 ")

# Each try goes on from the one before. Of the trainer's points, killed_training.py says where they are.
READING = (
    "before finetune.reading:Reader._example 20",  # in the middle of the first source
    "after finetune.store:StoreWriter.finish 1",  # between two sources
    "before finetune.data:write_json 1",  # all is read, and nobody knows
    "after finetune.data:write_json 1",  # skipped.jsonl and data.json are there
    "before finetune.show:mix_view 1",
)
TRAINING = ("metrics:1", "step:2", "write:1", "step:4", "rename:1", "rotate:1", "metrics:4", "write:2", "final:1")
ENDING = (
    "before longreach.model.train:save_model 1",
    "before finetune.sft:write_card 1",
    "before finetune.card:render_card 1",
    "before longreach.run:RunFolder.write_manifest 2",  # all is there, and run.json says that it runs
)


@pytest.fixture(scope="module")
def command(base: Path, records: Path) -> list[str]:
    data = ("--long", str(records), "--short", str(CHATS), "--mix", "long:short=0.7:0.3", "--validation", "0.1")
    return ["sft", "--base", str(base), *data, *STEPS, *SAVES]


@pytest.fixture(scope="module")
def whole(command: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happened to."""
    out = tmp_path_factory.mktemp("whole") / "chat"
    assert tried(command, out) == 0
    return out


def tried(command: Sequence[str], out: Path, point: str = "") -> int:
    """How the command ends, killed at a point if one is given."""

    def work() -> None:
        torch.set_num_threads(1)
        if " " in point:
            moment, place, nth = point.split()
            kill_at(moment, place, int(nth))
        elif point:
            arm(point)
        main([*command, "--out", str(out)], prog_name="finetune")

    return in_a_fork(work)


def recorded(out: Path) -> list[dict[str, Any]]:
    """Everything in metrics.jsonl but the clock."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "time"} for line in lines]


def assert_same(out: Path, whole: Path) -> None:
    assert recorded(out) == recorded(whole)
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    files = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (out, whole)]
    assert {name for name in files[0] if "events" not in name} == {name for name in files[1] if "events" not in name}
    assert (out / "README.md").read_text().replace(str(out), str(whole)) == (whole / "README.md").read_text()
    assert json.loads((out / "run.json").read_text())["status"] == "finished"


def test_kills_change_nothing(command: Sequence[str], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "chat"
    for point in (*READING, *TRAINING, *ENDING):
        assert tried(command, out, point) == -signal.SIGKILL, point
    assert tried(command, out) == 0
    assert_same(out, whole)


def test_a_process_that_is_stopped_from_outside_goes_on(command: Sequence[str], whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "chat"
    assert stopped(command, out, signal.SIGKILL)[0] == -signal.SIGKILL
    status, said = stopped(command, out, signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert "the same command goes on" in said
    done = max(line["step"] for line in recorded(out))
    assert (out / f"checkpoint-{done}/longreach.json").exists()
    assert not (out / "model.safetensors").exists()
    assert json.loads((out / "run.json").read_text())["status"] == "running"
    assert tried(command, out) == 0
    assert_same(out, whole)


def stopped(command: Sequence[str], out: Path, number: signal.Signals) -> tuple[int, str]:
    """How a process of its own ends, and what it says then, that gets a signal after a step."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = [sys.executable, "-m", "finetune", *command, "--out", str(out)]
    with subprocess.Popen(
        started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any(STEP.match(line) for line in process.stderr), "it ended before"
        process.send_signal(number)
        said = process.stderr.read()
    return process.returncode, said
