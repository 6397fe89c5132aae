"""`finetune plan`: adapters, and the lengths and batches of finetuning."""

import json
from typing import Any

import pytest

from finetune.config import PlanSettings
from finetune.plan import planned_run, show_plan
from longreach.errors import UserError


def as_json(capsys: pytest.CaptureFixture[str], **given: Any) -> dict[str, Any]:
    show_plan(PlanSettings(**given), as_json=True)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_rows_and_batches_are_those_of_sft() -> None:
    run = planned_run(PlanSettings(base="llama2-7b", steps=10))
    assert (run.stages, run.batch_tokens) == ([(16_384, 2_621_440)], 262_144)
    assert planned_run(PlanSettings(base="llama2-7b", steps=1, seq_len=524_288)).batch_tokens == 524_288


def test_an_adapter_on_one_card(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-7b", tokens=500_000_000, lora=16, gpus=1, gpu="rtx4090")
    assert found["recommended"] == "qlora+checkpointing" and found["runs_today"]["qlora+checkpointing"]
    assert found["command"].startswith("python -m finetune sft")
    assert found["command"].endswith("--gradient-checkpointing --lora 16 --qlora")


def test_four_bits_from_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, base="llama2-7b", steps=10, seq_len=4_096, lora=8, qlora=True, gpus=1)
    assert found["recommended"] == "qlora"


def test_adapters_take_fewer_operations(capsys: pytest.CaptureFixture[str]) -> None:
    whole, adapter = (as_json(capsys, base="llama2-7b", steps=10, lora=rank) for rank in (0, 16))
    assert adapter["flops_attention"] == whole["flops_attention"]
    assert adapter["flops_dense"] == pytest.approx(whole["flops_dense"] * 2 / 3)


def test_rows_beyond_the_window_are_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert "made for 4,096 tokens" in as_json(capsys, base="llama2-7b", steps=1)["notes"][0]
    assert as_json(capsys, base="llama3.1-8b", steps=1)["notes"] == []


def test_what_fits_beside_what_was_asked_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """70 billion parameters in 4 bits leave too little of a GPU; float32 ones over eight do not."""
    asked: dict[str, Any] = {"base": "llama2-70b", "seq_len": 16_384, "steps": 400, "lora": 16, "qlora": True}
    show_plan(PlanSettings(**asked, gpu="a100-80"), as_json=False)
    said = capsys.readouterr().out
    assert "nothing fits" not in said
    assert "what was asked for does not fit" in said
    assert "this would: --mode fsdp --lora 16 --gradient-checkpointing; --mode zero3 --lora 16 --grad" in said


def test_all_problems_at_once() -> None:
    with pytest.raises(UserError) as raised:
        PlanSettings(qlora=True, mode="zero3")
    for problem in (
        "no model",
        "how long is the run",
        "not sharded: leave out --mode zero3",
        "give its rank by --lora",
    ):
        assert problem in raised.value.problem
