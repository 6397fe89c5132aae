"""What a row's fields hold, and what is said when they do not hold what is wanted."""

import math
from collections.abc import Iterable
from typing import Any

from longreach.text.formats import reasons

MAX_ID_CHARS = 100
SHOWN_FIELDS = 12

Flaw = tuple[str, str]  # reason and detail


def no_text(fields: object, name: str) -> Flaw | None:
    """What is wrong, if these are no fields of which one is a text."""
    if not isinstance(fields, dict):
        return reasons.NOT_A_STRING, f"the row is {kind_of(fields)}"
    if name not in fields:
        return reasons.NO_TEXT_FIELD, missing_field(name, fields, _longest(fields))
    if not isinstance(fields[name], str):
        return reasons.NOT_A_STRING, f'"{name}" is {kind_of(fields[name])}'
    return None


def unwritable(text: str) -> Flaw | None:
    """What is wrong, if this is no text or cannot be written down again."""
    if "\0" in text:
        return reasons.NUL_BYTES, f"at character {text.index(chr(0))}; this is no text"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return reasons.LONE_SURROGATE, f"U+{ord(text[error.start]):04X} at character {error.start}"
    return None


def missing_field(wanted: str, there: Iterable[str], likely: str = "") -> str:
    """What a person needs to name the right field: those that are there, and the likely one."""
    shown = names_of(there)
    advice = f"; set the text field to {likely!r}" if likely else "; set the text field to one of them" if shown else ""
    return f"no field {wanted!r} among: {shown}{advice}"


def names_of(fields: Iterable[str]) -> str:
    """The names of fields, as many and as much of each as a person cares to read."""
    names = [str(name)[:MAX_ID_CHARS] for name in fields]
    return ", ".join(names[:SHOWN_FIELDS]) + (", ..." if len(names) > SHOWN_FIELDS else "")


def own_id(value: object) -> str:
    """What the row calls itself, when that can stand in a name on one line."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= MAX_ID_CHARS else ""


def string(value: object) -> str:
    """A text that can be written down; empty for anything else."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """A finite number, also when a CSV file holds it as text."""
    try:
        found = float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _longest(fields: dict[str, Any]) -> str:
    strings = {name: len(value) for name, value in fields.items() if isinstance(value, str)}
    return max(strings, key=strings.__getitem__, default="")


def kind_of(value: object) -> str:
    """The kind of value, in the words of JSON."""
    kinds = {
        type(None): "null",
        str: "a string",
        bool: "a truth value",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)
