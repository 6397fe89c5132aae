"""Duplicates: a question asked before, of the same document in other words, or anywhere in the run.

Run-wide questions are kept as hashes in a scratch database on disk, so that memory stays flat.
"""

import hashlib
import sqlite3

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
        self._here: list[tuple[Pair, Task]] = []

    def check(self, pair: Pair, task: Task, document: str) -> Verdict:
        """Compare a pair with those kept before it, then remember it where it is new."""
        if document != self._document:
            self._document, self._here = document, []
        for other, of in self._here:
            likeness = _likeness(pair, other, task) if of.asks == task.asks else 0.0
            if likeness >= 1.0:
                return Verdict(
                    False, likeness, f"asked of this document before: {(other.question or other.answer)[:80]!r}"
                )
        before = self._recall(pair, document)
        if before is not None:
            return Verdict(False, 1.0, f"asked in this run before: of {before}")
        self._here.append((pair, task))
        return Verdict(True, 0.0)

    def _recall(self, pair: Pair, document: str) -> str | None:
        """The document of which the same pair was kept before; remembers this one otherwise."""
        key = hashlib.blake2b(f"{normal(pair.question)}\0{normal(pair.answer)}".encode(), digest_size=16).digest()
        row = self._seen.execute("SELECT document FROM seen WHERE pair = ?", (key,)).fetchone()
        if row is None:
            self._seen.execute("INSERT INTO seen VALUES (?, ?)", (key, document))
        return row[0] if row else None


def _likeness(pair: Pair, other: Pair, task: Task) -> float:
    """1 or more where the two are one: much the same question, or like questions with the same answer."""
    if not task.asks:
        return f1(content_words(pair.answer), content_words(other.answer)) / SAME_SUMMARY
    questions = f1(content_words(pair.question), content_words(other.question))
    answers = agreement(pair.answer, other.answer, short=task.short)
    return questions / (LIKE_QUESTION if answers >= LIKE_ANSWER else SAME_QUESTION)
