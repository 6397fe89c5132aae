"""The tasks: what a request asks for, and the template that trains on its answer (paper App. D)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Task:
    """`prompt` asks the generator, `train` is the record's user message, `max_tokens` bounds the generator's reply."""

    name: str
    prompt: str
    train: str
    max_tokens: int
    asks: bool = True  # there is a question
    short: bool = False  # the answer is a few words


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task("short_answer", "short_answer", "train_short_answer", max_tokens=384, short=True),
        Task("long_answer", "long_answer", "train_long_answer", max_tokens=768),
        Task("section_summary", "section_summary", "train_section_summary", max_tokens=512, asks=False),
        Task("summary", "merge_summaries", "train_summary", max_tokens=768, asks=False),
    )
}


def _object(**properties: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }


PAIR_SCHEMA = _object(question="string", answer="string", evidence="string")
SUMMARY_SCHEMA = _object(summary="string")
CRITIQUE_SCHEMA = _object(rationale="string", score="integer")
