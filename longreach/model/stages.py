"""A curriculum: stages one after the other, with one count of steps, one optimizer and one learning-rate curve."""

from collections.abc import Sequence
from dataclasses import dataclass

from longreach.model.batches import Batches
from longreach.model.rope import Rope


@dataclass(frozen=True)
class Stage:
    """So many steps on these batches, read with this RoPE."""

    batches: Batches
    rope: Rope
    steps: int


@dataclass(frozen=True)
class Leg:
    """A stage and its place in the run: the steps `begin` + 1 to `end`."""

    stage: Stage
    number: int  # from 1 on
    begin: int
    end: int


def legs(stages: Sequence[Stage]) -> list[Leg]:
    """The stages with their places."""
    found: list[Leg] = []
    for number, stage in enumerate(stages, 1):
        begin = found[-1].end if found else 0
        found.append(Leg(stage, number, begin, begin + stage.steps))
    return found
