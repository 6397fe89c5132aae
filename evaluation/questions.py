"""Records of generate as questions: what is asked, what is right, where in the document the evidence is.

A row that is none is left out and counted. Memory holds all of them, texts and all.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from longreach.engines.base import Message
from longreach.errors import UserError
from longreach.placing import BrokenRecord, Place, place_of
from longreach.run import GENERATE, read_finished
from longreach.text.document import Skipped
from longreach.text.values import Values

RECORDS = "records.jsonl"


@dataclass(frozen=True, slots=True)
class Question:
    """A record as it is asked."""

    id: str
    task: str
    turns: tuple[Message, ...]  # all before the answer
    answer: str
    document: str
    place: Place | None  # of the document in the turns; None where it is not found

    @property
    def depth(self) -> float | None:
        """Where in the document the evidence is, in the mean; None without any."""
        if self.place is None or not self.place.sought:
            return None
        middle = fmean((span.start + span.end) / 2 for span in self.place.sought)
        return (middle - self.place.start) / max(1, self.place.end - self.place.start)

    @property
    def closed_book(self) -> tuple[Message, ...]:
        """The turns with nothing where the document stood; none where it is not found, or nothing is left."""
        if self.place is None:
            return ()
        turns = list(self.turns)
        content = turns[self.place.message].content
        rest = content[: self.place.start] + content[self.place.end :]
        turns[self.place.message] = replace(turns[self.place.message], content=rest.strip())
        return tuple(turns) if rest.strip() else ()


def read_questions(paths: Sequence[str]) -> tuple[list[Question], Counter[str]]:
    """The records of files and of finished runs of generate, each once; and why rows were left out."""
    found: dict[str, Question] = {}
    left_out: Counter[str] = Counter()
    for item in Values([_records_of(path) for path in paths]):
        question = item.reason if isinstance(item, Skipped) else _question(item.value)
        if isinstance(question, str):
            left_out[question] += 1
        elif question.id in found:
            left_out["told before"] += 1
        else:
            found[question.id] = question
    if not found:
        why = ", ".join(f"{number:,} {reason}" for reason, number in left_out.items()) or "no rows"
        raise UserError(f"no questions in {', '.join(paths)}: {why}", "give the --out of `selfinstruct generate`")
    return list(found.values()), left_out


def _records_of(path: str) -> str:
    """The records of a run folder; any other path as it is."""
    if not (Path(path) / "run.json").is_file():
        return path
    read_finished(Path(path), GENERATE)
    if not (Path(path) / RECORDS).is_file():
        raise UserError(f"{path} holds no {RECORDS}", "give the --out of `selfinstruct generate`")
    return str(Path(path) / RECORDS)


def _question(record: Mapping[str, Any]) -> Question | str:
    """The record as a question, or what is wrong with it."""
    match record:
        case {
            "id": str(own),
            "task": str(task),
            "document": {"id": str(document)},
            "messages": [*turns, {"role": "assistant", "content": str(answer)}],
        }:
            asked = tuple(
                Message(turn["role"], turn["content"])
                for turn in turns
                if isinstance(turn, dict) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
            )
        case _:
            return "no record"
    if not asked or len(asked) < len(turns):
        return "no record"
    if not answer.strip():
        return "empty answer"
    try:
        place = place_of(turns, record)
    except BrokenRecord:
        return "broken record"
    return Question(f"{task}/{own}", task, asked, answer, document, place)


def drawn(questions: Sequence[Question], number: int, seed: int) -> list[Question]:
    """As many, drawn evenly (0: all); those of one document next to each other, since their prompts begin alike."""
    order = sorted(questions, key=lambda each: hashlib.sha256(f"{seed} {each.id}".encode()).digest())
    kept = {each.id for each in (order[:number] if number else order)}
    place = {document: index for index, document in enumerate(dict.fromkeys(each.document for each in questions))}
    return sorted(
        (each for each in questions if each.id in kept),
        key=lambda each: (place[each.document], [turn.content for turn in each.turns]),
    )
