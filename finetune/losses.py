"""What each source is trained on, `long=all:0.2,short=answer`, and how much each of its tokens weighs.

`answer` trains on answers alone, `all` on the prompt just as much, `all:W` on the prompt with the weight W. Text has no
answers and is trained on whole. The first token of a document never counts, since nothing precedes it.

A step's loss is the sum of weighted losses over the sum of weights. So with the weights as they are it is a mean over
tokens; where those of every example sum to 1 it is the mean of the examples' own means, which is what LongAlign weighs
its packs for (arXiv:2401.18058: K / (N M) for each of the N trained tokens of one of M examples in K packs, averaged
over the packs).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.config import Average
from finetune.item import Item
from longreach.config import did_you_mean

_FORM = "write NAME=answer, NAME=all or NAME=all:WEIGHT, as in long=all:0.2,short=answer"


@dataclass(frozen=True, slots=True)
class Loss:
    """What a token weighs in conversations."""

    prompt_weight: float = 0.0
    answer_weight: float = 1.0

    def __str__(self) -> str:
        if self.prompt_weight in (0, 1):
            return "all" if self.prompt_weight else "answer"
        return f"all:{self.prompt_weight:g}"


ANSWER = Loss()


def parse_losses(text: str, names: Sequence[str]) -> dict[str, Loss]:
    """The loss of every source in `names`: of answers where the text does not name it; ValueError says all problems."""
    found: dict[str, Loss] = {}
    problems = []
    for word in (word.strip() for word in text.split(",")) if text.strip() else ():
        name, _, kind = (part.strip() for part in word.partition("="))
        loss = _loss(kind)
        if loss is None:
            problems.append(f"{word!r} is no loss of a source")
        elif name not in names:
            problems.append(f"{name!r} is no source here{did_you_mean(name, names)}")
        elif name in found:
            problems.append(f"{name} is named twice")
        else:
            found[name] = loss
    if problems:
        raise ValueError(f"{'; '.join(problems)}: {_FORM}")
    return {name: found.get(name, ANSWER) for name in names}


def _loss(kind: str) -> Loss | None:
    if kind == "answer":
        return ANSWER
    word, colon, number = kind.partition(":")
    if word != "all":
        return None
    try:
        weight = float(number) if colon else 1.0
    except ValueError:
        return None
    return Loss(weight) if 0 <= weight < math.inf else None


def weights_of(item: Item, loss: Loss | None, average: Average) -> NDArray[np.float32]:
    """The weight of predicting each token from those before it; `loss` None: all alike, as in text."""
    if loss is None:
        weights = np.ones(len(item.tokens))
    else:
        weights = np.where(item.answer, loss.answer_weight, loss.prompt_weight)
    ends = np.cumsum(item.lengths)
    weights[ends - item.lengths] = 0
    if average == "examples" and weights.any():
        weights /= weights.sum()
    return weights.astype(np.float32)
