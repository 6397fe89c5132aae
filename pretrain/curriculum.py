"""Stages as the user writes them, `4096:0.8,32768:0.2`, and the steps and rows of each.

The curriculum of the paper's section 4.4: most of the tokens in short rows, the last of them in long ones. A stage may
name its RoPE: `4096:0.8:none,32768:0.2:abf:500000`. A step has the same number of tokens in every stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from longreach.config import number, size
from longreach.errors import UserError
from longreach.model.rope import Rope, parse_rope
from longreach.rows.rows import Rows

FORM = "write LENGTH:SHARE or LENGTH:SHARE:ROPE, as in 4096:0.8,32768:0.2 or 4096:0.8:none,32768:0.2:abf:500000"


@dataclass(frozen=True)
class StageSpec:
    """One stage: tokens of a row, share of all steps, and how positions are encoded."""

    seq_len: int
    share: float
    rope: Rope


def parse_stages(text: str, rope: Rope) -> tuple[StageSpec, ...]:
    """The stages in their order; those that name no RoPE have `rope`. Shares are fractions that sum to 1."""
    try:
        stages = tuple(_stage(part, rope) for part in text.split(","))
    except ValueError as error:
        raise UserError(f"--stages {text}: {error}", FORM) from error
    total = sum(stage.share for stage in stages)
    if abs(total - 1) > 1e-6:
        raise UserError(f"--stages {text}: the shares sum to {total:g}, not to 1", FORM)
    return stages


def _stage(text: str, rope: Rope) -> StageSpec:
    length, _, rest = text.strip().partition(":")
    share, _, method = rest.partition(":")
    if not share:
        raise ValueError(f"{text.strip()!r} has no share")
    stage = StageSpec(size(length), number(share), parse_rope(method) if method else rope)
    if not stage.seq_len:
        raise ValueError(f"{text.strip()!r} has rows of no tokens")
    if not 0 < stage.share <= 1:
        raise ValueError(f"the share {share} is not from 0 to 1")
    return stage


def steps_of(stages: Sequence[StageSpec], steps: int) -> list[int]:
    """Steps of each stage; they sum to `steps`, and every stage has at least one."""
    if steps < len(stages):
        raise UserError(f"{steps} steps are too few for {len(stages)} stages", "raise --steps")
    ends, done, share = [], 0, 0.0
    for place, stage in enumerate(stages, 1):
        share += stage.share
        done = min(max(round(share * steps), done + 1), steps - len(stages) + place)
        ends.append(done)
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def rows_for(seq_len: int, data: Sequence[Rows]) -> tuple[Rows, list[str]]:
    """Rows of that length: a folder of them, or the shortest longer ones cut up; and what there is to say of it."""
    fitting = sorted((rows for rows in data if rows.seq_len % seq_len == 0), key=lambda rows: rows.seq_len)
    if not fitting:
        raise _no_rows(seq_len, data)
    rows = fitting[0]
    if rows.seq_len == seq_len:
        return rows, []
    split = rows.split(seq_len)
    return split, [
        f"rows of {rows.seq_len:,} tokens are cut into rows of {seq_len:,}, and {split.cuts:,} documents with them; "
        f"rows prepared with --seq-len {seq_len} would keep them whole"
    ]


def _no_rows(seq_len: int, data: Sequence[Rows]) -> UserError:
    there = ", ".join(f"{rows.folder} ({rows.seq_len:,})" for rows in data)
    longest = max(rows.seq_len for rows in data)
    if seq_len > longest:
        return UserError(
            f"a sequence of {seq_len:,} tokens is longer than the rows: {there}",
            f"make longer ones: pretrain prepare --seq-len {seq_len}",
        )
    return UserError(
        f"no rows of {seq_len:,} tokens, nor of a multiple: {there}", f"make them: pretrain prepare --seq-len {seq_len}"
    )
