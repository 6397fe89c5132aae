"""Llama 3's rule for a stage of long training: the long side has to rise, the short side must not fall.

Long training is known to cost short tasks, and a low loss to hide that nothing is found any more. So a stage is taken
only where the mean over long tasks rises and the mean over short tasks falls by no more than a margin. Where the long
side has no task in points, its loss has to fall.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evaluation.compare.differences import NATS, Row, SideMean
from evaluation.intervals import Interval
from longreach.errors import UserError

CLOSED = 4  # exit status


@dataclass(frozen=True)
class Gate:
    """Whether the rule holds for one model against the first, and in words what decided it."""

    name: str
    is_open: bool
    reasons: tuple[str, ...]


def gates(names: Sequence[str], rows: Sequence[Row], means: Sequence[SideMean], margin: float) -> Iterator[Gate]:
    """One for each model after the first; UserError where a side was not measured."""
    sides = {mean.side: mean for mean in means}
    if "short" not in sides or not ("long" in sides or _losses(rows)):
        missing = "short" if "short" not in sides else "long"
        raise UserError(
            f"a gate needs both sides, and no {missing} task was measured on all models",
            "short: evaluate harness --suite short; long: evaluate retrieval, qa or loss",
        )
    for place, name in enumerate(names[1:]):
        rises, long = _long(sides.get("long"), rows, place)
        short = sides["short"].differences[place]
        holds = short.value >= -margin
        said = f"the short side {_in_words(short)}"
        allowed = f"{margin:g} may be lost"
        yield Gate(name, rises and holds, (long, f"{said}: {allowed}"))


def _long(mean: SideMean | None, rows: Sequence[Row], place: int) -> tuple[bool, str]:
    if mean is not None:
        difference = mean.differences[place]
        return difference.value > 0, f"the long side {_in_words(difference)}"
    found = [each for row in _losses(rows) if (each := row.differences[place])]
    value = sum(each.value for each in found) / len(found)
    return value < 0, f"the loss {_change(value)} by {abs(value):.3f} nats"


def _losses(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.side == "long" and row.unit == NATS and all(row.figures)]


def _in_words(difference: Interval) -> str:
    value, low, high = difference
    return f"{_change(value)} by {abs(value):.1f} points ({low:+.1f} to {high:+.1f})"


def _change(value: float) -> str:
    return "rises" if value > 0 else "falls" if value < 0 else "changes"
