"""Each text once: exact duplicates by hash, near duplicates by MinHash over word shingles.

Near duplicates are texts that share most of their runs of five words: the Jaccard similarity of the two sets,
estimated from 128 minima with a standard error of 3 points at 0.85. Candidates are found in bands of minima, as long
as they may be to find 99 of 100 pairs at the wished similarity. The first text of a family stays; a text is compared
with the first 1,000 candidates at most, which bounds the time that thousands of filled-in forms would take.

What was seen lies in a scratch database on disk, so memory is flat: a text costs about a kilobyte there. The hashes
are plain arithmetic on code points, the same on every machine and in every process.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt

from longreach.errors import UserError
from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons

MINIMA = 128
SHINGLE_WORDS = 5
RECALL = 0.99  # of pairs as similar as asked for
MAX_CANDIDATES = 1000
PIECE_CHARS = 1 << 18  # texts are hashed piecewise: memory; a shingle across a seam is lost, which changes nothing
BLOCK_SHINGLES = 512  # times MINIMA values of 4 bytes stay in the processor's cache
CACHE_KB = 16 << 10
TABLES = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE texts (number INTEGER PRIMARY KEY, id TEXT, minima BLOB);
    CREATE TABLE hashes (sha256 BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID;
    CREATE TABLE bands (key INTEGER, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID;
    BEGIN;
"""

Hashes = npt.NDArray[np.uint64]
Minima = npt.NDArray[np.uint32]


def distinct(items: Iterable[Document | Skipped], near: float = 0.85) -> Iterator[Document | Skipped]:
    """Pass everything through, duplicates as notes that name the text they repeat; `near` 0 finds exact ones only."""
    if not 0 <= near <= 1:
        raise UserError(f"the similarity of near duplicates is {near}", "give a number from 0 (off) to 1")
    return _distinct(items, near)


def _distinct(items: Iterable[Document | Skipped], near: float) -> Iterator[Document | Skipped]:
    with closing(sqlite3.connect("", isolation_level=None)) as database:
        seen = Seen(database, near)
        for item in items:
            yield item if isinstance(item, Skipped) else seen.repeat(item) or item


class Seen:
    """The texts so far."""

    def __init__(self, database: sqlite3.Connection, near: float) -> None:
        self.database = database
        self.near = near
        self.rows = band_rows(near) if near else 0
        self.count = 0
        database.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        database.executescript(TABLES)

    def repeat(self, document: Document) -> Skipped | None:
        """The note on a text that repeats another; any other text is remembered."""
        digest = bytes.fromhex(document.sha256)
        first = self.database.execute(
            "SELECT id FROM hashes JOIN texts USING (number) WHERE sha256 = ?", (digest,)
        ).fetchone()
        if first:
            return _note(document, reasons.EXACT_DUPLICATE, f"same text as {first[0]}")
        minima = minima_of(document.text) if self.near else None
        keys = [] if minima is None else band_keys(minima, self.rows)
        if minima is not None and (found := self._nearest(minima, keys)):
            return _note(document, reasons.NEAR_DUPLICATE, f"{found[0]:.2f} similar to {found[1]}")
        self._remember(document.id, digest, minima, keys)
        return None

    def _nearest(self, minima: Minima, keys: list[int]) -> tuple[float, str] | None:
        marks = ",".join("?" * len(keys))
        candidates = self.database.execute(
            f"SELECT id, minima FROM texts WHERE number IN (SELECT number FROM bands WHERE key IN ({marks}))"
            f" ORDER BY number LIMIT {MAX_CANDIDATES}",
            keys,
        ).fetchall()
        if not candidates:
            return None
        theirs = np.frombuffer(b"".join(blob for _, blob in candidates), np.uint32).reshape(-1, MINIMA)
        similarities = (theirs == minima).mean(axis=1)
        best = int(similarities.argmax())
        return (float(similarities[best]), candidates[best][0]) if similarities[best] >= self.near else None

    def _remember(self, id: str, digest: bytes, minima: Minima | None, keys: list[int]) -> None:
        self.count += 1
        blob = None if minima is None else minima.tobytes()
        self.database.execute("INSERT INTO texts VALUES (?, ?, ?)", (self.count, id, blob))
        self.database.execute("INSERT INTO hashes VALUES (?, ?)", (digest, self.count))
        self.database.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", ((key, self.count) for key in keys))


