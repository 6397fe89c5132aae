"""Every engine, with and without rows that are shared, against one process: gradients, weights, moments, checkpoints.

The runs of one number of processes are made one after the other by one torchrun, since starting it takes longest.
"""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from longreach.model.checkpoint import read_provenance
from longreach.model.parallel.moments import Moments
from parallel_runs import FSDP, KEPT, MODES, RAGGED, SHARED, ZERO1, ZERO2, ZERO3, torchrun
from tinyrun import Plan, figures, recorded, tiny_run

pytestmark = pytest.mark.timeout(1200)  # the first test of each number of processes waits for all of its runs

ADAPTER = {"steps": "2@64", "lora": True, "tied": True, "gradient_checkpointing": True, "ragged": True}
HALF = {
    "steps": "4@64",
    "dtype": "bfloat16",
    "clip": 0.5,
    "save_every": 2,
    "keep_checkpoints": 0,
    "validate_every": 0,
}
CLIPPED = {"steps": "3@64", "clip": 0.5, "save_every": 3}
STAGES = {"steps": "1@64,1@128,1@64", "validate_every": 0}
SKIPPED = {"steps": "4@64", "save_every": 1, "keep_checkpoints": 0, "skip_bad_batches": True}


SHARDED = ("fsdp", "zero1", "zero2", "zero3")
ENGINES = ("ddp", *SHARDED)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By one process."""
    folder = tmp_path_factory.mktemp("one")
    runs = {
        "ragged": {"plan": KEPT},
        "adapter": {"plan": ADAPTER},
        "half": {"plan": HALF},
        "clipped": {"plan": CLIPPED},
        "stages": {"plan": STAGES},
    }
    torchrun(folder, 1, runs)
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """By two processes, in every mode."""
    folder = tmp_path_factory.mktemp("two")
    runs: dict[str, dict[str, Any]] = {name: {"plan": KEPT | mode} for name, mode in MODES.items()}
    for name in ("fsdp-shared", "zero1", "zero3"):
        runs[f"adapter-{name}"] = {"plan": ADAPTER | MODES[name]}
    for name in SHARDED:
        runs[f"half-{name}"] = {"plan": HALF | MODES[name]}
        runs[f"clipped-{name}"] = {"plan": CLIPPED | MODES[name]}
        runs[f"skipped-{name}"] = {"plan": SKIPPED | MODES[name], "spoil": "bad step"}
    runs["skipped-half-zero1"] = {"plan": SKIPPED | ZERO1 | {"dtype": "bfloat16"}, "spoil": "bad step"}
    for name in ENGINES:
        runs[f"stages-{name}"] = {"plan": STAGES | MODES[name], "spoil": "watched"}
    runs["mixing"] = {"plan": RAGGED | SHARED, "spoil": "mixing"}
    torchrun(folder, 2, runs)
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_one_process(one: Path, two: Path, mode: str) -> None:
    for step in range(1, 5):
        ours, theirs = (load_file(folder / f"gradients-{step}.safetensors") for folder in (one / "ragged", two / mode))
        assert ours.keys() == theirs.keys()
        for name, gradient in ours.items():
            assert gradient.abs().max() > 0
            assert (gradient - theirs[name]).abs().max() < 1e-5 * gradient.abs().max() + 1e-8, name


@pytest.mark.parametrize("mode", MODES)
def test_losses_weights_moments_and_answers_too(one: Path, two: Path, mode: str) -> None:
    assert_same(one / "ragged", two / mode)
    assert read_provenance(two / mode)["training"]["processes"] == 2
    answers = [
        [line["samples"] for line in recorded(folder) if "samples" in line] for folder in (one / "ragged", two / mode)
    ]
    assert answers[0] == answers[1] != []


def assert_same(one: Path, other: Path, name: str = "model.safetensors") -> None:
    """Equal up to the rounding of float32."""
    ours, theirs = load_file(one / name), load_file(other / name)
    assert ours.keys() == theirs.keys()
    assert max(float((ours[key] - theirs[key]).abs().max()) for key in ours) < 1e-6
    last = max(one.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])).name
    moments, others = Moments(one / last), Moments(other / last)
    assert set(moments) == set(others)
    assert max(float((moments[key] - others[key]).abs().max()) for key in moments) < 1e-6
    for line, twin in zip(recorded(one), recorded(other), strict=True):
        assert figures(line) == pytest.approx(figures(twin), rel=1e-5)


@pytest.mark.parametrize("mode", ["fsdp-shared", "zero1", "zero3"])
def test_adapters(one: Path, two: Path, mode: str) -> None:
    assert_same(one / "adapter", two / f"adapter-{mode}", "adapter_model.safetensors")


@pytest.mark.parametrize("mode", SHARDED)
def test_clipping(one: Path, two: Path, mode: str) -> None:
    assert all(line["gradient_norm"] > 0.5 for line in recorded(one / "clipped") if "loss" in line)
    assert_same(one / "clipped", two / f"clipped-{mode}")


@pytest.mark.parametrize("mode", SHARDED)
def test_half_precision_trains_a_float32_copy(one: Path, two: Path, mode: str) -> None:
    ours, theirs = (
        [line["loss"] for line in recorded(folder) if "loss" in line] for folder in (one / "half", two / f"half-{mode}")
    )
    assert ours == pytest.approx(theirs, abs=2e-3)
    saved = load_file(two / f"half-{mode}" / "checkpoint-4" / "model.safetensors")
    rounded = [name for name, each in saved.items() if each.equal(each.bfloat16().float()) and not (each == 1).all()]
    assert rounded == []


@pytest.mark.parametrize("mode", [*SHARDED, "half-zero1"])
def test_a_step_that_is_left_out_changes_nothing(two: Path, mode: str) -> None:
    run = two / f"skipped-{mode}"
    lines = {line["step"]: line for line in recorded(run) if "loss" in line}
    assert lines[3]["skipped"] == "the loss is nan"
    before, after, last = (run / f"checkpoint-{step}" for step in (2, 3, 4))
    ours, theirs, later = (load_file(folder / "model.safetensors") for folder in (before, after, last))
    assert all(each.equal(theirs[name]) for name, each in ours.items())
    assert all(each.equal(Moments(after)[name]) for name, each in Moments(before).items())
    assert not any(each.equal(later[name]) for name, each in ours.items())
    assert all(each.isfinite().all() for each in later.values())


@pytest.mark.parametrize("mode", ENGINES)
def test_a_stage_leaves_nothing_of_its_model(one: Path, two: Path, mode: str) -> None:
    folder = two / f"stages-{mode}"
    there = [(folder / f"alive-{rank}.txt").read_text().split() for rank in range(2)]
    assert there == [["0"] * 4, ["0"] * 3]  # three stages, and the first process' finished model
    ours, theirs = (recorded(each) for each in (one / "stages", folder))
    assert [figures(line) for line in theirs] == [pytest.approx(figures(line), rel=1e-4) for line in ours]


def test_a_model_that_cannot_share_rows_is_refused(two: Path) -> None:
    assert "gives another loss where 2 processes share a row" in (two / "mixing" / "refused.txt").read_text()


def cut_back(whole: Path, out: Path) -> None:
    """As the run was after step 2."""
    shutil.copytree(
        whole, out, ignore=shutil.ignore_patterns("checkpoint-4", "runs", "longreach.json.*", "gradients-*")
    )
    for name in ("longreach.json", "model.safetensors"):
        (out / name).unlink()


def test_goes_on_under_another_engine_and_number_of_processes(one: Path, two: Path, tmp_path: Path) -> None:
    ways = {
        "zero2 to shared fsdp": ("zero2", FSDP | SHARED),
        "fsdp to zero3": ("fsdp", ZERO3),
        "shared zero1 to zero1": ("zero1-shared", ZERO1),
        "zero3 to shared zero2": ("zero3-shared", ZERO2 | SHARED),
        "shared to ddp": ("ddp-shared", {}),
    }
    for name, (before, _) in ways.items():
        cut_back(two / before, tmp_path / name)
    said = torchrun(tmp_path, 4, {name: {"plan": KEPT | after} for name, (_, after) in ways.items()})
    assert said.count("step 2 of 4 is done") == len(ways)
    assert "it was trained by 2 processes, now there are 4" in said
    assert "it was trained by zero2, now by fsdp, 2 to a row" in said
    for name in ways:
        assert_same(one / "ragged", tmp_path / name)
    cut_back(two / "zero3", tmp_path / "alone")
    tiny_run(tmp_path / "alone", Plan(**KEPT))
    assert_same(one / "ragged", tmp_path / "alone")


def test_half_precision_goes_on_to_the_same_bits(two: Path, tmp_path: Path) -> None:
    for name in SHARDED:
        cut_back(two / f"half-{name}", tmp_path / name)
    torchrun(tmp_path, 2, {name: {"plan": HALF | MODES[name]} for name in SHARDED})
    for name in SHARDED:
        ours, theirs = (load_file(each / "model.safetensors") for each in (two / f"half-{name}", tmp_path / name))
        assert all(each.equal(theirs[key]) for key, each in ours.items()), name


def test_a_process_that_is_killed_ends_the_job_and_costs_no_checkpoint(one: Path, tmp_path: Path) -> None:
    said = torchrun(tmp_path, 2, {"run": {"plan": KEPT | FSDP, "spoil": "killed"}}, status=1)
    refused = tmp_path / "run" / "refused.txt"
    assert refused.exists(), said[-3_000:]
    assert "another process is gone: " in refused.read_text()
    assert "the last checkpoint is good" in refused.read_text()
    assert f"exitcode: -{signal.SIGKILL.value}" in said.replace(" ", "").replace("exitcode:", "exitcode: ")
    torchrun(tmp_path, 2, {"run": {"plan": KEPT | FSDP}})
    assert_same(one / "ragged", tmp_path / "run")
