"""From a kept pair to a record: the whole document, cut to the context budget around the chunk (paper Sec. 2.2, App.
D).

The chunk with its evidence is never cut, nor question or answer. Where the document is longer than the budget, the
chunk is put at the next of a sequence of depths that fills [0, 1] evenly; at the document's ends the depth gives
way.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from longreach.engines.base import Message
from longreach.record import Record, Span
from longreach.text.tokenize import Tokenizer
from selfinstruct.chunks import around
from selfinstruct.config import TEMPLATE_TOKENS
from selfinstruct.pairs import Outcome
from selfinstruct.prompts import Prompts

GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, are spread evenly however many are drawn
OPENING_WORDS = 12  # by which the template of a section summary names its section


@dataclass(frozen=True)
class Assembler:
    """Builds records. `generator` names engine and model for all of them, `seed` is the run's."""

    prompts: Prompts
    tokenizer: Tokenizer
    context_tokens: int
    seed: int
    generator: Mapping[str, str]

    def record(self, outcome: Outcome, budget: int, ordinal: int) -> Record:
        """The record of the run's `ordinal`-th kept pair; `budget` is what room_for() gave."""
        unit, pair, document = outcome.unit, outcome.pair, outcome.unit.document
        assert pair is not None
        context = self._context(outcome, budget, ordinal)
        prompt = self.prompts.render(outcome.task.train, **self._variables(outcome, context.of(document.text)))
        evidence = [{"start": span.start, "end": span.end, "text": span.of(document.text)} for span in outcome.evidence]
        return Record(
            id=self._id(outcome),
            messages=(Message("user", prompt), Message("assistant", pair.answer)),
            task=outcome.task.name,
            document={
                "id": document.id,
                "path": document.path,
                "sha256": document.sha256,
                "chars": len(document.text),
                "source": document.source,
                "license": document.license,
            },
            context=context,
            chunk=unit.span,
            evidence=evidence,
            checks=outcome.checks,
            generator=self.made_by(outcome),
        )

    def made_by(self, outcome: Outcome) -> dict[str, object]:
        """Engine, model, prompt and its hash, seed."""
        return {
            **self.generator,
            "prompt": outcome.task.prompt,
            "prompt_sha256": self.prompts.sha256[outcome.task.prompt],
            "seed": outcome.unit.seed(self.seed, outcome.task.name),
        }

    def _variables(self, outcome: Outcome, document: str) -> dict[str, str]:
        """What the training template gets; a section summary names its section by the opening words."""
        if outcome.unit.parts:
            return {"document": document}
        assert outcome.pair is not None
        opening = " ".join(outcome.unit.text.split()[:OPENING_WORDS])
        return {"document": document, "question": outcome.pair.question if outcome.task.asks else opening}

    def room_for(self, outcome: Outcome) -> int:
        """Tokens left for the document beside question, answer and template; 0 where not even the chunk fits."""
        assert outcome.pair is not None
        frame = self.prompts.render(outcome.task.train, **self._variables(outcome, ""))
        room = self.context_tokens - sum(map(self.tokenizer.count, (frame, outcome.pair.answer))) - TEMPLATE_TOKENS
        unit = outcome.unit
        return room if unit.outline.tokens_of(unit.first, unit.last) <= room else 0

    def _context(self, outcome: Outcome, budget: int, ordinal: int) -> Span:
        unit = outcome.unit
        if unit.parts:
            return unit.span  # a summary is of what the prompt holds, no more and no less
        depth = ((ordinal + 1) * GOLDEN) % 1.0
        return unit.outline.span(*around(unit.outline, unit.first, unit.last, budget, depth))

    def _id(self, outcome: Outcome) -> str:
        span = outcome.unit.span
        made = self.made_by(outcome)
        parts = (
            outcome.unit.document.sha256,
            span.start,
            span.end,
            outcome.task.name,
            made["prompt_sha256"],
            made["seed"],
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def evidence_depth(record: Record) -> float | None:
    """Where in the context the evidence starts, 0 to 1; None where a record has none."""
    length = record.context.end - record.context.start
    if not record.evidence or not length:
        return None
    return float(record.evidence[0]["start"] - record.context.start) / length
