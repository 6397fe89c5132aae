"""Stages as written, their steps, and the rows that serve a length."""

from types import SimpleNamespace
from typing import Any

import pytest

from longreach.errors import UserError
from longreach.model.rope import Rope
from pretrain.curriculum import StageSpec, parse_stages, rows_for, steps_of

ABF = Rope("abf", 500_000.0)


def test_length_share_and_rope() -> None:
    assert parse_stages("4096:0.8,32768:0.2", ABF) == (StageSpec(4096, 0.8, ABF), StageSpec(32768, 0.2, ABF))
    assert parse_stages("4k:0.8:none, 32k:.2:abf:1000000", ABF) == (
        StageSpec(4000, 0.8, Rope("none")),
        StageSpec(32000, 0.2, Rope("abf", 1e6)),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("4096", "has no share"),
        ("4096:0.8", "sum to 0.8"),
        ("4096:0.8,32768:0.3", "sum to 1.1"),
        ("4096:0,32768:1", "not from 0 to 1"),
        ("4096:nan", "'nan' is no number"),
        ("0:0.5,4096:0.5", "'0:0.5' has rows of no tokens"),
        ("long:1", "long"),
        ("4096:1:abd:5", "abd"),
        ("", "has no share"),
    ],
)
def test_what_is_wrong_is_said_with_the_form(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as raised:
        parse_stages(text, ABF)
    assert "4096:0.8,32768:0.2" in raised.value.hint


@pytest.mark.parametrize(
    ("shares", "steps"), [((0.8, 0.2), 100), ((0.2, 0.4, 0.4), 7), ((0.999, 0.001), 10), ((1.0,), 1)]
)
def test_steps_sum_up_and_no_stage_is_empty(shares: tuple[float, ...], steps: int) -> None:
    found = steps_of([StageSpec(16, share, ABF) for share in shares], steps)
    assert sum(found) == steps
    assert min(found) >= 1
    assert all(abs(count - share * steps) <= 1 for count, share in zip(found, shares, strict=True))


def test_too_few_steps_for_the_stages() -> None:
    with pytest.raises(UserError, match="too few"):
        steps_of([StageSpec(16, 0.5, ABF)] * 2, 1)


def rows(seq_len: int) -> Any:
    return SimpleNamespace(
        folder=f"rows{seq_len}", seq_len=seq_len, split=lambda length: SimpleNamespace(seq_len=length, cuts=7)
    )


def test_the_rows_of_the_length_are_taken_before_longer_ones() -> None:
    data = [rows(4096), rows(1024), rows(2048)]
    found, notes = rows_for(2048, data)
    assert (found, notes) == (data[2], [])
    found, notes = rows_for(512, data)
    assert found.seq_len == 512
    assert "1,024 tokens are cut" in notes[0]
    assert "7 documents" in notes[0]


@pytest.mark.parametrize(("seq_len", "problem"), [(8192, "longer than the rows"), (1000, "nor of a multiple")])
def test_no_rows_of_that_length(seq_len: int, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as raised:
        rows_for(seq_len, [rows(4096)])
    assert f"--seq-len {seq_len}" in raised.value.hint
