"""Every setting of a training run with its value and where that comes from: given, published, or derived here."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from longreach.model.aliases import Choice
from longreach.model.options import TrainingOptions
from longreach.model.settings import BFLOAT16, FLOAT32, TrainSettings
from longreach.tables import print_table

Choices = dict[str, Choice]

GIVEN, OURS = "given", "ours: the paper does not say; Llama 2's"
WARMUP_SHARE = 0.1  # of the steps, at most
PLAIN = {  # settings with a default, and where it comes from
    "schedule": "paper, Sec. 2.1",
    "final_lr_share": OURS,
    "weight_decay": OURS,
    "clip": OURS,
    "seed": "default",
}
SAVES, VALIDATIONS = (10, 500), (20, 250)  # how many of a run, and the most steps between two


def given(value: Any) -> Choice | None:
    """What the user gave; None for nothing."""
    return Choice(value, GIVEN) if value else None


def choose_training(
    options: TrainingOptions, published: Mapping[str, Choice], rate: Choice, warmup: Choice, steps: int
) -> Choices:
    """All that a run of so many steps needs beside its data; `rate` and `warmup` stand in for what is not published."""
    return {
        "learning_rate": given(options.learning_rate) or published.get("learning_rate") or rate,
        "warmup_steps": _warmup(options, published.get("warmup_steps", warmup), steps),
        **_plain(options, published),
        "betas": Choice((0.9, 0.95), OURS),
        "epsilon": Choice(1e-5, OURS),
        "save_every": _spaced(options.save_every, steps, SAVES),
        "validate_every": _spaced(options.validate_every, steps, VALIDATIONS),
    }


def _warmup(options: TrainingOptions, wanted: Choice, steps: int) -> Choice:
    if options.warmup_steps is not None:
        return Choice(options.warmup_steps, GIVEN)
    most = int(steps * WARMUP_SHARE)
    return (
        wanted
        if wanted.value <= most
        else Choice(most, f"a tenth of the steps; else {wanted.value:,}: {wanted.origin}")
    )


def _plain(options: TrainingOptions, published: Mapping[str, Choice]) -> Choices:
    """Settings with a default of their own."""
    defaults = {entry.name: entry.default for entry in fields(options)}
    values = {name: getattr(options, name) for name in PLAIN}
    return {
        name: Choice(value, GIVEN) if value != defaults[name] else published.get(name, Choice(value, PLAIN[name]))
        for name, value in values.items()
    }


def _spaced(wanted: int, steps: int, rule: tuple[int, int]) -> Choice:
    """Steps between two events, of which a run sees about `rule[0]`, no further apart than `rule[1]`."""
    count, most = rule
    return given(wanted) or Choice(min(max(1, steps // count), most), f"ours: {count} in a run, {most} steps at most")


def train_settings(options: TrainingOptions, choices: Choices, micro_batch_tokens: int) -> TrainSettings:
    """As the trainer takes them; `choices` may hold more than it knows of."""
    known = {entry.name for entry in fields(TrainSettings)}
    return TrainSettings(
        **{name: choice.value for name, choice in choices.items() if name in known},
        dtype=options.dtype if options.dtype != "auto" else BFLOAT16 if torch.cuda.is_available() else FLOAT32,
        micro_batch_tokens=micro_batch_tokens,
        gradient_checkpointing=options.gradient_checkpointing,
        keep_checkpoints=options.keep,
        skip_bad_batches=options.skip_bad_batches,
        mode=options.mode,
    )


def shaping_choices(choices: Choices) -> dict[str, Any]:
    """Those that decide the weights, as JSON takes them."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, (value, _) in choices.items()
        if not name.endswith("_every")
    }


def print_choices(choices: Choices) -> None:
    """Every setting with its origin, on stdout."""
    print_table(("setting", "value", "origin"), [(name.replace("_", " "), *each) for name, each in choices.items()])


def choices_json(choices: Choices) -> dict[str, Any]:
    """The same for programs."""
    return {name: {"value": value, "origin": origin} for name, (value, origin) in choices.items()}
