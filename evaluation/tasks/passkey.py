"""PASSKEY: a number told once in the text. "Overly simple" (paper, footnote 4): whoever fails here finds nothing."""

from typing import Any

from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place, hidden

MAX_TOKENS = 16
ASKED = "What is the pass key that the text above tells? Answer with the number alone."
OPENING = "The pass key is"


def sample(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """A number of five digits, said twice in a row as the original probe does."""
    key = str(place.draw.randint(10_000, 99_999))
    forms = hidden(hay, place, [(place.depth or 0.0, needle(key))], asked=ASKED, opening=OPENING)
    return forms and {**forms, "references": (key,)}


def needle(key: str) -> str:
    """The sentence that hides a key."""
    return f"The pass key is {key}. Remember it: {key} is the pass key."
