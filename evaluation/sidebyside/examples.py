"""Two result folders -> the questions that both models answered, with both answers."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from evaluation.asking import PROMPTS
from evaluation.results import PREDICTIONS, read_results
from evaluation.sample import Prediction, read_predictions
from longreach.engines.base import Message
from longreach.errors import UserError
from longreach.jsonl import read_lines

ONLY_A, ONLY_B = "only A was asked", "only B was asked"
OTHER_PROMPT = "A and B were asked differently"
WITHOUT_ANSWERS = ("loss", "side-by-side")  # measures
UNANSWERED = "A or B gave no answer"


@dataclass(frozen=True, slots=True)
class Example:
    """A question and two answers. `turns` is a chat, or the one text that base models go on with, of role ""."""

    id: str
    task: str
    length: int | None
    prompt_sha256: str
    turns: tuple[Message, ...]
    a: str
    b: str

    @property
    def same(self) -> bool:
        """Whether there is nothing to choose between."""
        return self.a == self.b


@dataclass(frozen=True)
class Pairing:
    """What two models were both asked, and the ids of what was left out, by reason."""

    a: str  # names of the models
    b: str
    examples: Sequence[Example]
    left_out: dict[str, list[str]]

    def notes(self) -> list[str]:
        """What nobody is asked."""
        same = sum(each.same for each in self.examples)
        said = [f"{len(ids):,} questions left out: {reason}" for reason, ids in self.left_out.items()]
        if same:
            said.append(f"{same:,} of {len(self.examples):,} answers are the same on both sides: ties, not shown")
        return said


def pair(a: Path, b: Path, samples: int, seed: int) -> Pairing:
    """The examples of two folders, in the order of A's predictions; `samples` of them, evenly drawn, where not 0."""
    found = read_results(a), read_results(b)
    for folder, results in zip((a, b), found, strict=True):
        if results.measure in WITHOUT_ANSWERS:
            raise UserError(
                f"{folder}: {results.measure} leaves no answers to choose between",
                "give results of retrieval, qa, harness or red-team",
            )
    of_a, of_b = _predictions(a), _predictions(b)
    reasons = {each: _reason(of_a.get(each), of_b.get(each)) for each in {**of_a, **of_b}}
    left_out: dict[str, list[str]] = {}
    for each, reason in reasons.items():
        if reason:
            left_out.setdefault(reason, []).append(each)
    ids = evenly([each for each, reason in reasons.items() if not reason], samples, seed)
    if not ids:
        told = ", ".join(f"{reason}: {len(each):,}" for reason, each in left_out.items())
        raise UserError(
            f"{a} and {b} have no question in common that both answered ({told or 'both are empty'})",
            "give results of one measure with the same data, seed, lengths and --style",
        )
    prompts = _prompts(a, {of_a[each].prompt_sha256 for each in ids})
    examples = [_example(of_a[each], of_b[each], prompts) for each in ids]
    one, other = (results.model for results in found)
    if one == other:  # as of two servers that call theirs the same
        one, other = f"{one} ({a})", f"{other} ({b})"
    return Pairing(one, other, examples, left_out)


def _predictions(folder: Path) -> dict[str, Prediction]:
    """By id, in their order."""
    return {each.id: each for each in read_predictions(folder / PREDICTIONS)}


def _reason(a: Prediction | None, b: Prediction | None) -> str:
    """Why a question is no example; empty where it is one."""
    if a is None or b is None:
        return ONLY_B if a is None else ONLY_A
    if a.prompt_sha256 != b.prompt_sha256 or not a.prompt_sha256:
        return OTHER_PROMPT
    return UNANSWERED if a.failed or b.failed else ""


def evenly(ids: Sequence[str], samples: int, seed: int) -> Sequence[str]:
    """One of each of `samples` equal stretches of the list; all where samples is 0 or more than there are."""
    if not 0 < samples < len(ids):
        return ids
    draw = random.Random(f"{seed} side by side examples")
    edges = [number * len(ids) // samples for number in range(samples + 1)]
    return [ids[draw.randrange(low, high)] for low, high in pairwise(edges)]


def _prompts(folder: Path, wanted: Iterable[str]) -> dict[str, tuple[Message, ...]]:
    """What was asked, by hash."""
    missing, found = set(wanted), {}
    for row in read_lines(folder / PROMPTS):
        if row["sha256"] in missing:
            missing.remove(row["sha256"])
            turns = row.get("messages") or [{"role": "", "content": row["text"]}]
            found[row["sha256"]] = tuple(Message(turn["role"], turn["content"]) for turn in turns)
    if missing:
        raise UserError(
            f"{folder / PROMPTS} lacks {len(missing):,} prompts of {PREDICTIONS}", "was one of these files edited?"
        )
    return found


def _example(a: Prediction, b: Prediction, prompts: dict[str, tuple[Message, ...]]) -> Example:
    return Example(a.id, a.task, a.length, a.prompt_sha256, prompts[a.prompt_sha256], a.output, b.output)
