"""What a training run will do: stages of rows, and every setting with its origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longreach.errors import UserError
from longreach.model.batches import rows_of
from longreach.model.choices import Choices
from longreach.model.flops import paper_shape, shape_of, stage_flops
from longreach.model.rope import parse_rope
from longreach.rows.rows import Rows
from pretrain.basemodel import BaseModel
from pretrain.choices import choose, length_choice, rope_choice
from pretrain.config import ContinueSettings, ScratchSettings
from pretrain.curriculum import StageSpec, parse_stages, rows_for, steps_of

MANY_PASSES = 4  # from here on, more of them are worth a word (Muennighoff et al., arXiv:2305.16264)


@dataclass(frozen=True)
class Course:
    """What will be done: stages of rows, and every setting with its origin."""

    specs: Sequence[StageSpec]
    rows: Sequence[Rows]
    steps: Sequence[int]
    choices: Choices
    notes: Sequence[str]


def open_rows(folders: Sequence[str]) -> list[Rows]:
    """The rows of every folder; all of one tokenizer."""
    data = [Rows(folder) for folder in folders]
    others = [rows for rows in data if rows.tokenizer_sha256 != data[0].tokenizer_sha256]
    if others:
        raise UserError(
            f"{others[0].folder} was made with another tokenizer ({others[0].tokenizer}) than {data[0].folder} "
            f"({data[0].tokenizer})",
            "prepare both with the same --tokenizer",
        )
    return data


def plan_course(settings: ContinueSettings | ScratchSettings, base: BaseModel, data: Sequence[Rows]) -> Course:
    """Stages, rows and settings; everything that the user may have got wrong shows here."""
    opening = {"rope": rope_choice(settings, base.published), "seq_len": length_choice(settings, base.published, data)}
    rope = parse_rope(opening["rope"].value)
    specs: Sequence[StageSpec] = [StageSpec(opening["seq_len"].value, 1.0, rope)]
    if settings.stages:
        specs = parse_stages(settings.stages, rope)
        del opening["seq_len"]
    found = [rows_for(spec.seq_len, data) for spec in specs]
    longest = max(range(len(specs)), key=lambda place: specs[place].seq_len)
    choices = opening | choose(settings, base, len(found[longest][0]), specs[longest].seq_len)
    for spec in specs:
        rows_of(choices["batch_tokens"].value, spec.seq_len)
    steps = steps_of(specs, choices["steps"].value)
    notes = [note for _, its_notes in found for note in its_notes]
    rows = [each for each, _ in found]
    return Course(specs, rows, steps, choices, [*notes, *_passes(specs, rows, steps, choices)])


def _passes(specs: Sequence[StageSpec], data: Sequence[Rows], steps: Sequence[int], choices: Choices) -> list[str]:
    """How often each stage goes through its rows."""
    notes = []
    for spec, rows, count in zip(specs, data, steps, strict=True):
        passes = count * choices["batch_tokens"].value / (len(rows) * spec.seq_len)
        if passes > MANY_PASSES:
            notes.append(f"the {len(rows):,} rows of {spec.seq_len:,} tokens will be read {passes:,.1f} times")
    return notes


def flops_of(course: Course, config: Mapping[str, Any]) -> dict[str, float]:
    """Of the whole course, and as the paper counts them; empty for a model that is no dense decoder."""
    tokens = course.choices["batch_tokens"].value
    lengths = [(spec.seq_len, steps * tokens) for spec, steps in zip(course.specs, course.steps, strict=True)]
    try:
        shape = shape_of(config)
    except UserError:
        return {}
    flops = stage_flops(shape, lengths)
    paper = stage_flops(paper_shape(shape.layers, shape.hidden), lengths)
    return {"total": float(flops.total), "attention": float(flops.attention), "paper": float(paper.total)}
