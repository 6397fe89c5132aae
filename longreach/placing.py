"""Where the document of a record stands in its prompt, and where in it the evidence is.

A record tells both as offsets into the document, which is not at hand. But the length of the slice is known and little
stands around it, so there are few places where it may start; of them that one is taken where every evidence text is
found at its own offset. A record without evidence is placed by the marks of the shipped templates.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longreach.record import Span
from longreach.text.formats.fields import kind_of

MARKS = ("<document>\n", "\n</document>")


class BrokenRecord(Exception):
    """A record whose offsets do not hold together."""


@dataclass(frozen=True, slots=True)
class Place:
    """The context inside a message: characters [start, end) of its content."""

    message: int
    start: int
    end: int
    sought: tuple[Span, ...] = ()  # evidence and the like, characters of the same content, in order; may overlap


@dataclass(frozen=True, slots=True)
class Evidence:
    """A span of the document with its text."""

    span: Span
    text: str


def place_of(messages: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> Place | None:
    """The record's context in its messages; None where it is not found, or in more than one place."""
    slice_ = _span(record.get("context"))
    found = record.get("evidence") or []
    if not isinstance(found, list):
        raise BrokenRecord(f"its evidence is {kind_of(found)}, not a list")
    evidence = [_evidence(given, slice_) for given in found]
    prompts = [(number, turn["content"]) for number, turn in enumerate(messages) if turn["role"] != "assistant"]
    places = [(number, start) for number, text in prompts for start in _starts(text, slice_, evidence)]
    if len(places) > 1:
        places = [(number, start) for number, start in places if _marked(messages[number]["content"], start, slice_)]
    if len(places) != 1:
        return None
    [(number, start)] = places
    shift = start - slice_.start
    spans = {each.span for each in evidence} | _section(record, slice_)
    sought = sorted(
        (Span(span.start + shift, span.end + shift) for span in spans), key=lambda span: (span.start, span.end)
    )
    return Place(number, start, slice_.end + shift, tuple(sought))


def _starts(text: str, slice_: Span, evidence: Sequence[Evidence]) -> Iterator[int]:
    """Where in the text the slice may start."""
    if evidence:
        longest = max(evidence, key=lambda each: len(each.text))
        sought, ahead = longest.text, longest.span.start - slice_.start
    else:
        sought, ahead = MARKS[0], -len(MARKS[0])
    room = len(text) - (slice_.end - slice_.start)
    found = text.find(sought, max(ahead, 0))
    while found >= 0 and found - ahead <= room:
        start = found - ahead
        if _holds(text, start - slice_.start, evidence) if evidence else _marked(text, start, slice_):
            yield start
        found = text.find(sought, found + 1)


def _holds(text: str, shift: int, evidence: Sequence[Evidence]) -> bool:
    return all(text.startswith(each.text, each.span.start + shift) for each in evidence)


def _marked(text: str, start: int, slice_: Span) -> bool:
    before, after = MARKS
    return text.endswith(before, 0, start) and text.startswith(after, start + slice_.end - slice_.start)


def _section(record: Mapping[str, Any], slice_: Span) -> set[Span]:
    """What a section's summary is of: the question names its first words, which must still stand there."""
    if record.get("task") != "section_summary":
        return set()
    chunk = _span(record.get("chunk"))
    return {chunk} if slice_.holds(chunk) else set()


def _evidence(given: object, slice_: Span) -> Evidence:
    span = _span(given)
    text = given.get("text") if isinstance(given, Mapping) else None
    if not isinstance(text, str) or len(text) != span.end - span.start or not text or not slice_.holds(span):
        raise BrokenRecord(f"evidence {given!r:.80} is no text inside the context")
    return Evidence(span, text)


def _span(given: object) -> Span:
    match given:
        case {"start": int(start), "end": int(end)} if 0 <= start <= end:
            return Span(start, end)
    raise BrokenRecord(f"{given!r:.80} has no start and end")
