"""RULER's needles in a haystack (arXiv:2404.06654): numbers of keys that the text tells, one or several.

One needle; one among others of its kind; all numbers of one key; the numbers of several keys. What is asked for stands
at the depth asked for, first of all where it is several. The keys are words that no language has, so they cannot stand
in the text. Where there are several keys, one stands at every depth that is asked for: one text serves all questions.
"""

from collections.abc import Sequence
from itertools import islice
from random import Random
from typing import Any

from evaluation.sample import question
from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place, coined, filled, hidden

MAX_TOKENS, MAX_TOKENS_OF_SEVERAL = 24, 96
SEVERAL = 4  # keys, or numbers of a key

Pair = tuple[str, str]  # key and number


def single(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """One needle."""
    [pair] = _pairs(place.draw, keys=1, numbers=1)
    asked, opening = _asked([pair])
    forms = hidden(hay, place, [(place.depth or 0.0, _told(pair))], asked=asked, opening=opening)
    return forms and {**forms, "references": (pair[1],)}


def multivalue(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """All numbers of one key, the first at the depth, the others anywhere."""
    draw = place.draw
    pairs = _pairs(draw, keys=1, numbers=SEVERAL)
    key = pairs[0][0]
    depths = [place.depth or 0.0, *(draw.random() for _ in pairs[1:])]
    asked = f"What are all the secret numbers of {key} that the text above tells?"
    needles = list(zip(depths, map(_told, pairs), strict=True))
    forms = hidden(hay, place, needles, asked=asked, opening=f"The secret numbers of {key} are")
    return forms and {**forms, "references": tuple(number for _, number in pairs)}


def multikey(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """One of several needles; the others are to be told from it by their keys."""
    return _of_several(hay, place, 1)


def multiquery(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """The numbers of several keys, from the one at the depth on."""
    return _of_several(hay, place, SEVERAL)


def _of_several(hay: Haystack, place: Place, wanted: int) -> dict[str, Any] | None:
    """`wanted` of the keys of a text that is the same for all depths and for both tasks."""
    draw = place.draw_for("several keys")
    pairs = _pairs(draw, keys=max(SEVERAL, len(place.depths)), numbers=1)
    depths = [*place.depths, *(draw.random() for _ in pairs[len(place.depths) :])]
    needles = list(zip(depths, map(_told, pairs), strict=True))
    around = pairs * 2  # after the last key comes the first
    questions = [_asked(around[first : first + number]) for first in range(len(pairs)) for number in (1, SEVERAL)]
    text = filled(hay, place, needles, ["\n\n".join(each) for each in questions])
    first = place.depths.index(place.depth or 0.0)
    chosen = around[first : first + wanted]
    forms = question(text, *_asked(chosen)) if text else None
    return forms and {**forms, "references": tuple(number for _, number in chosen)}


def _pairs(draw: Random, *, keys: int, numbers: int) -> list[Pair]:
    words = islice(coined(draw), keys)
    return [(word, str(draw.randint(1_000_000, 9_999_999))) for word in words for _ in range(numbers)]


def _told(pair: Pair) -> str:
    """The needle."""
    key, number = pair
    return f"The secret number of {key} is {number}."


def _asked(pairs: Sequence[Pair]) -> tuple[str, str]:
    """The question for the numbers of these keys, and how the answer begins."""
    *others, last = (key for key, _ in pairs)
    if not others:
        asked = f"What is the secret number of {last} that the text above tells? Answer with the number alone."
        return asked, f"The secret number of {last} is"
    keys = f"{', '.join(others)} and {last}"
    return f"What are the secret numbers of {keys} that the text above tells?", f"The secret numbers of {keys} are"
