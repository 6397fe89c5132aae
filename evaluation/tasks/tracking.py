"""RULER's variable tracking: which names have a value, through a chain of assignments scattered over the text."""

from itertools import islice, pairwise
from string import ascii_uppercase
from typing import Any

from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place, hidden

MAX_TOKENS = 64
NAMES = 5  # of the chain: four hops
LETTERS = 5


def sample(hay: Haystack, place: Place) -> dict[str, Any] | None:
    """One chain; the links stand in their order, spread over the text."""
    draw = place.draw
    value = str(draw.randint(10_000, 99_999))
    drawn = ("".join(draw.choices(ascii_uppercase, k=LETTERS)) for _ in iter(int, 1))
    names = list(islice(dict.fromkeys(islice(drawn, 4 * NAMES)), NAMES))
    links = [f"VAR {names[0]} = {value}.", *(f"VAR {name} = VAR {before}." for before, name in pairwise(names))]
    depths = sorted(draw.random() for _ in links)
    asked = (
        f"The text above assigns values to variables. Which variables have the value {value}, directly or through "
        f"other variables? Name all {NAMES}."
    )
    opening = f"The variables that have the value {value} are"
    forms = hidden(hay, place, list(zip(depths, links, strict=True)), asked=asked, opening=opening)
    return forms and {**forms, "references": tuple(names)}
