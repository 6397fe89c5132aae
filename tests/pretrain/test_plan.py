"""`pretrain plan` as a user sees it: the JSON that is promised, tables, files, clear errors; no torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from longreach.errors import UserError
from longreach.model.aliases import aliases
from longreach.model.parallel.mode import read_mode
from pretrain.cli import main
from pretrain.config import PlanSettings
from pretrain.plan import planned_run, show_plan

ROOT = Path(__file__).parents[2]
PIECES = {"weights", "gradients", "optimizer", "activations", "logits", "total"}
PAPER = {0: 3.783e22, 20: 3.405e22, 40: 3.026e22, 80: 2.270e22}  # Table 10


def as_json(capsys: pytest.CaptureFixture[str], **given: Any) -> dict[str, Any]:
    show_plan(PlanSettings(**given), as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)  # one object, nothing else
    return found


def test_the_promised_keys(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-70b", seq_len=16_384, gpus=128, gpu="h100")
    assert found["parameters"] == 68_976_648_192
    assert found["tokens"] == 100_000 * 4_194_304
    assert 0 < found["flops_attention"] < found["flops_total"]
    assert {"ddp", "fsdp", "shard_grad_op", "zero1", "zero2", "zero3", "lora", "qlora"} < found["memory_gb"].keys()
    assert found["fits"].keys() == found["memory_gb"].keys()
    for pieces in found["memory_gb"].values():
        assert pieces.keys() >= PIECES
        assert pieces["total"] == pytest.approx(sum(pieces[name] for name in (PIECES - {"total"}) | {"buffers"}))
    assert found["recommended"] == "fsdp+checkpointing" and found["fits"][found["recommended"]]
    assert found["runs_today"][found["recommended"]] and not found["runs_today"]["qlora"]
    assert found["hours"] == pytest.approx(found["flops_total"] / (128 * 989e12 * found["mfu"]) / 3600)
    assert found["hours_range"][0] < found["hours"] < found["hours_range"][1]
    assert found["cost"] is None  # no price was given


@pytest.mark.parametrize(("percent", "published"), PAPER.items())
def test_the_papers_curricula(percent: int, published: float, capsys: pytest.CaptureFixture[str]) -> None:
    how = {"stages": f"4096:{percent / 100},32768:{1 - percent / 100}"} if percent else {"seq_len": 32_768}
    found = as_json(capsys, base="llama2-7b", **how)
    assert found["flops_paper"] == pytest.approx(published, rel=0.01)
    assert found["tokens"] == 419_430_400_000
    assert found["seq_len"] == 32_768  # the longest decides what fits


def test_what_nobody_says_is_the_papers() -> None:
    run = planned_run(PlanSettings(base="llama2-70b"))
    assert (run.stages, run.batch_tokens, run.steps) == ([(16_384, 419_430_400_000)], 4_194_304, 100_000)
    assert planned_run(PlanSettings(base=str(ROOT / "recipes/tiny-llama.json"))).seq_len == 32_768


def test_tokens_or_steps() -> None:
    batch = 1_000_000
    run = planned_run(PlanSettings(base="llama2-7b", tokens=5_500_000, batch_tokens=batch))
    assert (run.tokens, run.steps) == (5_500_000, 5)
    run = planned_run(PlanSettings(base="llama2-7b", steps=7, batch_tokens=batch))
    assert (run.tokens, run.steps) == (7_000_000, 7)


def test_the_small_model_is_trained_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base=str(ROOT / "recipes/tiny-llama.json"), seq_len=512, gpus=1)
    assert (found["recommended"], found["changes"], found["runs_today"]["ddp"]) == ("ddp", [], True)
    assert found["command"].startswith("python -m pretrain continue")


def test_short_rows_go_together_as_in_continue(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama3.2-1b", seq_len=2_048)
    assert "--micro-batch 4" in found["command"]
    assert "--micro-batch 1" in as_json(capsys, base="llama3.2-1b", seq_len=8_192)["command"]


def test_a_price_makes_a_cost(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-7b", price=2.5, mfu=0.4)
    assert found["cost"] == pytest.approx(2.5 * 8 * found["hours"])


def test_nothing_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """A node of 1,237 GB beside its GPUs, and 20 bytes for each of 70 billion parameters."""
    asked: dict[str, Any] = {"base": "llama2-70b", "seq_len": 131_072, "gpus": 1, "gpu": "p4de.24xlarge"}
    found = as_json(capsys, **asked)
    assert found["recommended"] is None and found["command"] is None
    assert not any(found["fits"].values())
    show_plan(PlanSettings(**asked), as_json=False)
    said = capsys.readouterr().out
    assert "nothing fits on so many GPUs" in said
    assert f"--gpus {found['fewest_gpus']}" in said and found["fewest_gpus"] > 1


def test_what_the_host_has_to_hold_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {"base": "llama2-70b", "gpus": 8}
    show_plan(PlanSettings(**asked), as_json=False)
    said = capsys.readouterr().out
    assert "each node needs 1,655 GB beside its GPUs (nobody said what h100 has)" in said
    assert "414 to load the model, 1,380 in training, the first 276 more for a checkpoint" in said
    found = as_json(capsys, **asked)
    assert found["node_gb"][found["recommended"]]["loading"] == pytest.approx(6 * found["parameters"] / 1e9)


def test_sharing_is_asked_for_by_naming_it(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(
        capsys, base="llama2-7b", seq_len=131_072, sequence_parallel=8, gradient_checkpointing=True, mode="auto"
    )
    assert found["recommended"] == "fsdp+checkpointing"
    assert found["memory_gb"]["qlora"]["activations"] > 5 * found["memory_gb"]["zero3"]["activations"]
    assert found["command"].endswith("--gradient-checkpointing --fsdp full_shard --sequence-parallel 8")


def test_an_adapter_on_what_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-70b", seq_len=16_384, lora=16)
    assert (found["recommended"], found["runs_today"]["zero3+lora"]) == ("fsdp+lora+checkpointing", True)
    assert found["command"].endswith("--gradient-checkpointing --fsdp full_shard --lora 16")
    assert found["memory_gb"]["fsdp+lora"]["optimizer"] < found["memory_gb"]["fsdp"]["optimizer"] / 10
    found = as_json(capsys, base="llama2-70b", seq_len=16_384, lora=16, mode="zero3", out=str(tmp_path))
    assert found["recommended"] == "zero3+lora+checkpointing"
    assert found["command"].endswith(f"--deepspeed {tmp_path}/deepspeed.json --lora 16")
    assert "zero3+lora" not in as_json(capsys, base="llama2-7b")["memory_gb"]


def test_an_adapter_by_ddp_is_a_mode(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama3.2-1b", seq_len=2_048, lora=8, mode="ddp")
    assert found["recommended"] == "lora" and found["command"].endswith("--lora 8")
    offloaded = as_json(capsys, base="llama3.2-1b", seq_len=2_048, lora=8, offload=("optimizer",))
    assert offloaded["recommended"] == "zero3+lora" and offloaded["memory_gb"]["zero3+lora"]["host"]


def test_no_more_rows_at_once_than_a_step_has(capsys: pytest.CaptureFixture[str]) -> None:
    asked: dict[str, Any] = {"base": "qwen2.5-0.5b", "seq_len": 512, "steps": 10}
    for gpus, batch_tokens, rows in ((2, 512 * 64, 16), (2, 512 * 8, 4), (8, 512 * 4, 1)):
        found = as_json(capsys, **asked, gpus=gpus, batch_tokens=batch_tokens)
        assert f"--micro-batch {rows}" in found["command"]
        more = as_json(capsys, **asked, gpus=gpus, batch_tokens=batch_tokens, micro_batch=99)
        most = batch_tokens // 512 // gpus or 1
        assert f"--micro-batch {min(99, most)}" in more["command"]
        assert more["notes"][-1].startswith(f"--micro-batch 99 is planned as {most}: ")


def test_an_uneven_step_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-7b", seq_len=32_768, batch_tokens=327_680, steps=10)
    assert "10 rows of 32,768, which 8 GPUs cannot share evenly: --batch-tokens 524288 would do" in found["notes"][0]
    assert as_json(capsys, base="llama2-7b", seq_len=32_768)["notes"] == []


def test_a_step_that_training_refuses_is_told_with_one_that_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ({"seq_len": 32_000}, {"seq_len": 16_384, "gpus": 1_000}, {"batch_tokens": 1_000}):
        (note,) = as_json(capsys, base="llama2-7b", **asked)["notes"]
        fitting = int(note.split("--batch-tokens ")[1].split()[0])
        assert note.startswith("training refuses a step of")
        assert as_json(capsys, base="llama2-7b", **asked | {"batch_tokens": fitting})["notes"] == []


def test_a_step_for_every_length_is_one_number(capsys: pytest.CaptureFixture[str]) -> None:
    stages = "4096:0.5:none,32768:0.5:none"
    notes = as_json(capsys, base="llama2-7b", stages=stages, batch_tokens=36_864)["notes"]
    assert len(notes) == 2 and all("--batch-tokens 262144 would do" in note for note in notes)
    assert as_json(capsys, base="llama2-7b", stages=stages, batch_tokens=262_144)["notes"] == []


def test_a_configuration_alone_is_planned_and_said_to_hold_no_weights(capsys: pytest.CaptureFixture[str]) -> None:
    (note,) = as_json(capsys, base=str(ROOT / "recipes/tiny-llama.json"), seq_len=1_024)["notes"]
    assert "tiny-llama.json holds no weights to start from" in note
    (note,) = as_json(capsys, base="llama2-34b")["notes"]
    assert note.startswith("llama2-34b has no weights to start from: Llama 2 34B was never released")


def test_tables_and_advice(capsys: pytest.CaptureFixture[str]) -> None:
    show_plan(PlanSettings(base="llama2-7b", seq_len=32_768), as_json=False)
    said = capsys.readouterr().out
    assert "6,738,415,616 parameters" in said
    assert "3.783e+22 as the paper counts" in said and "24,576 by the paper's 6h" in said
    assert "recommended: fsdp+checkpointing" in said and "start: torchrun" in said


def test_a_plan_only_says_what_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"base": "llama2-7b", "seq_len": 32_768, "gradient_checkpointing": True, "offload": ("activations",)}
    show_plan(PlanSettings(**asked), as_json=False)
    said = capsys.readouterr().out
    assert (
        "a plan only: pretrain trains with ddp, fsdp, lora, shard_grad_op, zero1, zero2, zero3, and offloads optimizer and weights alone"
        in said
    )


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-7b", seq_len=32_768, mode="zero2", offload=("optimizer",), out=str(tmp_path))
    assert json.loads((tmp_path / "plan.json").read_text()) == found
    zero = read_mode("", str(tmp_path / "deepspeed.json"), 1).zero
    assert zero["stage"] == 2 and zero["offload_optimizer"]["device"] == "cpu"
    assert found["command"].endswith(f"--deepspeed {tmp_path}/deepspeed.json")


def test_a_plan_only_ends(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"gradient_checkpointing": True, "offload": ("activations",), "out": str(tmp_path)}
    show_plan(PlanSettings(base="llama2-7b", seq_len=32_768, **asked), as_json=True)
    done = subprocess.run(["bash", tmp_path / "launch.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "a plan only" in done.stderr


@pytest.mark.parametrize(("base", "ends"), [("llama3.2-1b", "--micro-batch 1"), ("llama2-7b", "--fsdp full_shard")])
def test_what_runs_today_is_launched(base: str, ends: str, tmp_path: Path) -> None:
    show_plan(PlanSettings(base=base, seq_len=8_192, gpus=8, out=str(tmp_path)), as_json=True)
    lines = (tmp_path / "launch.sh").read_text().splitlines()
    assert lines[-1].startswith("torchrun --nproc-per-node 8 -m pretrain continue")
    assert f'{ends} "${{@:2}}"' in lines[-1]
    assert not any("exit 1" in line for line in lines)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json", "launch.sh"}


def launched(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """launch.sh started in another folder, where torchrun says what it is told."""
    elsewhere = script.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "torchrun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (elsewhere / "torchrun").chmod(0o755)
    paths = f"{elsewhere}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=elsewhere,
        env={**environment, "PATH": paths},
    )


def test_the_script_is_told_its_rows_and_finds_its_settings(tmp_path: Path) -> None:
    folder = tmp_path / "a plan"
    show_plan(PlanSettings(base="llama2-7b", seq_len=32_768, mode="zero2", out=str(folder)), as_json=True)
    assert "usage: " in launched(folder / "launch.sh").stderr
    assert launched(folder / "launch.sh").returncode == 2
    words = launched(folder / "launch.sh", "my rows", "--out", "a b").stdout.splitlines()
    assert words[words.index("--data") + 1] == "my rows"
    assert words[-2:] == ["--out", "a b"]
    assert Path(words[words.index("--deepspeed") + 1]).samefile(folder / "deepspeed.json")


def test_the_script_finds_a_base_beside_which_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my base").mkdir()
    Path("my base/config.json").write_text(json.dumps(aliases()["llama3.2-1b"].config))
    show_plan(PlanSettings(base="my base", seq_len=8_192, out="a plan"), as_json=True)
    words = launched(tmp_path / "a plan/launch.sh", "rows").stdout.splitlines()
    assert words[words.index("--base") + 1] == str(tmp_path / "my base")


def test_a_row_of_several_nodes_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    asked = {"base": "llama2-7b", "seq_len": 32_768, "gpus": 32}
    said = "16 GPUs to a row are more than the 8 of a node"
    show_plan(PlanSettings(**asked, sequence_parallel=16), as_json=False)
    assert said in capsys.readouterr().err
    show_plan(PlanSettings(**asked, sequence_parallel=8), as_json=False)
    assert "of a node: all they" not in capsys.readouterr().err


def test_several_nodes_are_told_apart(tmp_path: Path) -> None:
    show_plan(PlanSettings(base="llama2-70b", gpus=128, mode="fsdp", out=str(tmp_path)), as_json=True)
    done = launched(tmp_path / "launch.sh", "rows", MASTER_ADDR="first")
    assert done.returncode and "NODE_RANK: the number of this node, from 0" in done.stderr
    words = launched(tmp_path / "launch.sh", "rows", MASTER_ADDR="first", NODE_RANK="1").stdout.splitlines()
    assert words[words.index("--node-rank") + 1] == "1"


def test_a_plan_leaves_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    show_plan(PlanSettings(base="llama2-7b", seq_len=32_768, mode="zero2", out=str(tmp_path)), as_json=True)
    show_plan(PlanSettings(base="llama2-70b", gpus=1, out=str(tmp_path)), as_json=True)
    assert {path.name for path in tmp_path.iterdir()} == {"plan.json"}


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({}, ["no model: give --base"]),
        ({"base": "llama2-7b", "tokens": 1, "steps": 1, "gpus": 0}, ["--tokens and --steps", "at least 1"]),
        ({"base": "llama2-7b", "seq_len": 4_096, "stages": "4096:1"}, ["both set the length"]),
        ({"base": "llama2-7b", "offload": ("everything",), "mfu": 0.0}, ["--offload everything", "never end"]),
        ({"base": "llama2-7b", "gpu": "h10"}, ["did you mean 'h100'"]),
        ({"base": "llama2-7b", "mode": "qlora", "sequence_parallel": 3}, ["no row to several", "do not divide"]),
        ({"base": "llama2-7b", "gpus": 12, "sequence_parallel": 5}, ["nodes of 8", "do not divide 12 GPUs"]),
        ({"base": "llama9-7b"}, ["no model llama9-7b"]),
    ],
)
def test_all_problems_at_once(given: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        show_plan(PlanSettings(**given), as_json=True)
    for problem in problems:
        assert problem in raised.value.problem


def test_the_command_reads_sizes() -> None:
    words = "plan --base llama2-7b --seq-len 32768 --tokens 5B --gpus 16 --gpu a100-80 --offload optimizer --json"
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["gpus"], found["steps"]) == (16, 5_000_000_000 // 4_194_304)


def test_no_torch() -> None:
    script = "import sys; from pretrain.plan import show_plan; from pretrain.config import PlanSettings\n"
    script += "show_plan(PlanSettings(base='llama2-7b'), as_json=True)\n"
    script += "assert not {'torch', 'transformers'} & sys.modules.keys()\n"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
