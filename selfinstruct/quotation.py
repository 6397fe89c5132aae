"""Where a quotation stands in a text."""

import re
from bisect import bisect_left
from itertools import accumulate, takewhile

from longreach.record import Span
from longreach.text.sentences import SENTENCE_BREAK

_WORD = re.compile(r"\w+")
_ELLIPSIS = re.compile(r"\s*(?:\[?\.{3,}\]?|\[?…\]?)\s*")
_MIN_PART_WORDS = 3  # of a quotation in parts: shorter parts would be found anywhere


def widened(span: Span, bounds: list[Span], margin: int = 0) -> Span:
    """The span grown to whole sentences, and by `margin` sentences on either side."""
    inside = [i for i, bound in enumerate(bounds) if bound.start < span.end and span.start < bound.end]
    if not inside:
        return span
    first, last = max(0, inside[0] - margin), min(len(bounds) - 1, inside[-1] + margin)
    return Span(min(span.start, bounds[first].start), max(span.end, bounds[last].end))


class Wording:
    """A text as the run of its words, in which quotations are found whatever spaces, punctuation, markup or case lie
    between their words."""

    def __init__(self, text: str) -> None:
        self._text = text
        matches = list(_WORD.finditer(text))
        found = [match.group().lower() for match in matches]
        self._run = _joined(found)
        self._starts = list(accumulate((len(word) + 1 for word in found), initial=0))  # of each word in the run
        self._places = [match.span() for match in matches]

    def find(self, quote: str) -> Span | None:
        """The first place where the quote's words follow each other; a quote without words is looked up as it is."""
        quoted = list(_WORD.finditer(quote))
        if not quoted:
            at = self._text.find(quote.strip()) if quote.strip() else -1
            return Span(at, at + len(quote.strip())) if at >= 0 else None
        at = self._run.find(_joined([match.group().lower() for match in quoted]))
        if at < 0:
            return None
        first = bisect_left(self._starts, at)
        end = self._places[first + len(quoted) - 1][1]
        return Span(self._places[first][0], self._past_ending(end, quote[quoted[-1].end() :].strip()))

    def find_quote(self, quote: str) -> list[Span]:
        """Spans of a quotation, in the quotation's order: whole, or split at its ellipses and sentences where at least
        half of its words are found that way. Empty where the text does not hold it."""
        whole = self.find(quote)
        if whole:
            return [whole]
        parts = [part for piece in _ELLIPSIS.split(quote) for part in SENTENCE_BREAK.split(piece)]
        sizes = {part: len(_WORD.findall(part)) for part in parts}
        hits = [(part, span) for part in parts if sizes[part] >= _MIN_PART_WORDS and (span := self.find(part))]
        found = sum(sizes[part] for part, _ in hits)
        return [span for _, span in hits] if found and found * 2 >= len(_WORD.findall(quote)) else []

    def _past_ending(self, end: int, ending: str) -> int:
        """The end of a match with the punctuation that ended the quote, where the text has it too."""
        following = self._text[end : end + len(ending)]
        return end + sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ending, following, strict=False)))


def _joined(found: list[str]) -> str:
    return "".join(f"\0{word}" for word in found) + "\0"
