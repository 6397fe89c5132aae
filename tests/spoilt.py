"""Files of good rows with a bad one in the middle."""

import gzip
from collections.abc import Sequence

import zstandard

MIDDLE = 500


def planted(rows: Sequence[bytes], bad: bytes, end: bytes = b"\n") -> tuple[bytes, int]:
    """The rows with the bad one in the middle, and where it starts."""
    before = b"".join(row + end for row in rows[:MIDDLE])
    return before + bad + end + b"".join(row + end for row in rows[MIDDLE:]), len(before)


def packed(data: bytes, suffix: str) -> bytes:
    """The bytes as a file of this suffix holds them."""
    return {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(suffix, bytes)(data)
