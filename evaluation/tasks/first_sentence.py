"""FIRST-SENTENCE-RETRIEVAL (paper, Sec. 4.1): give back the sentence that the text begins with.

To find it a model has to attend over the whole text; RoPE that is not adjusted cannot, past some thousand tokens. The
paper gives neither prompt nor text: the prompt is ours, the text is the user's own.
"""

from typing import Any

from evaluation.tasks.haystack import FIRST, Haystack
from evaluation.tasks.place import Place, hidden

MAX_TOKENS = 96
ASKED = "What is the first sentence of the text above? Answer with that sentence alone, word for word."
OPENING = "The first sentence of the text above is:"


def sample(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """The question on the beginning of a document; None where that is no sentence that can be said again."""
    forms = hidden(hay, place, [], asked=ASKED, opening=OPENING)
    if forms is None:
        return None
    [first, *_] = hay.pieces(place.number, place.room)
    if hay.tokenizer.count(first) not in FIRST:
        return None
    return {**forms, "references": (first.strip(),)}
