"""FIRST-SENTENCE-RETRIEVAL (paper, Sec. 4.1): give back the sentence that the text begins with.

To find it a model has to attend over the whole text; RoPE that is not adjusted cannot, past some thousand tokens. The
paper gives neither prompt nor text: the prompt is ours, the text is the user's own.
"""

from dataclasses import replace
from typing import Any

from evaluation.tasks.haystack import FIRST, Haystack
from evaluation.tasks.place import Place, hidden

MAX_TOKENS = 96
SHARE, SPARE = 8, 8  # an answer has an eighth of a short window, and so many tokens more than the sentence at least
ASKED = "What is the first sentence of the text above? Answer with that sentence alone, word for word."
OPENING = "The first sentence of the text above is:"


def sample(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """The question on the beginning of a document; None where that is no sentence that can be said again."""
    first = hay.first(place.number)
    tokens = hay.tokenizer.count(first)
    if tokens not in FIRST:
        return None
    answer = min(MAX_TOKENS, max(tokens + SPARE, place.length // SHARE))
    roomy = replace(place, room=place.room + MAX_TOKENS - answer)
    forms = hidden(hay, roomy, [], asked=ASKED, opening=OPENING)
    return forms and {**forms, "references": (first,), "max_tokens": answer}
