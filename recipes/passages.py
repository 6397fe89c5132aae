"""Held-out text to ask for first sentences in: stretches of documents that begin with a sentence short enough."""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from tokenizers import Tokenizer

from evaluation.tasks.haystack import FIRST
from longreach.text.sentences import sentences

TOKEN_CHARS = 8  # at most: a passage is long enough for every length that is asked at


def passages(
    texts: Sequence[str], tokenizer: Tokenizer, short: int, long: int, number: int
) -> Iterator[dict[str, str]]:
    """So many rows of `id` and `text`, drawn evenly, for lengths up to `long` tokens.

    The first sentence has at most a quarter of `short` tokens: it can be asked for in a row of so many, too.
    """
    askable = range(FIRST.start, short // 4 + 1)
    starts = [
        (place, span.start)
        for place, text in enumerate(texts)
        for span in sentences(text)
        if len(tokenizer.encode(span.of(text), add_special_tokens=False)) in askable
    ]
    drawn = random.Random(0).sample(starts, len(starts))
    for place, start in islice(drawn, number):
        yield {"id": f"passage/{place}-{start}", "text": texts[place][start : start + long * TOKEN_CHARS]}
