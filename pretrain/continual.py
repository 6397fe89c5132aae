"""The body of continue and scratch: rows -> model with a new RoPE -> trainer -> checkpoint."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from longreach.config import written
from longreach.errors import UserError
from longreach.model.batches import Packed, PackedBatches
from longreach.model.flops import paper_shape, shape_of, stage_flops
from longreach.model.processes import rank
from longreach.model.rope import parse_rope
from longreach.model.settings import BFLOAT16, FLOAT32, TrainSettings
from longreach.model.stages import Stage
from longreach.model.train import TrainReport, train
from longreach.rows.rows import Rows
from longreach.run import FINISHED, RUNNING, RunFolder, versions
from longreach.tables import print_json, print_table
from pretrain.basemodel import BaseModel, base_model, fresh_model
from pretrain.choices import Choices, choose, length_choice, rope_choice
from pretrain.config import ContinueSettings, ScratchSettings, TrainingSettings
from pretrain.curriculum import StageSpec, parse_stages, rows_for, steps_of

PACKAGES = ("longreach", "torch", "transformers", "trl", "peft", "accelerate")
VALIDATION = "validation"
BEFORE_TRAINER = ("rope", "seq_len", "batch_tokens", "steps")  # choices that the stages hold


@dataclass(frozen=True)
class Course:
    """What will be done: stages of rows, and every setting with its origin."""

    specs: Sequence[StageSpec]
    rows: Sequence[Rows]
    steps: Sequence[int]
    choices: Choices
    notes: Sequence[str]


def continue_training(settings: ContinueSettings, *, dry_run: bool, as_json: bool) -> None:
    """rows -> base model with a new RoPE -> trainer -> checkpoint."""
    data = open_rows(settings.data)
    follow(settings, base_model(settings, data), data, dry_run=dry_run, as_json=as_json)


def train_from_scratch(settings: ScratchSettings, *, dry_run: bool, as_json: bool) -> None:
    """rows -> new model -> trainer -> checkpoint."""
    data = open_rows(settings.data)
    follow(settings, fresh_model(settings, data), data, dry_run=dry_run, as_json=as_json)


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


def follow(
    settings: ContinueSettings | ScratchSettings, base: BaseModel, data: Sequence[Rows], *, dry_run: bool, as_json: bool
) -> None:
    """Say what will be done, and do it."""
    course = plan_course(settings, base, data)
    if rank() == 0 and not (as_json and not dry_run):
        show_course(course, base, as_json=as_json)
    if dry_run:
        return
    out = Path(settings.out)
    if rank() > 0:  # the first process holds the folder
        report = run_course(settings, base, course, data, out)
        raise SystemExit(_status(report))
    with RunFolder(out) as folder:
        claimed = shaping(settings, base, course, data)
        folder.claim(claimed)
        folder.write_manifest(run_manifest(RUNNING, settings, claimed, course))
        report = run_course(settings, base, course, data, out)
        if not report.stopped_by:
            folder.write_manifest(run_manifest(FINISHED, settings, claimed, course))
    if as_json:
        print_json({"out": str(out), "steps": report.steps, "tokens": report.tokens, "finished": not report.stopped_by})
    elif not report.stopped_by:
        sys.stdout.write(f"{report.steps:,} steps, {report.tokens:,} tokens -> {out}\n")
    raise SystemExit(_status(report))


def _status(report: TrainReport) -> int:
    return 128 + report.stopped_by if report.stopped_by else 0


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
    steps = steps_of(specs, choices["steps"].value)
    notes = [note for _, its_notes in found for note in its_notes]
    rows = [each for each, _ in found]
    return Course(specs, rows, steps, choices, [*notes, *_passes(specs, rows, steps, choices)])


def _passes(specs: Sequence[StageSpec], data: Sequence[Rows], steps: Sequence[int], choices: Choices) -> list[str]:
    """How often each stage goes through its rows."""
    notes = []
    for spec, rows, count in zip(specs, data, steps, strict=True):
        passes = count * choices["batch_tokens"].value / (len(rows) * spec.seq_len)
        if passes > 4:
            notes.append(f"the {len(rows):,} rows of {spec.seq_len:,} tokens will be read {passes:,.1f} times")
    return notes


def show_course(course: Course, base: BaseModel, *, as_json: bool) -> None:
    """Stages and settings, each with where it comes from."""
    tokens = course.choices["batch_tokens"].value
    stages = [
        {"seq_len": spec.seq_len, "rope": str(spec.rope), "steps": steps, "tokens": steps * tokens, "rows": len(rows)}
        for spec, rows, steps in zip(course.specs, course.rows, course.steps, strict=True)
    ]
    flops = flops_of(base, stages)
    if as_json:
        settings = {name: {"value": value, "origin": origin} for name, (value, origin) in course.choices.items()}
        print_json({"base": base.name, "stages": stages, "settings": settings, "flops": flops, "notes": course.notes})
        return
    print_table(
        ("stage", "seq len", "rope", "steps", "tokens", "rows"),
        [(n, *each.values()) for n, each in enumerate(stages, 1)],
    )
    print_table(
        ("setting", "value", "origin"), [(name.replace("_", " "), *each) for name, each in course.choices.items()]
    )
    if flops:
        sys.stdout.write(
            f"{flops['total']:.3e} FLOPs, {flops['attention'] / flops['total']:.0%} of them attention; "
            f"{flops['paper']:.3e} as the paper counts (Sec. 4.4: a block of 12 h^2, no head)\n"
        )
    for note in course.notes:
        sys.stderr.write(f"note: {note}\n")


def flops_of(base: BaseModel, stages: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of the whole course; empty for a model that is no dense decoder."""
    lengths = [(stage["seq_len"], stage["tokens"]) for stage in stages]
    try:
        shape = shape_of(base.config)
    except UserError:
        return {}
    flops = stage_flops(shape, lengths)
    paper = stage_flops(paper_shape(shape.layers, shape.hidden), lengths)
    return {"total": float(flops.total), "attention": float(flops.attention), "paper": float(paper.total)}


