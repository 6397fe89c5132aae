"""results.json: what a measure found, in one form for all measures. A contract on disk (docs/evaluate.md).

`scores` are the figures by length and depth; `headline` holds the one figure of each task that is compared between
models. Points are from 0 to 100.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson

from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.run import versions

RESULTS, PREDICTIONS = "results.json", "predictions.jsonl"
FORMAT = 1
PACKAGES = ("longreach", "torch", "transformers", "vllm", "lm-eval", "rouge-score", "scipy", "numpy")

Side = Literal["long", "short"]


@dataclass(frozen=True, slots=True)
class Score:
    """A mean with its 95 % interval, over `n` samples of that length and depth (None: of all)."""

    task: str
    metric: str
    length: int | None
    depth: float | None
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Headline:
    """The one figure of a task. `paired`: it is the mean of that metric over the task's lines of predictions.jsonl."""

    task: str
    metric: str
    side: Side
    higher_is_better: bool
    unit: str  # "points", "nats", "tokens"
    n: int
    value: float
    low: float
    high: float
    paired: bool = True


@dataclass(frozen=True)
class Results:
    """What one measure found on one model."""

    measure: str
    model: str
    settings: Mapping[str, Any]
    scores: Sequence[Score]
    headline: Sequence[Headline]
    notes: Sequence[str] = ()  # in words: what was found, what was left out and why
    fit: Mapping[str, Any] | None = None
    further: Mapping[str, Any] = field(default_factory=dict)  # of this measure alone
    command: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The JSON object of results.json."""
        return {
            "format": FORMAT,
            "measure": self.measure,
            "model": self.model,
            "command": shlex.join(self.command),
            "settings": dict(self.settings),
            "headline": [asdict(each) for each in self.headline],
            "scores": [asdict(each) for each in self.scores],
            "fit": dict(self.fit) if self.fit else None,
            "notes": list(self.notes),
            "further": dict(self.further),
            "versions": dict(self.versions),
        }

    def write(self, folder: Path) -> None:
        """Write results.json, with the command of this process and the versions it ran with."""
        made = replace(self, command=["evaluate", *sys.argv[1:]], versions=versions(*PACKAGES))
        write_json(folder / RESULTS, made.as_json())


def read_results(folder: Path) -> Results:
    """What a result folder holds; UserError where it is none."""
    path = folder / RESULTS
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no {RESULTS}", "give the --out of a finished evaluate command") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}", "was this file edited or cut off?") from error
    try:
        results = Results(
            measure=found["measure"],
            model=found["model"],
            settings=found["settings"],
            scores=[Score(**each) for each in found["scores"]],
            headline=[Headline(**each) for each in found["headline"]],
            notes=found["notes"],
            fit=found["fit"],
            further=found["further"],
            command=shlex.split(found["command"]),
            versions=found["versions"],
        )
        figures: list[Score | Headline] = [*results.scores, *results.headline]
        if wrong := [each for each in figures if not _has_figures(each)]:
            raise ValueError(f"no figures in {wrong[0]}")
        return results
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not what evaluate writes: {error}", "was this file edited?") from error


def _has_figures(each: Score | Headline) -> bool:
    """Whether what should be numbers are."""
    return all(isinstance(figure, int | float) for figure in (each.n, each.value, each.low, each.high))
