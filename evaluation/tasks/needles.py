"""RULER's needles in a haystack (arXiv:2404.06654): numbers of keys that the text tells, one or several.

One needle; one among others of its kind; all numbers of one key; the numbers of all keys. What is asked for stands at
the depth asked for, first of all where it is several; the others are spread over the text. The keys are words that no
language has, so they cannot stand in the text.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place, coined, hidden

MAX_TOKENS, MAX_TOKENS_OF_SEVERAL = 24, 96
SEVERAL = 4  # keys, or numbers of a key
BEFORE = "Some secret numbers are hidden in the following text. Remember them: you will be asked for them."

Pairs = Sequence[tuple[str, str]]  # key and number


def single(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """One needle."""
    pairs = _pairs(place, keys=1, numbers=1)
    return _asked_for_one(hay, place, pairs)


def multikey(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """One of several needles; the others are to be told from it by their keys."""
    return _asked_for_one(hay, place, _pairs(place, keys=SEVERAL, numbers=1))


def multivalue(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """All numbers of one key."""
    pairs = _pairs(place, keys=1, numbers=SEVERAL)
    key = pairs[0][0]
    asked = f"What are all the secret numbers of {key} that the text above tells?"
    return _hidden(hay, place, pairs, asked, f"The secret numbers of {key} are", [number for _, number in pairs])


def multiquery(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """The numbers of several keys."""
    pairs = _pairs(place, keys=SEVERAL, numbers=1)
    keys = ", ".join(key for key, _ in pairs[:-1]) + f" and {pairs[-1][0]}"
    asked = f"What are the secret numbers of {keys} that the text above tells?"
    return _hidden(hay, place, pairs, asked, f"The secret numbers of {keys} are", [number for _, number in pairs])


def _asked_for_one(hay: Haystack, place: Place, pairs: Pairs) -> dict[str, Any] | None:
    key, number = pairs[0]
    asked = f"What is the secret number of {key} that the text above tells? Answer with the number alone."
    return _hidden(hay, place, pairs, asked, f"The secret number of {key} is", [number])


def _pairs(place: Place, *, keys: int, numbers: int) -> Pairs:
    draw = place.draw
    words = islice(coined(draw), keys)
    return [(word, str(draw.randint(1_000_000, 9_999_999))) for word in words for _ in range(numbers)]


def _hidden(
    hay: Haystack, place: Place, pairs: Pairs, asked: str, opening: str, references: Sequence[str]
) -> dict[str, Any] | None:
    """The first of the pairs at the depth, the others at depths of their own."""
    draw = place.draw
    depths = [place.depth or 0.0, *(draw.random() for _ in pairs[1:])]
    needles = [
        (depth, f"The secret number of {key} is {number}.") for depth, (key, number) in zip(depths, pairs, strict=True)
    ]
    forms = hidden(hay, place, needles, before=BEFORE, asked=asked, opening=opening)
    return forms and {**forms, "references": tuple(references)}