def _note(document: Document, reason: str, detail: str) -> Skipped:
    row = re.match(r"#(\d+)", document.id.removeprefix(document.path))
    return Skipped(document.path, reason, detail, int(row[1]) if row else None)


def band_rows(near: float) -> int:
    """How many minima a band may hold, so that pairs at this similarity still agree on one of the bands."""
    fits = [rows for rows in (1, 2, 4, 8, 16, 32, 64) if 1 - (1 - near**rows) ** (MINIMA // rows) >= RECALL]
    return max(fits, default=1)


def band_keys(minima: Minima, rows: int) -> list[int]:
    """One number for each band, as SQLite's signed integers."""
    bands = minima.astype(np.uint64).reshape(-1, rows)
    numbers = np.arange(len(bands), dtype=np.uint64)
    return list(mix((bands * POWERS[:rows]).sum(axis=1) + mix(numbers)).view(np.int64).tolist())


def minima_of(text: str) -> Minima | None:
    """The least of the shingles' values under each of 128 orders; None for a text without a word."""
    minima = np.full(MINIMA, 0xFFFFFFFF, np.uint32)
    words = 0
    for start in range(0, len(text), PIECE_CHARS):
        hashes = word_hashes(text[start : start + PIECE_CHARS])
        words += len(hashes)
        shingles = (shingle_hashes(hashes) >> np.uint64(32)).astype(np.uint32)
        for block in range(0, len(shingles), BLOCK_SHINGLES):
            orders = shingles[block : block + BLOCK_SHINGLES, None] * FACTORS + OFFSETS
            np.minimum(minima, orders.min(axis=0), out=minima)
    return minima if words else None


def shingle_hashes(words: Hashes) -> Hashes:
    """A hash for each run of five words; for a shorter text, one for the whole."""
    width = min(SHINGLE_WORDS, len(words))
    runs = np.zeros(len(words) - width + 1 if width else 0, np.uint64)
    for place in range(width):
        runs += words[place : place + len(runs)] * POWERS[place]
    return mix(runs)


def word_hashes(text: str) -> Hashes:
    """A hash for each word: a run of letters and digits, or one character where the script has no spaces."""
    codes = np.frombuffer(text.lower().encode("utf-32-le", "surrogatepass"), np.uint32)
    kinds = KINDS[codes]
    before = np.concatenate((np.zeros(1, np.uint8), kinds[:-1]))
    starts = np.flatnonzero((kinds != SPACE) & ((before == SPACE) | (kinds == ALONE) | (before == ALONE)))
    if not len(starts):
        return np.zeros(0, np.uint64)
    first = np.zeros(len(codes), np.int64)
    first[starts] = starts
    place = np.arange(len(codes)) - np.maximum.accumulate(first)
    letters = mix(codes.astype(np.uint64) + (place.astype(np.uint64) << np.uint64(32)))
    letters[kinds == SPACE] = 0
    return np.add.reduceat(letters, starts)


def mix(values: Hashes) -> Hashes:
    """Spread each value over all 64 bits: two rounds of shift and multiply, in arithmetic modulo 2**64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


SPACE, LETTER, ALONE = 0, 1, 2


def _kinds() -> npt.NDArray[np.uint8]:
    """What each code point is to a word, by blocks of Unicode."""
    kinds = np.full(0x110000, LETTER, np.uint8)
    kinds[:0xC0] = [LETTER if chr(code).isalnum() else SPACE for code in range(0xC0)]
    for start, end in ((0x2000, 0x2070), (0x3000, 0x3040), (0xFF00, 0xFF10)):  # punctuation
        kinds[start:end] = SPACE
    # Thai to Burmese, Khmer, Chinese, Japanese and Korean
    for start, end in ((0x0E00, 0x10A0), (0x1780, 0x1800), (0x3040, 0xD800), (0xF900, 0xFB00), (0x20000, 0x32000)):
        kinds[start:end] = ALONE
    return kinds


KINDS = _kinds()
ODD = np.uint64(0x9E3779B97F4A7C15)
POWERS = np.multiply.accumulate(np.concatenate((np.ones(1, np.uint64), np.full(63, ODD))))
CONSTANTS = (mix(np.arange(1, 2 * MINIMA + 1, dtype=np.uint64) * ODD) >> np.uint64(32)).astype(np.uint32)
FACTORS, OFFSETS = CONSTANTS[:MINIMA] | np.uint32(1), CONSTANTS[MINIMA:]
