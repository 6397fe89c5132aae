"""Duplicates: a question asked before, of the same document in other words, or anywhere in the run.

Within a document an index by word finds what can be alike, so that a book with thousands of questions takes no longer a
question than a page. Run-wide questions are kept as hashes in a scratch database on disk, so that memory stays flat.
"""

import hashlib
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterator

from longreach.record import Verdict
from selfinstruct.checks.wording import agreement, content_words, f1, normal
from selfinstruct.parse import Pair
from selfinstruct.tasks import Task

SAME_QUESTION = 0.99  # F1 of content words from which two questions are one, whatever their answers
LIKE_QUESTION = 0.65  # ... where their answers agree
LIKE_ANSWER = 0.3  # agreement of answers
SAME_SUMMARY = 0.85  # F1 of content words


class Duplicates:
    """Remembers what was kept. Feed it in the order of the run: the first of two stays."""

    def __init__(self) -> None:
        self._seen = sqlite3.connect("", isolation_level=None)  # a temporary file, gone when closed
        self._seen.execute("PRAGMA journal_mode=OFF")
        self._seen.execute("CREATE TABLE seen (pair BLOB PRIMARY KEY, document TEXT) WITHOUT ROWID")
        self._document = ""
        self._here = _Kept()

    def check(self, pair: Pair, task: Task, document: str) -> Verdict:
        """Compare a pair with those kept before it, then remember it where it is new."""
        if document != self._document:
            self._document, self._here = document, _Kept()
        for other in self._here.like(pair, task):
            if _is_same(pair, other, task):
                asked = (other.question or other.answer)[:80]
                return Verdict(False, 1.0, f"asked of this document before: {asked!r}")
        before = self._recall(pair, document)
        if before is not None:
            return Verdict(False, 1.0, f"asked in this run before: of {before}")
        self._here.add(pair, task)
        return Verdict(True, 0.0)

    def _recall(self, pair: Pair, document: str) -> str | None:
        """The document of which the same pair was kept before; remembers this one otherwise."""
        key = hashlib.blake2b(f"{normal(pair.question)}\0{normal(pair.answer)}".encode(), digest_size=16).digest()
        row = self._seen.execute("SELECT document FROM seen WHERE pair = ?", (key,)).fetchone()
        if row is None:
            self._seen.execute("INSERT INTO seen VALUES (?, ?)", (key, document))
        return row[0] if row else None


class _Kept:
    """The pairs kept of one document, by the words of what they are compared by."""

    def __init__(self) -> None:
        self._pairs: list[Pair] = []
        self._holding: defaultdict[tuple[bool, str], list[int]] = defaultdict(list)

    def add(self, pair: Pair, task: Task) -> None:
        """Remember a pair."""
        for word in _compared(pair, task):
            self._holding[task.asks, word].append(len(self._pairs))
        self._pairs.append(pair)

    def like(self, pair: Pair, task: Task) -> Iterator[Pair]:
        """Earlier pairs whose F1 with this one can reach the bar, in order.

        F1 >= t needs t / (2 - t) of this one's words in common, so any choice of one word more than the others includes
        a common one: the rarest are looked up.
        """
        words = _compared(pair, task)
        bar = LIKE_QUESTION if task.asks else SAME_SUMMARY
        needed = max(1, math.ceil(len(words) * bar / (2 - bar)))
        by_rarity = sorted(words, key=lambda word: (len(self._holding[task.asks, word]), word))
        rarest = by_rarity[: len(words) - needed + 1]
        found = {index for word in rarest for index in self._holding[task.asks, word]}
        return (self._pairs[index] for index in sorted(found))


def _compared(pair: Pair, task: Task) -> frozenset[str]:
    """What tells two pairs apart: the question's words, or a summary's."""
    return content_words(pair.question if task.asks else pair.answer)


def _is_same(pair: Pair, other: Pair, task: Task) -> bool:
    """Much the same question, or like questions with like answers; much the same summary."""
    likeness = f1(_compared(pair, task), _compared(other, task))
    if not task.asks:
        return likeness >= SAME_SUMMARY
    if likeness >= SAME_QUESTION:
        return True
    return likeness >= LIKE_QUESTION and agreement(pair.answer, other.answer, short=task.short) >= LIKE_ANSWER
