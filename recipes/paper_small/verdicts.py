"""How a claim is decided: from figures to one of four words and the reason. Pure.

A claim about a difference is *seen* where its interval over the seeds leaves out 0 on the side that the paper names
(or, where the paper finds no loss, where it does not reach a margin that was set beforehand). It is *not seen*
otherwise: the other way round, or undecided. It *cannot be seen at this size* where the models cannot do the task at
all, one seed gives no interval, or the paper's task needs what a small model does not have. *Not measured*: the job was
not asked for, or failed.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from evaluation.intervals import Interval
from recipes.paper_small.figures import Figures, written

SEEN, NOT_SEEN, CANNOT, NOT_MEASURED = "seen", "not seen", "cannot be seen at this size", "not measured"
ORDER = (NOT_MEASURED, CANNOT, NOT_SEEN, SEEN)  # of several, the first that one of them has
SHOWN = 6  # reasons that are told
ONE_SEED = "one seed gives no interval"

LOSS, RETRIEVAL = "loss", "retrieval"
POINTS = (RETRIEVAL, "passkey", "short_answer", "long_answer")  # measures from 0 to 100; all others have no unit


class Verdict(NamedTuple):
    """The word, and why."""

    word: str
    reason: str


class Found(NamedTuple):
    """All that claims are decided by."""

    figures: Figures
    short: int  # tokens of a row of the base
    long: int  # of the longest rows trained on


Place = tuple[str, int]  # an arm, and the length at which it is measured


def better(found: Found, measure: str, first: Place, second: Place) -> Verdict:
    """Whether `second` is better than `first`."""
    difference = found.figures.difference(measure, first, second)
    said = _said(measure, first, second, difference)
    if difference is None or math.isinf(difference.high):
        return _without_interval(difference, said)
    return _by_sign(difference, sign_of(measure), said)


def changes(found: Found, arm: str, measure: str, sign: int) -> Verdict:
    """Whether a change, measured as such, is over 0, or under it for a negative sign."""
    change = found.figures.mean(arm, measure)
    said = f"{measure} of {arm}: {written(change)}{unit_of(LOSS)}"
    if change is None or math.isinf(change.high):
        return _without_interval(change, said)
    return _by_sign(change, sign, said)


def no_worse(found: Found, measure: str, first: Place, second: Place, margin: float) -> Verdict:
    """Whether `second` is worse than `first` by less than the margin, at the far end of the interval."""
    difference = found.figures.difference(measure, first, second)
    said = _said(measure, first, second, difference)
    if difference is None or math.isinf(difference.high):
        return _without_interval(difference, said)
    worst = min(sign_of(measure) * end for end in (difference.low, difference.high))
    limit = f"{margin:g}{unit_of(measure)}"
    if worst > -margin:
        return Verdict(SEEN, f"{said}, less than {limit} worse")
    return Verdict(NOT_SEEN, f"{said}: {limit} worse is not ruled out")


def able(found: Found, measure: str, place: Place, least: float) -> Verdict:
    """Whether an arm can do the task at all: CANNOT below `least` points."""
    mean = found.figures.mean(place[0], measure, place[1])
    if mean is None:
        return Verdict(NOT_MEASURED, f"no {measure} of {place[0]}")
    said = f"{place[0]} has {mean.value:.1f} points of {measure} at {place[1]:,} tokens"
    return Verdict(SEEN, said) if mean.value >= least else Verdict(CANNOT, f"{said}, {least:g} are needed to tell")


def every(verdicts: Sequence[Verdict]) -> Verdict:
    """Seen where all are; else what keeps it from being seen."""
    word = min((each.word for each in verdicts), key=ORDER.index)
    shown = verdicts if word == SEEN else [each for each in verdicts if each.word == word]
    more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    return Verdict(word, "; ".join([*(each.reason for each in shown[:SHOWN]), *more]))


def where_able(ability: Verdict, verdict: Verdict) -> Verdict:
    """The verdict, unless nothing can be told because no arm can do the task."""
    return verdict if ability.word == SEEN else ability


def _by_sign(difference: Interval, sign: int, said: str) -> Verdict:
    """SEEN where all of the interval is on that side of 0."""
    low, high = sorted(sign * end for end in (difference.low, difference.high))
    if low > 0:
        return Verdict(SEEN, said)
    return Verdict(NOT_SEEN, f"{said}: {'the other way round' if high < 0 else 'the interval holds 0'}")


def sign_of(measure: str) -> int:
    """Of a change for the better."""
    return -1 if measure.startswith(LOSS) else 1


def unit_of(measure: str) -> str:
    """To be put behind a figure."""
    return " nats" if measure.startswith(LOSS) else " points" if measure in POINTS else ""


def digits_of(measure: str) -> int:
    """Behind the decimal point."""
    return 1 if measure in POINTS else 3


def _without_interval(difference: Interval | None, said: str) -> Verdict:
    return Verdict(NOT_MEASURED, said) if difference is None else Verdict(CANNOT, f"{said}; {ONE_SEED}")


def _said(measure: str, first: Place, second: Place, difference: Interval | None) -> str:
    """The difference in words."""
    (one, at), (other, there) = first, second
    pair = f"{other} - {one}" if at == there else f"{other} at {there:,} - at {at:,}" if one == other else ""
    pair = pair or f"{other} at {there:,} - {one} at {at:,}"
    where = f" at {at:,}" if at == there and at else ""
    if difference is None:
        return f"{measure} of {pair}{where} was not measured"
    return f"{measure} of {pair}{where}: {written(difference, digits_of(measure))}{unit_of(measure)}"
