"""Where a sample stands among all: its length, depth and number. What is drawn for it follows from these alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from evaluation.sample import question
from evaluation.tasks.haystack import Haystack

CONSONANTS, VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Place:
    """`depth` is None for tasks that have none; `room` is the tokens for prompt, template and answer taken off."""

    task: str
    length: int
    depth: float | None
    number: int
    room: int
    seed: int
    depths: tuple[float, ...] = ()  # all that are asked for

    @property
    def draw(self) -> Random:
        """The same at every length and depth: what is asked for differs between numbers only."""
        return self.draw_for(self.task)

    def draw_for(self, name: str) -> Random:
        """Of what several tasks share."""
        return Random(f"{self.seed} {name} {self.number}")


def hidden(
    hay: Haystack, place: Place, needles: Sequence[tuple[float, str]], *, asked: str, opening: str
) -> dict[str, Any] | None:
    """The forms of a question on text with sentences put into it at their depths; None where there is no room."""
    text = filled(hay, place, needles, [f"{asked}\n{opening}"])
    return question(text, asked, opening) if text else None


def filled(hay: Haystack, place: Place, needles: Sequence[tuple[float, str]], questions: Sequence[str]) -> str:
    """Text with sentences put into it, as long as the longest question leaves room for; empty where there is none.

    The text that fits is the same wherever the sentences stand.
    """
    told = hay.tokenizer.count("\n\n".join(f" {needle}" for _, needle in needles))
    pieces = hay.pieces(place.number, place.room - told - max(hay.tokenizer.counts([f"\n\n{q}" for q in questions])))
    return scattered(pieces, needles) if pieces else ""


def scattered(pieces: Sequence[str], needles: Sequence[tuple[float, str]]) -> str:
    """The text with each sentence between two of its own, at its depth in characters."""
    total, done = sum(map(len, pieces)), 0
    waiting = sorted(needles, key=lambda needle: needle[0], reverse=True)
    found: list[str] = []
    for piece in pieces:
        while waiting and waiting[-1][0] * total <= done:
            found.append(waiting.pop()[1])
        found.append(piece)
        done += len(piece)
    found += (needle for _, needle in reversed(waiting))
    return "".join(part if part[0].isspace() else f" {part}" for part in found).lstrip()


def coined(draw: Random, syllables: int = 3) -> Iterator[str]:
    """Words that no language has, without end, each once."""
    known = set()
    while True:
        word = "".join(draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(syllables))
        if word not in known:
            known.add(word)
            yield word


def unlike(text: str, words: Iterator[str]) -> Iterator[str]:
    """Those that do not stand in the text."""
    return (word for word in words if word not in text)
