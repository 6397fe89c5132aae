"""Tokenized documents -> those to train on, as often as the mix takes each, and those held out for the loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from longreach.rows.holdout import held_out
from pretrain.config import SOURCE, PrepareSettings
from pretrain.fill import Int64s, Pass, Texts
from pretrain.gathered import Gathered
from pretrain.mixplan import Plan, Stock, make_plan
from pretrain.sources import SourceSpec
from pretrain.upsample import Mix


@dataclass(frozen=True)
class Divided:
    """The documents of each source on both sides."""

    texts: Texts
    stocks: Sequence[Stock]
    plan: Plan
    held_out: Sequence[Int64s]  # document numbers, by source

    def passes(self) -> Iterator[Pass]:
        """What is trained on, pass by pass."""
        sources = range(len(self.texts.lengths))
        for number in range(self.plan.passes):
            yield Pass.of([self.plan.documents_in_pass(source, number) for source in sources])

    @property
    def held_out_tokens(self) -> int:
        """Of all sources."""
        return sum(
            int(lengths[numbers].sum()) for lengths, numbers in zip(self.texts.lengths, self.held_out, strict=True)
        )


def divide_documents(gathered: Gathered, specs: Sequence[SourceSpec], settings: PrepareSettings) -> Divided:
    """Hold out some documents of each source, and plan the mix of the others."""
    texts = gathered.texts
    stocks, held = [], []
    for number, spec in enumerate(specs):
        lengths = texts.lengths[number]
        mask = held_out(lengths, gathered.keys(number), settings.long_from, settings.validation)
        weights = gathered.quality(number) if settings.quality_weight else np.float32(1)
        stocks.append(Stock(spec, lengths, np.where(mask, np.float32(0), weights)))
        held.append(np.flatnonzero(mask))
    return Divided(texts, stocks, make_plan(stocks, mix_of(settings)), held)


def mix_of(settings: PrepareSettings) -> Mix:
    """What the settings ask of the mix."""
    return Mix(
        long_tokens=settings.long_from,
        long_share=settings.long_share,
        upsample_long=settings.upsample_long,
        upsample_over=settings.upsample_over or SOURCE,
        tokens=settings.tokens,
        max_epochs=settings.max_epochs,
        seed=settings.seed,
    )
