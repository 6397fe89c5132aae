"""From documents to units of work: which parts of which document get which tasks.

A unit is one chunk with its tasks, or one document with its whole-document summary. Units come in the order of the
documents and of the chunks in them, so that all requests on a chunk stand together and share a cached prefix.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from longreach.record import Span
from longreach.text.document import Document, Skipped
from longreach.text.tokenize import Tokenizer
from selfinstruct.chunks import Chunk, Outline, around, chunks, outline, spread
from selfinstruct.config import GenerateSettings
from selfinstruct.tasks import TASKS, Task

SUMMARY = TASKS["summary"]


@dataclass(frozen=True)
class Unit:
    """One chunk and its tasks. For a whole-document summary, `parts` are the chunks that it covers."""

    document: Document
    outline: Outline
    first: int  # blocks [first, last) of the outline
    last: int
    tasks: tuple[Task, ...]
    parts: Sequence[Chunk] = ()

    @property
    def span(self) -> Span:
        """Characters of the document that the unit is about."""
        return self.outline.span(self.first, self.last)

    @property
    def text(self) -> str:
        """Those characters."""
        return self.span.of(self.document.text)

    def seed(self, run_seed: int, task: str) -> int:
        """A seed of this unit's own for a task: 31 bits, the same on every machine."""
        return seed_of(run_seed, self.document.sha256, self.span.start, task)


@dataclass
class Plan:
    """Draws units from documents and counts what passes: `found = read + skipped`, and the requests to be made."""

    settings: GenerateSettings
    tokenizer: Tokenizer
    seen: int = 0  # documents, those of other shards included
    found: int = 0  # inputs of this shard: documents, and what gave none
    read: int = 0
    planned: int = 0  # requests for a pair or a summary
    skipped: Counter[str] = field(default_factory=Counter)
    chars: int = 0
    tokens: int = 0
    chunks: int = 0
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, license) as the rows named them
    _inputs: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def inputs_sha256(self) -> str:
        """A hash over the hashes of the documents read, in order."""
        return self._inputs.hexdigest()

    def units(self, items: Iterable[Document | Skipped]) -> Generator[Unit | Skipped, None, None]:
        """Units of each document of this shard; what was skipped passes through."""
        part = self.settings.part
        for item in items:
            if part.owns(item):
                yield from self._of(item)
            if isinstance(item, Document):
                self.seen += 1
                if self.seen == self.settings.limit:
                    return

    def _of(self, item: Document | Skipped) -> Iterator[Unit | Skipped]:
        self.found += 1
        if isinstance(item, Skipped):
            self.skipped[item.reason] += 1
            yield item
            return
        for unit in self._units_of(item):
            self.planned += len(unit.tasks)
            yield unit

    def _units_of(self, document: Document) -> Iterator[Unit]:
        settings = self.settings
        blocks = outline(document.text, self.tokenizer, settings.chunk_tokens)
        cut = chunks(document.text, blocks, self.tokenizer, settings.chunk_tokens)
        self._count(document, blocks, cut)
        for chunk in spread(cut, settings.chunks_per_doc):
            tasks = self._tasks_for(document, chunk)
            if tasks:
                yield Unit(document, blocks, chunk.first, chunk.last, tasks)
        if SUMMARY.name in settings.tasks and cut:
            yield self._summary_unit(document, blocks, cut)

    def _count(self, document: Document, blocks: Outline, cut: Sequence[Chunk]) -> None:
        self.read += 1
        self.chars += len(document.text)
        self.tokens += blocks.tokens
        self.chunks += len(cut)
        self.sources[document.source, document.license] += 1
        self._inputs.update(bytes.fromhex(document.sha256))

    def _tasks_for(self, document: Document, chunk: Chunk) -> tuple[Task, ...]:
        """All chunk tasks, or as many as asked for, drawn by the seed."""
        offered = [TASKS[name] for name in self.settings.tasks if name != SUMMARY.name]
        number = self.settings.tasks_per_chunk
        if not 0 < number < len(offered):
            return tuple(offered)
        draw = random.Random(seed_of(self.settings.seed, document.sha256, chunk.span.start, "tasks"))
        return tuple(sorted(draw.sample(offered, number), key=offered.index))

    def _summary_unit(self, document: Document, blocks: Outline, cut: Sequence[Chunk]) -> Unit:
        """The chunks that a training record can hold: all, or a run of them around one drawn by the seed."""
        budget = self.settings.context_tokens - self.settings.question_tokens
        draw = random.Random(seed_of(self.settings.seed, document.sha256, 0, "summary"))
        pivot = cut[draw.randrange(len(cut))]
        start, end = around(blocks, pivot.first, pivot.last, budget, draw.random())
        parts = [chunk for chunk in cut if start <= chunk.first and chunk.last <= end]
        return Unit(document, blocks, parts[0].first, parts[-1].last, (SUMMARY,), parts)


def seed_of(run_seed: int, *parts: object) -> int:
    """31 bits from the run's seed and anything that tells the draw apart."""
    digest = hashlib.blake2b(repr((run_seed, *parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
