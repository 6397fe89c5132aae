"""What losses by length say: how far more context helps, from where it does not, and past what length it harms.

Every length is held against the last one at which the loss had fallen, window by window: the paired interval decides.
All of it above 0 is a rise, all of it below is a fall, anything else is flat. A rise that is not made good at a longer
length ends what the model can use; one of more than EXPLODES nats undoes more than any context brings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Interval, difference_interval, mean_interval
from evaluation.powerlaw import NoFit, PowerLaw, fit

EXPLODES = 0.1  # nats; from 4,096 to 32,768 tokens the paper's models gain 0.04 to 0.06


@dataclass(frozen=True, slots=True)
class Change:
    """The mean of the loss at a longer length minus that at a shorter one, of the same tokens."""

    shorter: int
    longer: int
    difference: Interval

    @property
    def falls(self) -> bool:
        """The loss is lower at the longer length."""
        return self.difference.high < 0

    @property
    def rises(self) -> bool:
        """The loss is higher at the longer length."""
        return self.difference.low > 0

    def __str__(self) -> str:
        value, low, high = self.difference
        return f"{value:+.4f} ({low:+.4f} to {high:+.4f}) at {self.longer:,} against {self.shorter:,}"


@dataclass(frozen=True)
class Verdict:
    """The losses at each length, what they change by, and how far they fall and hold."""

    lengths: tuple[int, ...]
    losses: tuple[Interval, ...]
    changes: tuple[Change, ...]  # one for each length but the first
    falls_to: int  # the last length at which the loss fell; the first of all where it never does
    holds_to: int  # the last length before it rises
    law: PowerLaw | NoFit  # of the lengths up to there
    window: int  # of the model's config
    windows: int  # of text

    @property
    def explodes(self) -> bool:
        """Whether the loss past `holds_to` is beyond all that context brings."""
        return any(change.difference.low > EXPLODES for change in self._after())

    def _after(self) -> list[Change]:
        return [change for change in self.changes if change.longer > self.holds_to]

    def sentences(self) -> Iterator[str]:
        """In words."""
        yield self._fall()
        if self.falls_to < self.holds_to:
            last = next(change for change in self.changes if change.longer == self.holds_to)
            yield f"The loss is flat from {self.falls_to:,} tokens on: {last}."
        if after := self._after():
            how = "explodes" if self.explodes else "rises"
            worst = max(after, key=lambda change: change.difference.value)
            yield f"The loss {how} past {self.holds_to:,} tokens: {worst}."
        yield self._about_window()

    def _fall(self) -> str:
        first, value = self.lengths[0], dict(zip(self.lengths, self.losses, strict=True))
        if self.falls_to == first:
            return f"The loss does not fall with more context than {first:,} tokens."
        last = next(change for change in self.changes if change.longer == self.falls_to)
        return (
            f"The loss falls up to {self.falls_to:,} tokens, from {value[first].value:.4f} at {first:,} "
            f"to {value[self.falls_to].value:.4f}; last by {last}."
        )

    def _about_window(self) -> str:
        inside = max((length for length in self.lengths if length <= self.window), default=0)
        window, longest = f"the window of its config, {self.window:,} tokens", self.lengths[-1]
        if not self._after():
            held = f"It holds past {window}" if longest > self.window else f"All of it is within {window}"
            return f"{held}: the longest length measured is {longest:,}."
        if self.holds_to == inside:
            return f"That is where {window}, ends."
        return f"That is short of {window}." if self.holds_to < inside else f"That is past {window}."


def judge(lengths: Sequence[int], losses: NDArray[np.float64], window: int, seed: int = 0) -> Verdict:
    """What the losses [windows, lengths] of a model say whose config has this window."""
    changes = tuple(_changes(lengths, losses, seed))
    falls_to = max((change.longer for change in changes if change.falls), default=lengths[0])
    rises = [change.longer for change in changes if change.rises and change.longer > falls_to]
    holds_to = max(length for length in lengths if not rises or length < rises[0])
    means = [mean_interval(column.tolist(), seed=seed) for column in losses.T]
    held = [(length, mean.value) for length, mean in zip(lengths, means, strict=True) if length <= holds_to]
    law = fit([length for length, _ in held], [value for _, value in held])
    return Verdict(tuple(lengths), tuple(means), changes, falls_to, holds_to, law, window, len(losses))


def _changes(lengths: Sequence[int], losses: NDArray[np.float64], seed: int) -> Iterator[Change]:
    """Every length against the last at which the loss fell."""
    reached = 0
    for place in range(1, len(lengths)):
        pairs = list(zip(losses[:, reached].tolist(), losses[:, place].tolist(), strict=True))
        change = Change(lengths[reached], lengths[place], difference_interval(pairs, seed))
        yield change
        if change.falls:
            reached = place
