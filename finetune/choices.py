"""The settings of a finetuning run, each with where it comes from. The paper says little here: most are Llama 2's."""

from collections.abc import Sequence
from typing import Any

from finetune.basemodel import BaseModel
from finetune.config import BATCH_TOKENS, PACK_LEN, MixSettings
from finetune.item import Source
from finetune.mix import Budget
from longreach.errors import UserError
from longreach.model.aliases import LARGE, Choice
from longreach.model.choices import GIVEN, Choices, choose_training, given
from longreach.model.flops import parameters, shape_of
from longreach.model.rope import NONE

LLAMA2 = "ours: the paper does not say; Llama 2 Chat's"
STEPS_OF_A_RUN = 100  # at least, where nobody says how large a batch is
RATE, LARGE_RATE, LORA_RATE = 2e-5, 1e-5, 2e-4
WARMUP_STEPS = 100
PUBLISHED = {
    "schedule": Choice("cosine", LLAMA2),
    "weight_decay": Choice(0.1, LLAMA2),
}


def choose_length(base: BaseModel) -> Choice:
    """Tokens of the longest example; UserError where the base cannot read as many."""
    asked, window = base.settings.seq_len, base.window
    if not window or base.rope.method != NONE:
        choice = given(asked) or Choice(PACK_LEN, "paper, Sec. 2.2")
        base.check(choice.value)
        return choice
    if asked > window:
        raise UserError(
            f"--seq-len {asked:,} is more than the {window:,} tokens that {base.name} was made for",
            "make it longer first by `pretrain continue`, or change its positions here: --rope abf:500000",
        )
    if asked:
        return Choice(asked, GIVEN)
    if window < PACK_LEN:
        return Choice(window, f"the base's window; {PACK_LEN:,} in the paper, Sec. 2.2")
    return Choice(PACK_LEN, "paper, Sec. 2.2")


def choose_batch(settings: MixSettings, sources: Sequence[Source]) -> tuple[str, Choice]:
    """The name and the value of what a step holds."""
    if settings.batch_size:
        return "batch_size", Choice(settings.batch_size, GIVEN)
    if settings.batch_tokens:
        return "batch_tokens", Choice(settings.batch_tokens, GIVEN)
    tokens = settings.epochs * sum(int(source.lengths.sum()) for source in sources)
    longest = max((int(source.lengths.max()) for source in sources if len(source)), default=1)
    least = max(longest, int(tokens / STEPS_OF_A_RUN))
    if least < BATCH_TOKENS:
        return "batch_tokens", Choice(least, f"ours: {STEPS_OF_A_RUN} steps or more; 64 rows of 4,096 as Llama 2 Chat")
    return "batch_tokens", Choice(max(longest, BATCH_TOKENS), LLAMA2)


def budget_of(settings: MixSettings, batch: tuple[str, Choice]) -> Budget:
    """As the mix takes it."""
    name, choice = batch
    sizes: dict[str, Any] = {name: choice.value}
    return Budget(epochs=settings.epochs, steps=settings.steps, **sizes)


def choose(base: BaseModel, length: Choice, batch: tuple[str, Choice], steps: int) -> Choices:
    """All settings of a run of so many steps."""
    settings = base.settings
    name, size = batch
    rope = Choice(settings.rope, "as the base has it" if settings.rope == NONE else GIVEN)
    asked = Choice(steps, GIVEN) if settings.steps else Choice(steps, f"{settings.epochs:g} epochs of all data")
    others = choose_training(settings, PUBLISHED, _rate(base), Choice(WARMUP_STEPS, "ours"), steps)
    return {"rope": rope, "seq_len": length, name: size, "steps": asked, **others}


def _rate(base: BaseModel) -> Choice:
    if base.settings.lora:
        return Choice(LORA_RATE, "ours: ten times that of full training")
    try:
        large = parameters(shape_of(base.config)) >= LARGE
    except UserError:  # no dense decoder that can be counted
        large = False
    return Choice(LARGE_RATE, "ours: half of Llama 2 Chat's, as in pretraining") if large else Choice(RATE, LLAMA2)
