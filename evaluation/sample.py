"""A sample: one thing asked of a model, with what a right answer is; and a prediction: what came of it.

Every sample has two forms. A chat model gets `messages` through its chat template; a base model goes on with `text`,
which ends in the words that its answer begins with and is cut off at the first of `stop`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from longreach.engines.base import Message, Request, Sampling
from longreach.errors import UserError
from longreach.jsonl import read_lines


@dataclass(frozen=True, slots=True)
class Sample:
    """What is asked. `length` is in tokens of the model, prompt and answer together; None where it is as it comes."""

    id: str  # unique in a run, equal between models that are asked the same
    task: str
    messages: tuple[Message, ...]
    text: str
    references: tuple[str, ...]
    max_tokens: int
    stop: tuple[str, ...] = ("\n",)  # of a base model's answer; a chat model ends its own
    length: int | None = None
    depth: float | None = None  # of what is sought: 0 the beginning of the context, 1 its end
    affinity: str = ""  # samples with equal ones share the beginning of their prompts
    facts: Mapping[str, Any] = field(default_factory=dict)  # further, for predictions.jsonl

    def request(self, *, chat: bool) -> Request:
        """As an engine takes it, greedy."""
        return Request(
            messages=self.messages if chat else (),
            text="" if chat else self.text,
            sampling=Sampling(max_tokens=self.max_tokens, stop=() if chat else self.stop),
            affinity=self.affinity,
        )

    def prompt_sha256(self, *, chat: bool) -> str:
        """Hex digest of what is asked, before any chat template."""
        asked = [[turn.role, turn.content] for turn in self.messages] if chat else self.text
        return hashlib.sha256(orjson.dumps(asked)).hexdigest()


def question(context: str, asked: str, opening: str, **rest: Any) -> dict[str, Any]:
    """The two forms of a question on a context, which stands first, so that prompts on one text begin alike.

    `opening` is how the answer begins, for a base model to go on with.
    """
    whole = f"{context}\n\n{asked}" if context else asked
    return {"messages": (Message("user", whole),), "text": f"{whole}\n{opening}", **rest}


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of predictions.jsonl. `failed` says why there is no output; then there are no scores."""

    id: str
    task: str
    output: str
    scores: Mapping[str, float]  # by metric
    references: tuple[str, ...] = ()
    length: int | None = None
    depth: float | None = None
    prompt_sha256: str = ""
    prompt_tokens: int = 0
    finish_reason: str = ""
    failed: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """The JSON object."""
        row = {name: getattr(self, name) for name in self.__slots__}
        return {**row, "references": list(self.references), "scores": dict(self.scores), "facts": dict(self.facts)}


def prediction_of(row: Mapping[str, Any]) -> Prediction:
    """A line read back."""
    return Prediction(**{**row, "references": tuple(row["references"])})


def read_predictions(path: Path) -> Iterator[Prediction]:
    """All of a predictions.jsonl; UserError where a line is none."""
    for number, row in enumerate(read_lines(path), 1):
        try:
            yield prediction_of(row)
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}, line {number} is no prediction: {error}", "was this file edited?") from error
