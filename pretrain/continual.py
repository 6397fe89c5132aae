"""The body of continue and scratch: rows -> model with a new RoPE -> trainer -> checkpoint."""

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from longreach.config import written
from longreach.model.batches import Packed, PackedBatches
from longreach.model.processes import rank
from longreach.model.settings import BFLOAT16, FLOAT32, TrainSettings
from longreach.model.stages import Stage
from longreach.model.train import TrainReport, train
from longreach.rows.rows import Rows
from longreach.run import FINISHED, RUNNING, RunFolder, versions
from longreach.tables import print_json
from pretrain.basemodel import BaseModel, base_model, fresh_model
from pretrain.config import ContinueSettings, ScratchSettings, TrainingSettings
from pretrain.course import Course, open_rows, plan_course
from pretrain.courseview import show_course

PACKAGES = ("longreach", "torch", "transformers", "trl", "peft", "accelerate")
VALIDATION = "validation"
MICRO_BATCH_TOKENS = 8_192  # where nobody says: small rows go through the model together
BEFORE_TRAINER = ("rope", "seq_len", "batch_tokens", "steps")  # choices that the stages hold


def continue_training(settings: ContinueSettings, *, dry_run: bool, as_json: bool) -> None:
    """rows -> base model with a new RoPE -> trainer -> checkpoint."""
    data = open_rows(settings.data)
    follow(settings, base_model(settings, data), data, dry_run=dry_run, as_json=as_json)


def train_from_scratch(settings: ScratchSettings, *, dry_run: bool, as_json: bool) -> None:
    """rows -> new model -> trainer -> checkpoint."""
    data = open_rows(settings.data)
    follow(settings, fresh_model(settings, data), data, dry_run=dry_run, as_json=as_json)


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


def run_course(
    settings: ContinueSettings | ScratchSettings, base: BaseModel, course: Course, data: Sequence[Rows], out: Path
) -> TrainReport:
    """Through the trainer."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True) if rank() == 0 else None
    across, choices = settings.attend_across_documents, course.choices
    stages = [
        Stage(
            PackedBatches(
                Packed(rows, attend_across_documents=across),
                choices["batch_tokens"].value,
                choices["seed"].value + place,  # stages on the same rows see them in another order
            ),
            spec.rope,
            steps,
        )
        for place, (spec, rows, steps) in enumerate(zip(course.specs, course.rows, course.steps, strict=True))
    ]
    names = [rows.folder.name for rows in data]
    held_out = {
        name if names.count(name) == 1 else str(rows.folder): Packed(
            Rows(rows.folder / VALIDATION), attend_across_documents=across
        )
        for name, rows in zip(names, data, strict=True)
        if (rows.folder / VALIDATION).is_dir()
    }
    for spec in course.specs:
        base.check(spec.rope, spec.seq_len)  # those of later stages would else be met after days
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
        micro_batch_tokens=settings.micro_batch * longest or max(MICRO_BATCH_TOKENS, longest),
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
