"""The line that starts a run is read by the real command; what shards it says what was planned."""

import json
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from finetune.cli import main as finetune
from finetune.config import SftSettings
from longreach.config import resolve
from longreach.model.parallel.mode import SHARD_GRAD_OP, read_mode
from longreach.plan.launch import DEEPSPEED, STAGES, command, deepspeed
from longreach.plan.layout import (
    BUCKET,
    DDP,
    FSDP,
    LORA,
    OPTIMIZER,
    QLORA,
    SHARDING,
    WEIGHTS,
    ZERO,
    ZERO1,
    ZERO2,
    ZERO3,
    Layout,
)
from longreach.plan.plan import Run
from pretrain.cli import main as pretrain
from pretrain.config import ContinueSettings

PRETRAIN = Run("pretrain", "my models/base", {}, [(32_768, 2**30)], 2**22)
FINETUNE = Run("finetune", "llama2-7b", {}, [(16_384, 2**24)], 2**18)


def layout(mode: str, gpus: int = 8, **how: Any) -> Layout:
    return Layout(mode=mode, gpus=gpus, seq_len=32_768, checkpointing=True, **how)


def read(line: str, program: click.Group, kind: Any) -> Any:
    """The settings that the command makes of the words after its name."""
    words = shlex.split(line)
    name = words[words.index("-m") + 2]
    given = program.commands[name].make_context(name, words[words.index(name) + 1 :]).params
    extra = ("dry_run", "as_json", "config", "settings")
    return resolve(kind, {key: value for key, value in given.items() if key not in extra})


def test_pretrain_reads_its_line() -> None:
    found = read(command(PRETRAIN, layout(DDP), 8), pretrain, ContinueSettings)
    assert (found.base, found.data, found.seq_len) == ("my models/base", ("ROWS",), 32_768)
    assert (found.steps, found.batch_tokens, found.micro_batch) == (256, 2**22, 1)
    assert found.gradient_checkpointing and not found.lora


def test_a_curriculum_is_passed_on() -> None:
    found = read(command(PRETRAIN, layout(LORA, lora=8), 8, "4096:0.8,32768:0.2"), pretrain, ContinueSettings)
    assert (found.stages, found.seq_len, found.lora) == ("4096:0.8,32768:0.2", 0, 8)


def test_finetune_reads_its_line() -> None:
    found = read(command(FINETUNE, layout(QLORA, lora=16), 8), finetune, SftSettings)
    assert (found.lora, found.qlora, found.micro_batch_tokens, found.steps) == (16, True, 32_768, 64)


@pytest.mark.parametrize(
    ("gpus", "begin"),
    [
        (1, "python -m pretrain continue"),
        (8, "torchrun --nproc-per-node 8 -m pretrain continue"),
        (128, 'torchrun --nnodes 16 --node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --nproc-per-node 8 -m'),
    ],
)
def test_as_many_processes_as_gpus(gpus: int, begin: str) -> None:
    assert command(PRETRAIN, layout(DDP, gpus), 8).startswith(begin)


@pytest.mark.parametrize("run", [PRETRAIN, FINETUNE], ids=["pretrain", "finetune"])
@pytest.mark.parametrize("degree", [1, 4])
@pytest.mark.parametrize(
    ("mode", "rank"), [(DDP, 0), (LORA, 8), *((mode, rank) for mode in SHARDING for rank in (0, 8))]
)
def test_the_command_lays_it_out_as_planned(run: Run, mode: str, rank: int, degree: int, tmp_path: Path) -> None:
    way = layout(mode, sequence_parallel=degree, lora=rank)
    program, kind = (pretrain, ContinueSettings) if run is PRETRAIN else (finetune, SftSettings)
    if mode in STAGES:
        (tmp_path / DEEPSPEED).write_text(json.dumps(deepspeed(way, 4_096, 1_000)))
    settings = read(command(run, way, 8, folder=str(tmp_path)), program, kind)
    found = settings.mode
    assert (settings.lora, found.sequence) == (rank, degree)
    assert found.kind == {FSDP: "fsdp", SHARD_GRAD_OP: "fsdp", **dict.fromkeys(ZERO, "zero")}.get(mode, "ddp")
    assert found.zero.get("stage") == STAGES.get(mode)
    assert found.reshard == (mode != SHARD_GRAD_OP)


def test_what_shards_is_told_of_its_process() -> None:
    assert command(PRETRAIN, layout(FSDP, 1), 8).startswith("torchrun --nproc-per-node 1 -m")
    assert "--deepspeed DIR/deepspeed.json" in command(PRETRAIN, layout(ZERO3, 1), 8)


@pytest.mark.parametrize("mode", [ZERO2, ZERO3])
def test_deepspeed_has_what_was_planned(mode: str, tmp_path: Path) -> None:
    way = layout(mode, 64, offload=frozenset({OPTIMIZER}), bucket=1_000_000)
    (tmp_path / DEEPSPEED).write_text(json.dumps(deepspeed(way, 4_096, 1_000)))
    zero = read_mode("", str(tmp_path / DEEPSPEED), 1).zero  # as --deepspeed has it: what was not tried is refused
    assert (zero["stage"], zero["reduce_bucket_size"]) == (STAGES[mode], 1_000_000)
    assert zero.get("stage3_max_live_parameters") == (2_000 if mode == ZERO3 else None)
    assert zero["offload_optimizer"]["device"] == "cpu"


def test_zero_1_is_told_no_more_than_its_buckets(tmp_path: Path) -> None:
    """Which it has without half precision only."""
    assert deepspeed(layout(ZERO1, 64), 4_096, 1_000) == {"zero_optimization": {"stage": 1}}
    found = deepspeed(layout(ZERO1, 64, on_gpu=False), 4_096, 1_000)
    (tmp_path / DEEPSPEED).write_text(json.dumps(found))
    zero = read_mode("", str(tmp_path / DEEPSPEED), 1).zero
    assert (zero["stage"], zero["reduce_bucket_size"]) == (1, BUCKET)


def test_what_was_not_planned_is_not_there() -> None:
    zero = deepspeed(layout(ZERO2), 4_096, 1_000)["zero_optimization"]
    assert not {"offload_optimizer", "offload_param", "stage3_max_live_parameters"} & zero.keys()
    zero = deepspeed(layout(ZERO3, offload=frozenset({WEIGHTS})), 4_096, 1_000)["zero_optimization"]
    assert zero["offload_param"]["device"] == "cpu"
