"""What came of a task: the score of each question, and the figure that its publishers put together from them.

Most figures are the mean of their scores, and get its interval. Where a figure is none (the ROUGE of SCROLLS, whose
three means are multiplied), the interval of the mean is set around it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isclose
from typing import Any

import orjson

from evaluation.harness.suites import Entry
from evaluation.intervals import Interval, mean_interval
from evaluation.results import Score
from evaluation.sample import Prediction
from longreach.errors import UserError


@dataclass(frozen=True)
class Answered:
    """One question, what was said, and its score in points."""

    id: str
    prompt: str
    output: str
    references: tuple[str, ...]
    score: float

    @property
    def prompt_sha256(self) -> str:
        """As that of samples."""
        return hashlib.sha256(orjson.dumps(self.prompt)).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """A finished task."""

    task: str
    metric: str
    value: float  # points
    answered: tuple[Answered, ...]

    @property
    def is_mean(self) -> bool:
        """Whether the value is the mean of the scores."""
        mean = sum(each.score for each in self.answered) / len(self.answered)
        return isclose(mean, self.value, rel_tol=1e-6, abs_tol=1e-6)

    @cached_property
    def interval(self) -> Interval:
        """95 % around the value."""
        scores = [each.score for each in self.answered]
        bounds = (0.0, 100.0) if all(0 <= score <= 100 for score in scores) else None
        found = mean_interval(scores, bounds=bounds)
        moved = self.value - found.value
        return Interval(self.value, found.low + moved, found.high + moved)

    @property
    def score(self) -> Score:
        """For results.json."""
        low, high = self.interval.low, self.interval.high
        return Score(self.task, self.metric, None, None, len(self.answered), self.value, low, high)

    def predictions(self) -> Iterator[Prediction]:
        """For predictions.jsonl."""
        for each in self.answered:
            yield Prediction(
                id=each.id,
                task=self.task,
                output=each.output,
                scores={self.metric: each.score},
                references=each.references,
                prompt_sha256=each.prompt_sha256,
            )


def outcome_of(entry: Entry, tasks: Sequence[Any], found: Mapping[str, Any]) -> Outcome:
    """From what the harness returns for the tasks of an entry."""
    answered: list[Answered] = []
    sums = 0.0
    for task in tasks:
        name = task.config.task
        some = list(_answered(entry, task, found["samples"][name]))
        if entry.metric not in found["results"][name]:
            known = [key for key in found["results"][name] if "," in key and "_stderr" not in key]
            raise UserError(f"{name} has no metric {entry.metric}", f"of its suite; it has {', '.join(known)}")
        sums += entry.scale * float(found["results"][name][entry.metric]) * len(some)
        answered += some
    return Outcome(entry.task, entry.metric_name, sums / len(answered), tuple(answered))


def _answered(entry: Entry, task: Any, samples: Sequence[Mapping[str, Any]]) -> Iterator[Answered]:
    metric, _, chosen = entry.metric.partition(",")
    within = f"{entry.task}/{task.config.task}" if entry.parts else entry.task
    for sample in samples:
        if sample["filter"] == chosen and metric in sample:
            yield Answered(
                id=f"{within}/{sample['doc_id']}",
                prompt=str(sample["arguments"][0][0]),
                output=_output(sample),
                references=_references(sample),
                score=entry.scale * _points(task, metric, sample[metric]),
            )


def _points(task: Any, metric: str, value: Any) -> float:
    """A score; what is scored together at the end is scored for one question alone."""
    return float(task.aggregation()[metric]([value]) if isinstance(value, tuple | list | dict) else value)


def _tells(sample: Mapping[str, Any]) -> bool:
    """Whether likelihoods were asked for: then there is an answer given with each prompt."""
    return isinstance(sample["arguments"][0][1], str)


def _output(sample: Mapping[str, Any]) -> str:
    """What was said, or of the given answers the likeliest."""
    if not _tells(sample):
        return str(sample["resps"][0][0])
    likelihoods = [answers[0][0] for answers in sample["resps"]]
    return str(sample["arguments"][likelihoods.index(max(likelihoods))][1]).strip()


def _references(sample: Mapping[str, Any]) -> tuple[str, ...]:
    target = sample["target"]
    if isinstance(target, int) and _tells(sample):
        return (str(sample["arguments"][target][1]).strip(),)
    return tuple(map(str, target)) if isinstance(target, list | tuple) else (str(target),)


# On disk, for a run that goes on


def as_bytes(outcome: Outcome, key: str) -> bytes:
    """A file of tasks/."""
    return orjson.dumps({"key": key, "outcome": outcome})


def from_bytes(content: bytes, key: str) -> Outcome | None:
    """None where it was made of other data or settings."""
    found = orjson.loads(content)
    if found["key"] != key:
        return None
    outcome = found["outcome"]
    answered = [Answered(**{**each, "references": tuple(each["references"])}) for each in outcome["answered"]]
    return Outcome(outcome["task"], outcome["metric"], outcome["value"], tuple(answered))
