"""held-out documents -> windows: stretches of one document, all as long as the longest context that is measured.

The loss is of the last tokens of a window, so no two windows end less than that apart; what stands before may overlap.
Of the documents that are long enough as many are taken as windows are wanted, by the hash of their ids, so that the
corpus's order does not matter; where there are fewer, each gives an even share, spread over it from end to end. One
pass over the corpus, in memory the tokens of the documents that are taken.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heapreplace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longreach.errors import UserError
from longreach.text.document import Document, Skipped
from longreach.text.tokenize import Tokenizer

Tokens = NDArray[Any]


@dataclass(frozen=True)
class Window:
    """A stretch of a document, from its token `offset` on, and the token that begins every row, if there is one."""

    document: str
    offset: int
    tokens: Tokens
    opening: Tokens

    @property
    def id(self) -> str:
        """Unique, and equal for models with one tokenizer."""
        return f"{self.document}#{self.offset}"

    def row(self, length: int) -> Tokens:
        """The end of the window as a row of `length` tokens."""
        return np.concatenate([self.opening, self.tokens[len(self.opening) + len(self.tokens) - length :]])


@dataclass(frozen=True)
class Text:
    """The tokens of a document, or of several set end to end."""

    id: str
    tokens: Tokens


@dataclass
class Draw:
    """Those texts of at least `length` tokens, `wanted` at most, whose ids have the smallest hashes."""

    length: int
    wanted: int
    seed: int
    met: int = 0  # texts so far
    short: int = 0  # of them, too short
    longest: int = 0  # of them, in tokens
    _heap: list[tuple[int, int, Text]] = field(default_factory=list)  # the largest hash first

    def offer(self, text: Text) -> None:
        """Take it, or leave it."""
        self.met += 1
        self.longest = max(self.longest, len(text.tokens))
        if len(text.tokens) < self.length:
            self.short += 1
            return
        rank = int.from_bytes(hashlib.sha256(f"{self.seed} {text.id}".encode("utf-8", "surrogatepass")).digest())
        entry = -rank, -self.met, text
        if len(self._heap) < self.wanted:
            heappush(self._heap, entry)
        elif entry > self._heap[0]:
            heapreplace(self._heap, entry)

    def texts(self) -> list[Text]:
        """The smallest hash first."""
        return [text for *_, text in sorted(self._heap, key=lambda entry: entry[:2], reverse=True)]


def draw_windows(
    items: Iterable[Document | Skipped],
    tokenizer: Tokenizer,
    length: int,
    *,
    samples: int,
    targets: int,
    seed: int,
    join: bool,
) -> tuple[list[Window], list[str]]:
    """`samples` windows that make rows of `length` tokens, or as many as there are; and what is to be said of them."""
    opening = np.array([tokenizer.bos_id] if tokenizer.adds_bos else [], np.uint32)
    skipped: Counter[str] = Counter()
    draw = Draw(length - len(opening), samples, seed)
    for text in _texts(items, tokenizer, skipped, draw.length if join else 0):
        draw.offer(text)
    texts = draw.texts()
    if not texts:
        raise _nothing(draw, len(opening), targets, skipped, join=join)
    places = _places(texts, draw.length, samples, targets, seed)
    windows = [Window(text.id, place, text.tokens[place : place + draw.length], opening) for text, place in places]
    return windows, list(_notes(windows, draw, samples, skipped))


def digest(windows: Sequence[Window]) -> str:
    """Hex digest of all that the windows hold."""
    found = hashlib.sha256()
    for window in windows:
        found.update(f"{window.id}\n".encode("utf-8", "surrogatepass"))
        found.update(window.row(len(window.opening) + len(window.tokens)).astype("<u4").tobytes())
    return found.hexdigest()


def _texts(
    items: Iterable[Document | Skipped], tokenizer: Tokenizer, skipped: Counter[str], joined: int
) -> Iterator[Text]:
    """Every document's tokens; with `joined`, several documents are one text until it has so many tokens."""
    names: list[str] = []
    parts: list[Tokens] = []
    for item in items:
        if isinstance(item, Skipped):
            skipped[item.reason] += 1
            continue
        tokens = tokenizer.ids(item.text)
        if not joined:
            yield Text(item.id, tokens)
            continue
        names.append(item.id)
        parts += [*_between(tokenizer, first=not parts), tokens]
        if sum(map(len, parts)) >= joined:
            yield _end_to_end(names, parts)
            names, parts = [], []
    if parts:
        yield _end_to_end(names, parts)


def _between(tokenizer: Tokenizer, *, first: bool) -> list[Tokens]:
    """What a row of training has between two documents."""
    marks = (tokenizer.eos_id, tokenizer.bos_id if tokenizer.adds_bos else None)
    return [] if first else [np.array([mark for mark in marks if mark is not None], np.uint32)]


def _end_to_end(names: Sequence[str], parts: Sequence[Tokens]) -> Text:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Text(names[0] + more, np.concatenate(parts))


def _places(texts: Sequence[Text], length: int, samples: int, targets: int, seed: int) -> Iterator[tuple[Text, int]]:
    """Where the windows begin: an even share of each text, as far as it has room."""
    room = [1 + (len(text.tokens) - length) // targets for text in texts]
    shares = [0] * len(texts)
    while sum(shares) < samples and shares != room:
        for number, most in enumerate(room):
            if shares[number] < most and sum(shares) < samples:
                shares[number] += 1
    for text, share in zip(texts, shares, strict=True):
        last = len(text.tokens) - length
        if share == 1:
            yield text, Random(f"{seed} {text.id}").randint(0, last)
        else:
            yield from ((text, place * last // (share - 1)) for place in range(share))


def _notes(windows: Sequence[Window], draw: Draw, samples: int, skipped: Counter[str]) -> Iterator[str]:
    """What came of the corpus."""
    documents = len({window.document for window in windows})
    yield f"{len(windows):,} windows of {documents:,} documents" + (
        f"; {draw.short:,} of {draw.met:,} are shorter than {draw.length:,} tokens" if draw.short else ""
    )
    if len(windows) < samples:
        yield f"{samples:,} windows were asked for: the text has no more of this length"
    if skipped:
        yield f"inputs that gave no document: {_counts(skipped)}"


def _counts(skipped: Counter[str]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in skipped.most_common())


def _nothing(draw: Draw, opening: int, targets: int, skipped: Counter[str], *, join: bool) -> UserError:
    """No document is long enough."""
    if not draw.longest:
        found = f" ({_counts(skipped)})" if skipped else ""
        return UserError(f"no documents were found{found}", "give --docs with text that no training has seen")
    problem = f"no document has the {draw.length:,} tokens of the longest length: the longest has {draw.longest:,}"
    works = draw.longest + opening
    ways = [f"--lengths up to {works}"] if works > targets else []
    ways += [] if join else ["--join sets documents end to end"]
    return UserError(problem, "; or ".join(ways) or "give longer documents")
