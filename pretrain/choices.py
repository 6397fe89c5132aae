"""Every setting of a training run with its value and where that comes from: given, published, or derived here.

One dial first: a base and rows are enough. An alias brings the paper's settings, another model those that its size
suggests; how many tokens a step has, and how many steps there are, follows the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from longreach.model.aliases import BATCH_TOKENS, WARMUP_STEPS, Choice
from longreach.rows.rows import Rows
from pretrain.basemodel import BaseModel
from pretrain.config import ContinueSettings, ScratchSettings, TrainingSettings

Choices = dict[str, Choice]

GIVEN, OURS = "given", "ours: the paper does not say; Llama 2's"
STEPS_OF_A_PASS = 100  # at least, where nobody says how large a batch is
WARMUP_SHARE = 0.1  # of the steps, at most
PLAIN = {  # settings with a default, and where it comes from
    "schedule": "paper, Sec. 2.1",
    "final_lr_share": OURS,
    "weight_decay": OURS,
    "clip": OURS,
    "seed": "default",
}
SAVES, VALIDATIONS = (10, 500), (20, 250)  # how many of a run, and the most steps between two


def choose(settings: TrainingSettings, base: BaseModel, rows: int, seq_len: int) -> Choices:
    """All settings for so many rows; `seq_len` is the length of the longest stage."""
    chosen = {"batch_tokens": _batch(settings, base.published, rows, seq_len)}
    tokens = chosen["batch_tokens"].value
    chosen["steps"] = _given(settings.steps) or base.published.get(
        "steps", Choice(max(1, rows * seq_len // tokens), "one pass through the rows")
    )
    steps = chosen["steps"].value
    chosen["learning_rate"] = _given(settings.learning_rate) or base.published.get("learning_rate") or base.usual_rate
    chosen["warmup_steps"] = _warmup(settings, base.published, steps)
    chosen |= _plain(settings, base.published)
    chosen["betas"], chosen["epsilon"] = Choice((0.9, 0.95), OURS), Choice(1e-5, OURS)
    chosen["save_every"] = _spaced(settings.save_every, steps, SAVES)
    chosen["validate_every"] = _spaced(settings.validate_every, steps, VALIDATIONS)
    return chosen


def rope_choice(settings: ContinueSettings | ScratchSettings, published: Mapping[str, Choice]) -> Choice:
    """How positions are encoded, where a stage does not say otherwise."""
    default = next(entry.default for entry in fields(settings) if entry.name == "rope")
    if settings.rope != default:
        return Choice(settings.rope, GIVEN)
    return published.get(
        "rope", Choice(settings.rope, "as the model is" if settings.rope == "none" else "paper, Sec. 2.1")
    )


def length_choice(settings: TrainingSettings, published: Mapping[str, Choice], data: Sequence[Rows]) -> Choice:
    """Tokens of a row where there are no stages."""
    if settings.seq_len:
        return Choice(settings.seq_len, GIVEN)
    longest = max(rows.seq_len for rows in data)
    wanted = published.get("seq_len")
    if wanted is None:
        return Choice(longest, "as the rows are")
    if any(rows.seq_len % wanted.value == 0 for rows in data):
        return wanted
    return Choice(longest, f"as the rows are; {wanted.value:,} in the {wanted.origin}")


def _given(value: Any) -> Choice | None:
    return Choice(value, GIVEN) if value else None


def _batch(settings: TrainingSettings, published: Mapping[str, Choice], rows: int, seq_len: int) -> Choice:
    if settings.batch_tokens:
        return Choice(settings.batch_tokens, GIVEN)
    if "batch_tokens" in published:
        return published["batch_tokens"]
    per_step = min(max(1, rows // STEPS_OF_A_PASS), max(1, BATCH_TOKENS // seq_len))
    origin = f"ours: a pass takes {STEPS_OF_A_PASS} steps or more; at most the paper's 4M"
    return Choice(per_step * seq_len, origin)


def _warmup(settings: TrainingSettings, published: Mapping[str, Choice], steps: int) -> Choice:
    if settings.warmup_steps is not None:
        return Choice(settings.warmup_steps, GIVEN)
    wanted = published.get("warmup_steps", Choice(WARMUP_STEPS, "paper, Sec. 2.1"))
    most = int(steps * WARMUP_SHARE)
    return (
        wanted
        if wanted.value <= most
        else Choice(most, f"a tenth of the steps; {wanted.value:,} in the {wanted.origin}")
    )


def _plain(settings: TrainingSettings, published: Mapping[str, Choice]) -> Choices:
    """Settings with a default of their own."""
    defaults = {entry.name: entry.default for entry in fields(settings)}
    values = {name: getattr(settings, name) for name in PLAIN}
    return {
        name: Choice(value, GIVEN) if value != defaults[name] else published.get(name, Choice(value, PLAIN[name]))
        for name, value in values.items()
    }


def _spaced(given: int, steps: int, rule: tuple[int, int]) -> Choice:
    """Steps between two events, of which a run sees about `rule[0]`, no further apart than `rule[1]`."""
    count, most = rule
    return _given(given) or Choice(min(max(1, steps // count), most), f"ours: {count} in a run, {most} steps at most")
