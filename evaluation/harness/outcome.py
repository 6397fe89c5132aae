"""What came of a task: the score of each question, and the figure that its publishers put together from them.

Most figures are the mean of their scores, and get its interval. Where a figure is none (the ROUGE of SCROLLS, whose
three means are multiplied), the interval of the mean is set around it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isclose
from numbers import Integral
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
    question_sha256: str  # of its row, so that models are compared whose prompts differ in template or cut
    prompt: str
    output: str
    references: tuple[str, ...]
    score: float


@dataclass(frozen=True)
class Outcome:
    """A finished task."""

    task: str
    metric: str
    value: float  # points
    answered: tuple[Answered, ...]
    cut: int  # prompts that were longer than they may be

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
                prompt_sha256=each.question_sha256,
            )


def outcome_of(entry: Entry, tasks: Sequence[Any], found: Mapping[str, Any], cut: int = 0) -> Outcome:
    """From what the harness returns for the tasks of an entry; so many of their prompts were `cut`."""
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
    return Outcome(entry.task, entry.metric_name, sums / len(answered), tuple(answered), cut)


def _answered(entry: Entry, task: Any, samples: Sequence[Mapping[str, Any]]) -> Iterator[Answered]:
    metric, _, chosen = entry.metric.partition(",")
    within = f"{entry.task}/{task.config.task}" if entry.parts else entry.task
    for sample in samples:
        if sample["filter"] == chosen and metric in sample:
            yield Answered(
                id=f"{within}/{sample['doc_id']}",
                question_sha256=str(sample["doc_hash"]),
                prompt=_prompt(sample),
                output=_output(sample),
                references=_references(task, sample),
                score=entry.scale * _points(task, metric, sample[metric]),
            )


def _prompt(sample: Mapping[str, Any]) -> str:
    """As it was sent; a chat for a server, which has its own template, is JSON in a tuple."""
    prompt = sample["arguments"][0][0]
    return str(prompt[0] if isinstance(prompt, tuple) else prompt)


def _points(task: Any, metric: str, value: Any) -> float:
    """A score; what is scored together at the end is scored for one question alone."""
    return float(task.aggregation()[metric]([value]) if isinstance(value, tuple | list | dict) else value)


def _choices(sample: Mapping[str, Any]) -> list[str]:
    """The given answers whose likelihoods were asked for: none where the model wrote its own.

    They follow their prompt; where they are all the same, as in WinoGrande, the prompts are what is chosen from.
    """
    if not isinstance(sample["arguments"][0][1], str):
        return []
    behind = [str(answer).strip() for _, answer in sample["arguments"]]
    return behind if len(set(behind)) > 1 else [str(prompt).strip() for prompt, _ in sample["arguments"]]


def _output(sample: Mapping[str, Any]) -> str:
    """What was said, or of the given answers the likeliest."""
    choices = _choices(sample)
    if not choices:
        return str(sample["resps"][0][0])
    likelihoods = [answers[0][0] for answers in sample["resps"]]
    return choices[likelihoods.index(max(likelihoods))]


def _references(task: Any, sample: Mapping[str, Any]) -> tuple[str, ...]:
    """What would have been right."""
    choices = _choices(sample)
    target = task.doc_to_text(sample["doc"]) if getattr(task, "multiple_input", 0) else sample["target"]
    if choices and isinstance(target, Integral) and 0 <= int(target) < len(choices):
        return (choices[int(target)],)
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
    return Outcome(**{**outcome, "answered": tuple(answered)})
