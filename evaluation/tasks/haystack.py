"""Natural text of a length: whole sentences of the user's documents, one document after the other.

The text of a number is the beginning of one document, the same at every length, so that of two lengths the shorter is
how the longer begins and needs no second reading. Which document it is follows from the seed and the documents' ids
alone, not from their order. Where a document ends too soon, the next one follows it. Lines wrapped within a sentence
are joined; paragraphs stay. What goes on for long without an end of a sentence (a table, code, a script that has no
marks) is taken in parts, else it would end a text far too soon.

One pass over the corpus; in memory are as many documents as the texts asked for may need.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from heapq import heappop, heappush
from itertools import pairwise

from longreach.errors import UserError
from longreach.text.document import Document, Skipped
from longreach.text.sentences import sentences
from longreach.text.tokenize import Tokenizer

TOKEN_CHARS = 8  # of a token at most, on average: so much text is kept for each token that is asked for
FIRST = range(5, 65)  # tokens of the sentence that a text begins with: what can be asked for word by word
LONGEST = 128  # tokens of a sentence that is taken whole
APART = "\n\n"  # paragraphs, documents

_WORD = re.compile(r"[a-z]{3,12}(?![\w'])")


class Haystack:
    """So many different texts of at most so many tokens each, as far as there are documents to begin with."""

    def __init__(
        self, items: Iterable[Document | Skipped], tokenizer: Tokenizer, seed: int, *, texts: int, tokens: int
    ) -> None:
        self.tokenizer = tokenizer
        self._skipped: Counter[str] = Counter()
        self._documents = _drawn(items, seed, texts, texts * tokens * TOKEN_CHARS, self._skipped)
        self._straws = lru_cache(maxsize=64)(self._straws_of)
        self._pieces = lru_cache(maxsize=256)(self._pieces_of)

    @cached_property
    def sha256(self) -> str:
        """Hex digest of all text that may be used, in its order."""
        return hashlib.sha256("".join(document.sha256 for document in self._documents).encode()).hexdigest()

    @property
    def notes(self) -> list[str]:
        """What gave no document."""
        return [f"inputs that gave no document: {_counted(self._skipped)}"] if self._skipped else []

    @property
    def documents(self) -> int:
        """How many there are to begin with."""
        return len(self._documents)

    @cached_property
    def words(self) -> list[str]:
        """Common words of the documents, in lower case letters, each once, in alphabetical order."""
        return sorted({word for document in self._documents for word in _WORD.findall(document.text)})

    def document(self, number: int) -> Document:
        """The one that the text of this number begins with."""
        return self._documents[number % len(self._documents)]

    def text(self, number: int, tokens: int) -> str:
        """At most so many tokens of text, in whole sentences; empty where not even the first one fits."""
        return "".join(self.pieces(number, tokens))

    def first(self, number: int) -> str:
        """The sentence that the text of this number begins with, at every length."""
        return self._straws(number % self.documents)[0][0].strip()

    def pieces(self, number: int, tokens: int) -> tuple[str, ...]:
        """The same, sentence by sentence, each with the blank or the end of a paragraph that stands before it."""
        return self._pieces(number, tokens)

    def _pieces_of(self, number: int, tokens: int) -> tuple[str, ...]:
        found = list(self._fitting(number, tokens + tokens // 32))
        while found and (over := self.tokenizer.count("".join(found)) - tokens) > 0:
            while found and over > 0:
                over -= self.tokenizer.count(found.pop())
        return tuple(found)

    def _fitting(self, number: int, room: int) -> Iterator[str]:
        """As many sentences as their own tokens allow; together they have that many, or a few more or less."""
        for text, tokens in self._endless(number):
            room -= tokens
            if room < 0:
                return
            yield text

    def _endless(self, number: int) -> Iterator[tuple[str, int]]:
        """The sentences of that document and of those after it, again and again, with their tokens."""
        for place in range(number, number + (1 << 30)):
            straws = self._straws(place % len(self._documents))
            if place == number:
                yield straws[0][0].lstrip(), straws[0][1]
                yield from straws[1:]
            else:
                yield from straws

    def _straws_of(self, place: int) -> list[tuple[str, int]]:
        """The sentences of a document, from the first one on that a text may begin with; all where there is none."""
        text = self._documents[place].text
        spans = list(sentences(text))
        leads = [APART, *(_lead(text[one.end : other.start]) for one, other in pairwise(spans))]
        parts = [lead + " ".join(span.of(text).split()) for lead, span in zip(leads, spans, strict=True)]
        straws = list(zip(parts, self.tokenizer.counts(parts), strict=True))
        first = next((number for number, (_, tokens) in enumerate(straws) if tokens in FIRST), 0)
        return list(self._short_enough(straws[first:]))

    def _short_enough(self, straws: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
        """Sentences, those of more than LONGEST tokens in parts."""
        for part, tokens in straws:
            if tokens <= LONGEST:
                yield part, tokens
            else:
                parts = list(_broken(part, len(part) * LONGEST // tokens))
                yield from zip(parts, self.tokenizer.counts(parts), strict=True)


def _lead(between: str) -> str:
    """What stands before a sentence: the end of a paragraph, of a line, or a blank."""
    lines = between.count("\n")
    return APART if lines > 1 else "\n" if lines else " "


def _broken(sentence: str, chars: int) -> Iterator[str]:
    """Parts of about so many characters, each but the first behind a blank: at the last one there is, or a new one."""
    start = 0
    while start < len(sentence):
        end = start + chars
        if end < len(sentence) and (blank := sentence.rfind(" ", start + 1, end + 1)) > 0:
            end = blank
        part = sentence[start:end]
        yield part if start == 0 or part[0] == " " else f" {part}"
        start = end


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{number:,} {reason}" for reason, number in reasons.items())


def _drawn(
    items: Iterable[Document | Skipped], seed: int, least: int, chars: int, skipped: Counter[str]
) -> Sequence[Document]:
    """At least so many documents with so many characters together, those whose ids have the smallest hashes; all if
    there are fewer. What gave none is counted."""
    heap: list[tuple[int, int, Document]] = []  # the largest hash first
    held = 0
    for number, item in enumerate(items):
        if isinstance(item, Skipped):
            skipped[item.reason] += 1
            continue
        rank = int.from_bytes(hashlib.sha256(f"{seed} {item.id}".encode("utf-8", "surrogatepass")).digest())
        heappush(heap, (-rank, number, item))
        held += len(item.text)
        while len(heap) > least and held - len(heap[0][2].text) >= chars:
            held -= len(heappop(heap)[2].text)
    if not heap:
        why = f" ({_counted(skipped)})" if skipped else ""
        raise UserError(f"no documents were found to hide things in{why}", "give --docs with some text")
    return [document for *_, document in sorted(heap, key=lambda entry: -entry[0])]
