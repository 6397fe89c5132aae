"""OUT -> figures: what the commands left of each arm and seed; what is missing counts as not measured."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from evaluation.results import read_results
from evaluation.sample import read_predictions
from longreach.model.flops import shape_of, stage_flops
from recipes.paper_small.commands import MIXES, ROPES, Setting
from recipes.paper_small.computed import computed
from recipes.paper_small.decisions import AFTER, BEFORE
from recipes.paper_small.experiments import SAME, SETTINGS, SWITCHES
from recipes.paper_small.figures import Figure, Figures

ARMS = (
    "base",
    *(f"rope/{rope}" for rope in ROPES),
    *(f"mix/{mix}" for mix in MIXES),
    *(f"curriculum/{switch}" for switch in SWITCHES),
    "size/small",
    "size/large",
    *(f"instruct/{setting}" for setting in SETTINGS),
)


def gather(run: Setting, seeds: int) -> Figures:
    """Everything; an arm that is another one's model has its figures too."""
    found = [*computed(), *flops(run)]
    for seed in range(seeds):
        for arm in ARMS:
            folder = run.out / f"seed-{seed}" / arm
            for measured in (losses, retrieved, answered, switched):
                found += (Figure(arm, measure, at, seed, value) for measure, at, value in measured(run, folder))
    twins = [each._replace(arm=arm) for arm, same in SAME.items() for each in found if each.arm == same]
    return Figures([*found, *twins])


Measured = Iterator[tuple[str, int, float]]  # the measure, the length, the value


def losses(run: Setting, folder: Path) -> Measured:
    """By context, by position, by source; and the power law."""
    if not (results := _finished(folder, "loss")):
        return
    found = read_results(results)
    by_length = {score.length or 0: score.value for score in found.scores if score.metric == "loss"}
    yield from (("loss", length, value) for length, value in by_length.items())
    yield from (("power law", score.length or 0, score.value) for score in found.scores if score.metric == "power law")
    yield "gain", 0, by_length[run.scale.short] - by_length[run.scale.long]
    yield from ((name, 0, float(found.fit[name])) for name in ("alpha", "beta", "gamma") if found.fit)
    bins = found.further["by_position"]
    yield from (("loss by position", each["last"], each["value"]) for each in bins)
    long = run.scale.long
    for first, last in ((long // 2, long), (long, 2 * long)):
        values = [each["value"] for each in bins if first <= each["first"] < last]
        yield "loss of positions", last, math.fsum(values) / len(values)
    yield from _by_source(results / "predictions.jsonl", long)


def _by_source(path: Path, long: int) -> Measured:
    """The loss at the longest trained length, of the windows that begin in each source."""
    values: defaultdict[str, list[float]] = defaultdict(list)
    for each in read_predictions(path):
        if each.length == long:
            file = str(each.facts["document"]).rpartition(".jsonl#")[0]  # a document is called by its file and line
            values[Path(file).name].append(each.scores["loss"])
    yield from ((f"loss of {name}", long, math.fsum(found) / len(found)) for name, found in values.items())


def retrieved(run: Setting, folder: Path) -> Measured:
    """Points of each task by length, all depths together."""
    if not (results := _finished(folder, "retrieval")):
        return
    names = {("first-sentence", "rouge_l"): "retrieval", ("passkey", "score"): "passkey"}
    for score in read_results(results).scores:
        if score.depth is None and (name := names.get((score.task, score.metric))):
            yield name, score.length or 0, score.value


def answered(run: Setting, folder: Path) -> Measured:
    """The headline of each kind of question."""
    if results := _finished(folder, "qa"):
        yield from ((each.task, 0, each.value) for each in read_results(results).headline)


def _finished(folder: Path, measure: str) -> Path | None:
    results = folder.with_name(f"{folder.name}.{measure}")
    return results if (results / "results.json").exists() else None


# The curricula


def flops(run: Setting) -> Iterator[Figure]:
    """Of each curriculum, from its configuration alone."""
    scale = run.scale
    shape = shape_of(scale.models["medium"].config(scale))
    for switch in SWITCHES:
        tokens = scale.scratch.tokens
        stages = ((scale.short, tokens * switch // 100), (scale.long, tokens - tokens * switch // 100))
        yield Figure(f"curriculum/{switch}", "FLOPs", 0, 0, float(stage_flops(shape, stages).total))


def training_losses(folder: Path) -> list[dict[str, Any]]:
    """The lines of the steps of a finished training."""
    if not (folder / "longreach.json").exists():
        return []
    lines: Sequence[Mapping[str, Any]] = [orjson.loads(line) for line in (folder / "metrics.jsonl").open("rb")]
    return [dict(line) for line in lines if "loss" in line]


def switched(run: Setting, folder: Path) -> Measured:
    """How far the training loss jumps where rows become long, and where it ends, against what it was before."""
    if folder.parent.name != "curriculum" or not (lines := training_losses(folder)):
        return
    stages = [[line["loss"] for line in lines if line["stage"] == stage] for stage in (1, 2)]
    if all(len(each) >= 2 for each in stages):
        before, after, last = (_mean(each) for each in (stages[0][-BEFORE:], stages[1][:AFTER], stages[1][-BEFORE:]))
        yield "jump", 0, after - before
        yield "loss after the switch", 0, last - before


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
