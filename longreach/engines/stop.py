"""Where an answer ends that may go on only up to one of several strings."""

from collections.abc import Iterable


def cut(text: str, stops: Iterable[str]) -> str | None:
    """What stands before the stop string that ends first, as if the text came letter by letter; None: there is none."""
    found = [(start + len(stop), start) for stop in stops if (start := text.find(stop)) >= 0]
    return text[: min(found, key=lambda place: place[0])[1]] if found else None
