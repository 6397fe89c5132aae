"""Sentences of running text."""

import re
from collections.abc import Iterator

from longreach.record import Span

SENTENCE_BREAK = re.compile(r"(?<=[.!?。！？])[\"'”’»)\]]*\s+(?=[^a-z\s])|(?<=[。！？])")
_PARAGRAPH_BREAK = re.compile(r"\n[ \t\r]*\n\s*|\n(?=\s*(?:[-*•+]|\d+[.)]|#+|\.\.)\s)")


def sentences(text: str) -> Iterator[Span]:
    """Spans of sentences; a paragraph, a list item and a heading end one too. Wrapped lines are joined."""
    start = 0
    for found in [*_PARAGRAPH_BREAK.finditer(text), None]:
        end = found.start() if found else len(text)
        yield from _in_paragraph(text, start, end)
        start = found.end() if found else end


def _in_paragraph(text: str, start: int, end: int) -> Iterator[Span]:
    for found in SENTENCE_BREAK.finditer(text, start, end):
        if text[start : found.start()].strip():
            yield _trimmed(text, start, found.end())
        start = found.end()
    if text[start:end].strip():
        yield _trimmed(text, start, end)


def _trimmed(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)
