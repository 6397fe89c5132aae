"""The body of sft: records + short chats -> token-exact mix -> packed rows -> model -> trainer."""

import contextlib
import hashlib
from dataclasses import replace
from typing import Any

from finetune.basemodel import base_model
from finetune.batches import HeldOutRows
from finetune.card import write_card
from finetune.config import SftSettings
from finetune.course import Course, plan_course
from finetune.losses import ANSWER
from finetune.questions import held_out_questions
from finetune.show import claim_settings, show_course
from longreach.config import written
from longreach.model.choices import shaping_choices, train_settings
from longreach.model.parallel.mode import check_mode
from longreach.model.running import run
from longreach.model.samples import Samples
from longreach.model.train import TrainReport, train
from longreach.ranks import rank
from longreach.run import RunFolder

MAX_NEW_TOKENS = 64  # of a sample answer
SPIKE_FACTOR = 0.0  # none: the answers of a step are few, and its loss may well jump; only nan and inf are bad


def train_chat_model(settings: SftSettings, *, dry_run: bool, as_json: bool) -> None:
    """Say what will be done, and do it."""
    check_mode(settings.mode, four_bit=settings.qlora)
    folder, base = RunFolder(settings.folder), base_model(settings)
    with folder if rank() == 0 else contextlib.nullcontext():
        claim_settings(folder, settings)
        course = plan_course(base)
        if rank() == 0:
            show_course(course, as_json=as_json, quiet=as_json and not dry_run)
        if not dry_run:
            run(folder, shaping(course), run_manifest(course), lambda: follow(course), as_json=as_json)


def follow(course: Course) -> TrainReport:
    """Through the trainer; a finished model gets its card."""
    settings, chat = course.base.settings, course.base.chat
    held_out = {
        name: HeldOutRows(source, course.losses.get(name, ANSWER), seq_len=course.seq_len)
        for name, source in course.data.held_out.items()
    }
    questions = held_out_questions(course.data.held_out, chat, settings.samples)
    report = train(
        course.base.load,
        chat.tokenizer,
        [course.stage],
        replace(train_settings(settings, course.choices, course.micro_batch_tokens), spike_factor=SPIKE_FACTOR),
        settings.folder,
        provenance(course),
        held_out,
        Samples(questions, chat.tokenizer, chat.end_ids, MAX_NEW_TOKENS) if questions else None,
    )
    if rank() == 0 and not report.stopped_by:
        write_card(course, report)
    return report


def provenance(course: Course) -> dict[str, Any]:
    """What longreach.json says of where a checkpoint comes from: the whole chain, hashes and all."""
    return {
        "base": course.base.provenance(),
        "data": course.data.facts,
        "mix": [vars(row) for row in course.plan.rows],
        "losses": {name: str(loss) for name, loss in course.losses.items()},
        "chat_template_sha256": hashlib.sha256(str(course.base.chat.tokenizer.chat_template).encode()).hexdigest(),
        "settings": {
            **written(course.base.settings, shaping_only=True),
            **{name: choice.value for name, choice in course.choices.items()},
        },
    }


def shaping(course: Course) -> dict[str, Any]:
    """All that decides the weights."""
    facts = course.data.facts
    return {
        **written(course.base.settings, shaping_only=True),
        **shaping_choices(course.choices),
        "config": dict(course.base.config),
        "data": {kind: {name: each["sha256"] for name, each in several.items()} for kind, several in facts.items()},
    }


def run_manifest(course: Course) -> dict[str, Any]:
    """What run.json says beside status and shaping."""
    facts = course.data.facts
    return {
        "settings": written(course.base.settings),
        "origins": {name: choice.origin for name, choice in course.choices.items()},
        "mix": [vars(row) for row in course.plan.rows],
        "counts": {
            kind: {
                name: {key: each[key] for key in ("rows", "examples", "skipped") if key in each}
                for name, each in several.items()
            }
            for kind, several in facts.items()
        },
    }