def run_course(
    settings: ContinueSettings | ScratchSettings, base: BaseModel, course: Course, data: Sequence[Rows], out: Path
) -> TrainReport:
    """Through the trainer."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True) if rank() == 0 else None
    across, choices = settings.attend_across_documents, course.choices
    stages = [
        Stage(
            PackedBatches(
                Packed(rows, attend_across_documents=across), choices["batch_tokens"].value, choices["seed"].value
            ),
            spec.rope,
            steps,
        )
        for spec, rows, steps in zip(course.specs, course.rows, course.steps, strict=True)
    ]
    held_out = {
        rows.folder.name: Packed(Rows(rows.folder / VALIDATION), attend_across_documents=across)
        for rows in data
        if (rows.folder / VALIDATION).is_dir()
    }
    return train(
        base.load,
        base.open_tokenizer(),
        stages,
        train_settings(settings, course),
        out,
        provenance(base, course, data),
        held_out,
    )


def train_settings(settings: TrainingSettings, course: Course) -> TrainSettings:
    """As the trainer takes them."""
    longest = max(spec.seq_len for spec in course.specs)
    values = {name: choice.value for name, choice in course.choices.items() if name not in BEFORE_TRAINER}
    dtype = settings.dtype if settings.dtype != "auto" else BFLOAT16 if torch.cuda.is_available() else FLOAT32
    return TrainSettings(
        **values,
        dtype=dtype,
        micro_batch_tokens=settings.micro_batch * longest,
        gradient_checkpointing=settings.gradient_checkpointing,
        keep_checkpoints=settings.keep,
        skip_bad_batches=settings.skip_bad_batches,
    )


def provenance(base: BaseModel, course: Course, data: Sequence[Rows]) -> dict[str, Any]:
    """What longreach.json says of where a checkpoint comes from."""
    return {
        "base": base.name,
        "stages": [
            {"seq_len": spec.seq_len, "rope": str(spec.rope), "steps": steps}
            for spec, steps in zip(course.specs, course.steps, strict=True)
        ],
        "data": {str(rows.folder): rows.sha256 for rows in data},
        "tokenizer_sha256": data[0].tokenizer_sha256,
    }


def shaping(
    settings: ContinueSettings | ScratchSettings, base: BaseModel, course: Course, data: Sequence[Rows]
) -> dict[str, Any]:
    """All that decides the weights."""
    chosen = {name: choice.value for name, choice in course.choices.items() if not name.endswith("_every")}
    return {
        **written(settings, shaping_only=True),
        **{name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()},
        "data": [rows.sha256 for rows in data],
        "config": dict(base.config),
    }


def run_manifest(status: str, settings: TrainingSettings, claimed: Mapping[str, Any], course: Course) -> dict[str, Any]:
    """What run.json says."""
    return {
        "format": 1,
        "status": status,
        "settings": written(settings),
        "shaping": dict(claimed),
        "origins": {name: choice.origin for name, choice in course.choices.items()},
        "versions": versions(*PACKAGES),
        "counts": {"steps": list(course.steps), "rows": [len(rows) for rows in course.rows]},
    }
