"""Votes -> wins, ties and losses with their intervals, and how far the voters agree.

An example counts as the mean of its votes, so that one with three votes weighs no more than one with two; intervals are
over examples (paper, Sec. 3.3: three annotators each, averaged). Agreement is that of pairs of votes on one example,
and Fleiss' kappa (1971), which sets it against chance, here for any number of votes an example.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluation.intervals import Interval, mean_interval
from evaluation.results import Headline, Score
from evaluation.sidebyside.examples import Example
from evaluation.sidebyside.page import A, B
from evaluation.sidebyside.votes import TIE

OUTCOMES = ("wins", "ties", "losses")  # of A, the model named first
PREFERENCE = "preference"  # wins less losses

Outcome = Mapping[str, float]  # points by OUTCOMES and PREFERENCE, of one example


def outcome(choices: Sequence[str]) -> Outcome:
    """What the votes on one example come to."""
    wins, ties, losses = (100 * choices.count(choice) / len(choices) for choice in (A, TIE, B))
    return {"wins": wins, "ties": ties, "losses": losses, PREFERENCE: wins - losses}


def interval(outcomes: Sequence[Outcome], metric: str, seed: int) -> Interval:
    """The mean over examples."""
    least = -100.0 if metric == PREFERENCE else 0.0
    return mean_interval([each[metric] for each in outcomes], bounds=(least, 100.0), seed=seed)


@dataclass(frozen=True)
class Opinion:
    """What one kind of voter found, people or a judge; examples without a vote are not in it."""

    voter: str
    examples: Sequence[Example]
    outcomes: Sequence[Outcome]  # of each
    seed: int

    def intervals(self) -> dict[str, Interval]:
        """Over all."""
        return {metric: interval(self.outcomes, metric, self.seed) for metric in OUTCOMES}

    def scores(self) -> Iterator[Score]:
        """Over all, by length and by task of the questions."""
        yield from self._scores(self.voter, None, self.examples)
        for length in sorted({each.length for each in self.examples if each.length is not None}):
            yield from self._scores(self.voter, length, [each for each in self.examples if each.length == length])
        for task in dict.fromkeys(each.task for each in self.examples):
            of_task = [each for each in self.examples if each.task == task]
            yield from self._scores(f"{self.voter}: {task}", None, of_task)

    def _scores(self, name: str, length: int | None, examples: Sequence[Example]) -> Iterator[Score]:
        chosen = {each.id for each in examples}
        some = [found for each, found in zip(self.examples, self.outcomes, strict=True) if each.id in chosen]
        for metric in (*OUTCOMES, PREFERENCE):
            yield Score(name, metric, length, None, len(some), *interval(some, metric, self.seed))

    def headline(self) -> Headline:
        """Above 0 where A is preferred."""
        found = interval(self.outcomes, PREFERENCE, self.seed)
        return Headline(self.voter, PREFERENCE, "long", True, "points", len(self.outcomes), *found, paired=False)


def opinion(voter: str, examples: Sequence[Example], choices: Mapping[str, Sequence[str]], seed: int) -> Opinion:
    """Of the votes by example; where both answers are the same it is a tie."""
    voted = [(each, (TIE,) if each.same else choices.get(each.id, ())) for each in examples]
    counted = [(each, outcome(given)) for each, given in voted if given]
    return Opinion(voter, [each for each, _ in counted], [found for _, found in counted], seed)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over the examples with two votes or more; None where there are none, or where all votes are one choice."""

    examples: int
    raw: float | None  # points
    kappa: float | None

    def in_words(self) -> str:
        """For the notes."""
        if self.raw is None:
            return "no example has two votes: how far the annotators agree is not known"
        kappa = f"Fleiss' kappa {self.kappa:.2f}" if self.kappa is not None else "no kappa: all votes are alike"
        return f"two annotators of one example agree in {self.raw:.1f} % ({kappa}, {self.examples:,} examples)"


def agreement(choices: Sequence[Sequence[str]]) -> Agreement:
    """Of the votes on each example."""
    counts = [Counter(each) for each in choices if len(each) > 1]
    if not counts:
        return Agreement(0, None, None)
    observed = sum(map(_alike, counts)) / len(counts)
    total = sum(counts, Counter[str]())
    chance = sum((number / total.total()) ** 2 for number in total.values())
    return Agreement(len(counts), 100 * observed, (observed - chance) / (1 - chance) if chance < 1 else None)


def _alike(counts: Counter[str]) -> float:
    """The share of the pairs of votes that are."""
    votes = counts.total()
    return sum(number * (number - 1) for number in counts.values()) / (votes * (votes - 1))
