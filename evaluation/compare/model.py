"""A model as its results show it: one result folder, or several in a folder of their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.results import PREDICTIONS, RESULTS, Headline, Results, read_results
from evaluation.sample import read_predictions
from longreach.errors import UserError

Key = tuple[str, str, str]  # measure, task, metric


@dataclass(frozen=True)
class Answer:
    """The points of one sample, and the hash of what was asked."""

    points: float
    prompt_sha256: str


@dataclass(frozen=True)
class Model:
    """`parts` are the results with their folders."""

    name: str
    parts: Sequence[tuple[Path, Results]]

    def headlines(self) -> dict[Key, tuple[Path, Headline]]:
        """The figures that can be compared, with the folder of each."""
        return {
            (results.measure, headline.task, headline.metric): (folder, headline)
            for folder, results in self.parts
            for headline in results.headline
        }


def read_models(paths: Sequence[Path], names: Sequence[str]) -> list[Model]:
    """Each path as a model; those without a name have their own, made distinct."""
    if len(paths) < 2:
        raise UserError("there is nothing to compare with", "give two or more result folders")
    if names and len(names) != len(paths):
        raise UserError(f"{len(names)} names for {len(paths)} results", "--names has one for each, in their order")
    found = [list(_parts(path)) for path in paths]
    own = [parts[0][1].model for parts in found]
    given = names or [
        name if own.count(name) == 1 else f"{name} ({path})" for name, path in zip(own, paths, strict=True)
    ]
    if len(set(given)) < len(given):
        raise UserError(f"two results have one name: {', '.join(given)}", "give different ones with --names")
    return [Model(name, parts) for name, parts in zip(given, found, strict=True)]


def _parts(path: Path) -> Iterator[tuple[Path, Results]]:
    folders = [path] if (path / RESULTS).exists() else sorted(each.parent for each in path.glob(f"*/{RESULTS}"))
    if not folders:
        raise UserError(f"{path} holds no results", "give the --out of a finished evaluate command, or of a panel")
    for folder in folders:
        yield folder, read_results(folder)


def answers(folder: Path, task: str, metric: str) -> Mapping[str, Answer]:
    """The samples of a task that have points in a metric, by their id."""
    return {
        each.id: Answer(each.scores[metric], each.prompt_sha256)
        for each in read_predictions(folder / PREDICTIONS)
        if each.task == task and metric in each.scores
    }
