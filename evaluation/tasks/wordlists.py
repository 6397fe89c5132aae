"""RULER's aggregation: which words stand most often in a long list.

Common words: ten words of the user's documents stand there many times, the others a few times. Frequent words: coined
words, the n-th of which stands there in proportion to 1/n^2; the first three are asked for. Nothing is hidden and
everything has to be read, so there is no depth.
"""

from collections.abc import Callable, Sequence
from itertools import islice
from random import Random
from typing import Any

from evaluation.sample import question
from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place, coined

MAX_TOKENS_COMMON, MAX_TOKENS_FREQUENT = 96, 48
COMMON, FREQUENT = 10, 3  # words that are asked for
OFTEN = 30  # times that a common word stands there, where there is room
SELDOM_SHARE, OFTEN_TO_SELDOM = 10, 3  # others stand there a tenth of the times; a third, where there are few words
FEWEST = 2 * COMMON * 2  # words of the shortest list
EXPONENT = 2.0
ASKED = "What are the {number} words that stand most often in the list above? Answer with the words alone."
OPENING = "The {number} words that stand most often in the list above are:"

Listing = Callable[[int], tuple[list[str], Sequence[str]]]  # of so many words, and those that are asked for


def common(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """Ten words of the documents' own."""
    draw = place.draw
    words = hay.words if len(hay.words) <= 1 << 16 else draw.sample(hay.words, 1 << 16)
    shuffled = draw.sample(words, len(words))
    often, seldom = shuffled[:COMMON], shuffled[COMMON:]
    if not seldom:
        return None

    def listing(size: int) -> tuple[list[str], Sequence[str]]:
        enough = -(-size * OFTEN_TO_SELDOM // (len(seldom) + COMMON * OFTEN_TO_SELDOM))  # where there are few words
        times = max(2, min(OFTEN, size // (2 * COMMON)), enough)
        rest = size - COMMON * times
        rare = max(1, times // SELDOM_SHARE, -(-rest // len(seldom)))
        return often * times + (seldom[: -(-rest // rare)] * rare)[: max(0, rest)], often

    return _longest(hay, place, listing, COMMON)


def frequent(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """Three coined words."""
    words = list(islice(coined(place.draw), 1_000))

    def listing(size: int) -> tuple[list[str], Sequence[str]]:
        shares = [1 / rank**EXPONENT for rank in range(1, len(words) + 1)]
        counts = [round(size * share / sum(shares)) for share in shares]
        return [word for word, count in zip(words, counts, strict=True) for _ in range(count)], words[:FREQUENT]

    return _longest(hay, place, listing, FREQUENT)


def _longest(hay: Haystack, place: Place, listing: Listing, number: int) -> dict[str, Any] | None:
    """The question on the longest list that fits."""
    asked, opening = ASKED.format(number=number), OPENING.format(number=number)
    room = place.room - hay.tokenizer.count("\n\n".join(("", asked, opening)))

    def text(size: int) -> str:
        words = listing(size)[0]
        Random(f"{place.seed} {place.task} {place.number} {size}").shuffle(words)
        return " ".join(words)

    size = _most(lambda size: hay.tokenizer.count(text(size)) <= room, FEWEST, max(FEWEST, room))
    if not size:
        return None
    _, references = listing(size)
    forms = question(text(size), asked, opening)
    return {**forms, "references": tuple(references)}


def _most(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The largest number in [least, most] that fits; 0 for none."""
    if not fits(least):
        return 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(middle) else (least, middle - 1)
    return least
