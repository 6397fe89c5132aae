"""A row's fields to a text: which field is taken, and what is said when it is not there."""

import math
from collections.abc import Iterable

from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.source import Row, Source

MAX_ID_CHARS = 100
SHOWN_FIELDS = 12


def take(source: Source, value: object, line: int, byte: int | None) -> Row | Skipped:
    """The text of one row: the row itself when it is a string, else its text field."""
    if isinstance(value, str):
        return Row(value, line, byte)
    if not isinstance(value, dict):
        return source.skipped(reasons.NOT_A_STRING, f"the row is {_kind(value)}", line, byte)
    if source.text_field not in value:
        return source.skipped(
            reasons.NO_TEXT_FIELD, missing_field(source.text_field, value, _longest(value)), line, byte
        )
    text = value[source.text_field]
    if not isinstance(text, str):
        return source.skipped(reasons.NOT_A_STRING, f'"{source.text_field}" is {_kind(text)}', line, byte)
    return Row(
        text,
        line,
        byte,
        own_id(value.get("id")),
        _string(value.get("source")),
        _string(value.get("license")),
        _number(value.get(source.quality_field)) if source.quality_field else None,
    )


def missing_field(wanted: str, there: Iterable[str], likely: str = "") -> str:
    """What a person needs to name the right field: those that are there, and the likely one."""
    names = [str(name)[:MAX_ID_CHARS] for name in there]
    shown = ", ".join(names[:SHOWN_FIELDS]) + (", ..." if len(names) > SHOWN_FIELDS else "")
    advice = f"; set the text field to {likely!r}" if likely else "; set the text field to one of them" if names else ""
    return f"no field {wanted!r} among: {shown}{advice}"


def own_id(value: object) -> str:
    """What the row calls itself, when that can stand in a name on one line."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= MAX_ID_CHARS else ""


def _string(value: object) -> str:
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A finite number, also when a CSV file holds it as text."""
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _longest(fields: dict[str, object]) -> str:
    strings = {name: len(value) for name, value in fields.items() if isinstance(value, str)}
    return max(strings, key=strings.__getitem__, default="")


def _kind(value: object) -> str:
    kinds = {
        type(None): "null",
        bool: "a truth value",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), type(value).__name__)
