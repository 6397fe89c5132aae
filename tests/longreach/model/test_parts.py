"""The losses of prompts and answers, told apart: right, complete, and in every line that speaks of losses."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from longreach.model.batches import TrainRow, called, collate
from longreach.model.parts import part_figures, part_sums
from longreach.model.rope import Rope
from longreach.model.validate import validation_line
from tinyrun import Parted, Plan, RaggedBatches, TinyRows, recorded, tiny_model, tiny_run


def test_a_token_counts_once_whatever_its_weight_and_not_at_all_without_one() -> None:
    losses = torch.tensor([[9.0, 1.0, 2.0], [3.0, math.nan, 7.0]])
    weights = torch.tensor([[0.0, 0.2, 1.0], [0.5, 1.0, 1.0]])
    parts = torch.tensor([[1, 1, 1], [1, 3, 0]], dtype=torch.uint8)
    sums = part_sums(losses, weights, parts, 3)
    assert sums.dtype == torch.float64
    assert sums[:, :2].tolist() == [[6.0, 0.0], [3.0, 0.0]]
    figures = part_figures(("prompt", "text", "answer"), sums.flatten().tolist())
    assert figures["prompt"] == {"loss": 2.0, "tokens": 3}
    assert math.isnan(figures["answer"]["loss"])  # and of no other part
    assert "text" not in figures


def test_rows_without_parts_stand_beside_rows_that_have_them() -> None:
    plain = TrainRow(np.arange(2), np.array([2], np.int32), np.ones(2, np.float32))
    parted = TrainRow(np.arange(3), np.array([3], np.int32), np.ones(3, np.float32), np.array([1, 2, 2], np.uint8))
    assert collate([plain, parted])["parts"].tolist() == [[0, 0, 1, 2, 2]]
    assert "parts" not in collate([plain])


def directly(rows: list[TrainRow], part: int) -> dict[str, float]:
    """The mean cross entropy of a part by the untrained model's own logits."""
    model = tiny_model(Rope("none"), 64).eval()
    found: list[float] = []
    for row in rows:
        batch = collate([row])
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits
        each = cross_entropy(logits[0, :-1], batch["input_ids"][0, 1:], reduction="none")
        assert row.parts is not None
        found += each[torch.from_numpy((row.parts == part) & (row.weights != 0))[1:]].tolist()
    return {"loss": pytest.approx(np.mean(found), rel=1e-6), "tokens": len(found)}


@pytest.mark.parametrize("micro_batch_tokens", [64, 512])
def test_a_step_and_a_validation_say_what_the_logits_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], micro_batch_tokens: int
) -> None:
    """The second step has two rows; a learning rate of 0 keeps the model as it is."""
    plan = Plan(steps="2@64", ragged=True, learning_rate=0.0, micro_batch_tokens=micro_batch_tokens)
    tiny_run(tmp_path, plan)
    lines, said = recorded(tmp_path), capsys.readouterr().err.splitlines()
    batches = RaggedBatches(Parted(TinyRows(50, 64, 0)))
    rows = [batches.row(item) for item in batches.plan(1)]
    assert len(rows) == 2
    step = next(line for line in lines if line["step"] == 2 and "loss" in line)
    assert step["parts"] == {"prompt": directly(rows, 1), "answer": directly(rows, 2)}
    shown = ", ".join(f"{name} {part['loss']:.4f}" for name, part in step["parts"].items())
    assert any(line.startswith("step 2/2") and line.endswith(f" | {shown}") for line in said)
    held_out = Parted(TinyRows(9, 256, 1))
    read = [held_out[place] for place in (0, 2, 4, 6)]
    measured = lines[0]["validation"]["held-out"]
    assert measured["parts"] == {"prompt": directly(read, 1), "answer": directly(read, 2)}
    assert any(" | prompt 5." in line and line.startswith("step 0 | held-out") for line in said)


def test_rows_without_parts_are_not_told_apart() -> None:
    figures = {"loss": 1.0, "by_length": {"64": 1.0}}
    assert validation_line(1, "books", figures) == (
        "step 1 | books | loss 1.0000 | perplexity 2.72 | by length 64: 1.0000"
    )


def test_a_row_of_hundreds_of_examples_is_named_shortly() -> None:
    assert called((3, "short")) == "(3, 'short')"
    assert called(list(range(200))) == str(list(range(200)))[:120] + "..."
