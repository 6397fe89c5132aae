"""The settings of continue and scratch, each with where it comes from.

One dial first: a base and rows are enough. An alias brings the paper's settings, another model those that its size
suggests; how many tokens a step has, and how many steps there are, follows the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields

from longreach.model.aliases import BATCH_TOKENS, WARMUP_STEPS, Choice
from longreach.model.choices import GIVEN, Choices, choose_training, given
from longreach.rows.rows import Rows
from pretrain.basemodel import BaseModel
from pretrain.config import ContinueSettings, ScratchSettings, TrainingSettings

STEPS_OF_A_PASS = 100  # at least, where nobody says how large a batch is


def choose(settings: TrainingSettings, base: BaseModel, rows: int, seq_len: int) -> Choices:
    """All settings for so many rows; `seq_len` is the length of the longest stage."""
    batch = _batch(settings, base.published, rows, seq_len)
    steps = given(settings.steps) or base.published.get(
        "steps", Choice(max(1, rows * seq_len // batch.value), "one pass through the rows")
    )
    warmup = Choice(WARMUP_STEPS, "paper, Sec. 2.1")
    others = choose_training(settings, base.published, base.usual_rate, warmup, steps.value)
    return {"batch_tokens": batch, "steps": steps, **others}


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


def _batch(settings: TrainingSettings, published: Mapping[str, Choice], rows: int, seq_len: int) -> Choice:
    if settings.batch_tokens:
        return Choice(settings.batch_tokens, GIVEN)
    if "batch_tokens" in published:
        return published["batch_tokens"]
    per_step = min(max(1, rows // STEPS_OF_A_PASS), max(1, BATCH_TOKENS // seq_len))
    origin = f"ours: a pass takes {STEPS_OF_A_PASS} steps or more; at most the paper's 4M"
    return Choice(per_step * seq_len, origin)
