"""The record: one training example with all that is known of its making. A line of records.jsonl."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from longreach.engines.base import Message


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of a document's text."""

    start: int
    end: int

    def holds(self, other: "Span") -> bool:
        """Whether the other span lies inside this one."""
        return self.start <= other.start and other.end <= self.end

    def of(self, text: str) -> str:
        """The characters themselves."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check said. `score` is on the check's own scale; None where it gives none."""

    passed: bool
    score: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """See design.md's schema; `evidence` spans lie inside `context` and their texts equal the document's slices."""

    id: str
    messages: tuple[Message, ...]
    task: str
    document: Mapping[str, Any]  # id, path, sha256, chars, source, license
    context: Span
    chunk: Span
    evidence: Sequence[Mapping[str, Any]]  # start, end, text
    checks: Mapping[str, Verdict]
    generator: Mapping[str, Any]  # engine, model, prompt, prompt_sha256, seed

    def as_row(self) -> dict[str, Any]:
        """The JSON object of records.jsonl."""
        return {
            "id": self.id,
            "messages": [{"role": turn.role, "content": turn.content} for turn in self.messages],
            "task": self.task,
            "document": dict(self.document),
            "context": {"start": self.context.start, "end": self.context.end},
            "chunk": {"start": self.chunk.start, "end": self.chunk.end},
            "evidence": [dict(entry) for entry in self.evidence],
            "checks": {name: asdict(verdict) for name, verdict in self.checks.items()},
            "generator": dict(self.generator),
        }
