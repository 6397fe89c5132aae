"""The line that starts a run is read by the real command; what shards it says what was planned."""

import shlex
from typing import Any

import click
import pytest

from finetune.cli import main as finetune
from finetune.config import SftSettings
from longreach.config import resolve
from longreach.plan.launch import command, deepspeed, fsdp
from longreach.plan.layout import ACTIVATIONS, DDP, FSDP, LORA, OPTIMIZER, QLORA, WEIGHTS, ZERO1, ZERO3, Layout
from longreach.plan.memory import BUCKET
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


def test_deepspeed_has_what_was_planned() -> None:
    offload = frozenset({OPTIMIZER, WEIGHTS, ACTIVATIONS})
    found = deepspeed(PRETRAIN, layout(ZERO3, 64, sequence_parallel=8, offload=offload), 4_096, 1_000)
    zero = found["zero_optimization"]
    assert (zero["stage"], zero["reduce_bucket_size"], zero["stage3_max_live_parameters"]) == (3, BUCKET, 2_000)
    assert zero["offload_optimizer"]["device"] == zero["offload_param"]["device"] == "cpu"
    assert found["sequence_parallel_size"] == 8
    assert found["gradient_accumulation_steps"] == 2**22 // 32_768 // (64 // 8)


def test_what_was_not_planned_is_not_there() -> None:
    found = deepspeed(PRETRAIN, layout(ZERO1), 4_096, 1_000)
    assert "sequence_parallel_size" not in found
    assert not {"offload_optimizer", "offload_param", "stage3_max_live_parameters"} & found["zero_optimization"].keys()


def test_fsdp_offloads_all_or_nothing() -> None:
    assert not fsdp(layout(FSDP))["fsdp_offload_params"]
    assert fsdp(layout(FSDP, offload=frozenset({OPTIMIZER})))["fsdp_offload_params"]
