"""A finetuning run before it starts: data, mix, losses and every setting with its origin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from finetune.basemodel import BaseModel
from finetune.batches import MixBatches
from finetune.choices import budget_of, choose, choose_batch, choose_length
from finetune.config import PACK_LEN, MixSettings
from finetune.data import open_data
from finetune.divide import Data
from finetune.losses import ANSWER, Loss, parse_losses
from finetune.mix import MixPlan, plan_mix
from finetune.mixspec import check_names, parse_mix
from finetune.sources import LONG, parse_data
from longreach.errors import UserError
from longreach.model.choices import Choices
from longreach.model.options import MICRO_BATCH_TOKENS
from longreach.model.stages import Stage


@dataclass(frozen=True)
class Course:
    """What will be done."""

    base: BaseModel
    data: Data
    losses: Mapping[str, Loss]
    plan: MixPlan
    batches: MixBatches
    choices: Choices
    notes: Sequence[str]

    @property
    def seq_len(self) -> int:
        """Tokens of the longest row."""
        return int(self.choices["seq_len"].value)

    @property
    def micro_batch_tokens(self) -> int:
        """That go through the model at once."""
        return self.base.settings.micro_batch_tokens or max(MICRO_BATCH_TOKENS, self.seq_len)

    @property
    def stage(self) -> Stage:
        """As the trainer takes it."""
        return Stage(self.batches, self.base.rope, len(self.plan.steps) - 1)


def plan_course(base: BaseModel) -> Course:
    """data -> mix -> rows; everything that the user may have got wrong shows here."""
    settings = base.settings
    specs, length = parse_data(settings), choose_length(base)
    shares = _parsed("--mix", lambda: parse_mix(settings.mix)) if settings.mix else None
    if shares:
        check_names(shares, specs.names)  # before hours of reading
    talks = [spec.name for spec in specs.train]
    losses = _parsed("--loss", lambda: parse_losses(loss_spec(settings, talks), talks))
    data = open_data(specs, settings, base.chat, length.value)
    batch = choose_batch(settings, [source for source in data.train if shares is None or shares[source.name]])
    plan = plan_mix(data.train, shares, settings.by, budget_of(settings, batch), settings.seed)
    batches = MixBatches(
        data.train,
        plan,
        {source.name: losses.get(source.name, ANSWER) for source in data.train},  # text has one of its own
        seq_len=length.value,
        pack_len=min(PACK_LEN, length.value),
        pack_all=settings.pack_all,
        average=settings.average,
        alone=(LONG,),
    )
    choices = choose(base, length, batch, len(plan.steps) - 1)
    return Course(base, data, losses, plan, batches, choices, [*base.chat.notes, *data.notes, *plan.notes])


def loss_spec(settings: MixSettings, names: Sequence[str]) -> str:
    """What the user said; of the default, what speaks of sources that are there."""
    default = next(str(entry.default) for entry in fields(settings) if entry.name == "loss")
    if settings.loss != default:
        return settings.loss
    return ",".join(word for word in default.split(",") if word.partition("=")[0] in names)


def _parsed(option: str, parse: Any) -> Any:
    try:
        return parse()
    except ValueError as error:
        raise UserError(f"{option}: {error}") from error
