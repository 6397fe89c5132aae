"""The body of continue and scratch: rows -> model with a new RoPE -> trainer -> checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from longreach.config import written
from longreach.model.batches import Packed, PackedBatches
from longreach.model.choices import shaping_choices, train_settings
from longreach.model.options import MICRO_BATCH_TOKENS
from longreach.model.parallel.mode import check_mode
from longreach.model.running import run
from longreach.model.stages import Stage
from longreach.model.train import TrainReport, train
from longreach.ranks import rank
from longreach.rows.rows import Rows
from longreach.run import RunFolder
from pretrain.basemodel import BaseModel, base_model, fresh_model
from pretrain.config import ContinueSettings, ScratchSettings, TrainingSettings
from pretrain.course import Course, open_rows, plan_course
from pretrain.courseview import show_course

VALIDATION = "validation"


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
    check_mode(settings.mode)
    course = plan_course(settings, base, data)
    if rank() == 0 and not (as_json and not dry_run):
        show_course(course, base, as_json=as_json)
    if dry_run:
        return
    out = Path(settings.out)
    claimed = shaping(settings, base, course, data)
    run(
        RunFolder(out),
        claimed,
        run_manifest(settings, course),
        lambda: run_course(settings, base, course, data, out),
        as_json=as_json,
    )


def run_course(
    settings: ContinueSettings | ScratchSettings, base: BaseModel, course: Course, data: Sequence[Rows], out: Path
) -> TrainReport:
    """Through the trainer."""
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
    longest = max(spec.seq_len for spec in course.specs)
    for spec in course.specs:
        base.check(spec.rope, spec.seq_len)  # those of later stages would else be met after days
    return train(
        base.load,
        base.open_tokenizer(),
        stages,
        train_settings(settings, course.choices, settings.micro_batch * longest or max(MICRO_BATCH_TOKENS, longest)),
        out,
        provenance(base, course, data),
        held_out,
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
    return {
        **written(settings, shaping_only=True),
        **shaping_choices(course.choices),
        "data": [rows.sha256 for rows in data],
        "config": dict(base.config),
    }


def run_manifest(settings: TrainingSettings, course: Course) -> dict[str, Any]:
    """What run.json says beside status and shaping."""
    return {
        "settings": written(settings),
        "origins": {name: choice.origin for name, choice in course.choices.items()},
        "counts": {"steps": list(course.steps), "rows": [len(rows) for rows in course.rows]},
    }
