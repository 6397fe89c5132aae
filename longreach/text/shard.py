"""A shard: the part of a run's documents that is one job's, where several jobs divide them.

Where all jobs have to see all documents (`selfinstruct generate`: which of them repeat another?), a hash of its id
decides whose a document is, the same on every machine. Where each is to read as little as it can, whole files are
divided: `formats/division.py`.
"""

import hashlib
import re
from dataclasses import dataclass

from longreach.text.document import Document, Skipped

_FORM = re.compile(r"([0-9]+)/([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Shard:
    """Number `index`, from 0, of `count` shards; by default the only one."""

    index: int = 0
    count: int = 1

    @classmethod
    def of(cls, text: str) -> "Shard":
        """The shard that "I/N" names; ValueError where it names none."""
        numbers = _FORM.fullmatch(text)
        if not numbers:
            raise ValueError(f"{text!r} is not I/N, like 0/4")
        index, count = map(int, numbers.groups())
        if index >= count:
            raise ValueError(f"there is no {text}: shards count from 0, the last of {count} is {count - 1}/{count}")
        return cls(index, count)

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def owns(self, item: Document | Skipped) -> bool:
        """Whether a document, or an input that gave none, is this shard's: each is exactly one's."""
        return self.count == 1 or _number(item) % self.count == self.index


def shard_text(text: str) -> str:
    """I/N as a setting holds it; ValueError where it names no shard."""
    return str(Shard.of(text))


def _number(item: Document | Skipped) -> int:
    """64 bits from what tells an input from all others."""
    name = item.id if isinstance(item, Document) else repr((item.path, item.line, item.byte))
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
