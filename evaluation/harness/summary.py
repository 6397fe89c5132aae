"""The figures of groups, as the paper averages them, and what has to be said beside them."""

from collections.abc import Iterator, Sequence
from math import hypot

from evaluation.config import HarnessSettings
from evaluation.harness.model import tokenizer_name
from evaluation.harness.outcome import Outcome
from evaluation.harness.plan import Job
from evaluation.harness.suites import Suite
from evaluation.results import Headline


def headlines(jobs: Sequence[Job], outcomes: Sequence[Outcome], suites: Sequence[Suite]) -> list[Headline]:
    """One of each group: its task's own figure, or the mean of its tasks'."""
    groups: dict[tuple[str, str], list[tuple[Job, Outcome]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        groups.setdefault((job.suite.name, job.entry.group), []).append((job, outcome))
    sizes = {
        (suite.name, entry.group): sum(other.group == entry.group and not other.judge for other in suite.tasks)
        for suite in suites
        for entry in suite.tasks
    }
    return [_headline(*key, found, sizes[key]) for key, found in groups.items()]


def _headline(suite: str, group: str, found: Sequence[tuple[Job, Outcome]], tasks: int) -> Headline:
    entry, side = found[0][0].entry, found[0][0].suite.side
    n = sum(len(outcome.answered) for _, outcome in found)
    if tasks == 1:
        outcome = found[0][1]
        better, paired = entry.higher_is_better, outcome.is_mean
        return Headline(entry.task, outcome.metric, side, better, "points", n, *outcome.interval, paired=paired)
    intervals = [outcome.interval for _, outcome in found]
    value = sum(each.value for each in intervals) / len(found)
    below = hypot(*(each.value - each.low for each in intervals)) / len(found)  # the tasks are independent
    above = hypot(*(each.high - each.value for each in intervals)) / len(found)
    name = group if group == suite else f"{suite}, {group}"
    if len(found) < tasks:
        name += f" ({len(found)} of {tasks} tasks)"
    better = entry.higher_is_better
    return Headline(name, "mean", side, better, "points", n, value, value - below, value + above, paired=False)


def notes_of(settings: HarnessSettings, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """In words."""
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.cut and job.suite.cut == "none":
            n, asked = outcome.cut, len(outcome.answered)
            yield f"{job.entry.task}: {n:,} of {asked:,} prompts lost their beginning, to fit the model's window"
        if job.absent:
            total = len(job.absent) + len(job.parts)
            yield f"{job.entry.task}: {len(job.absent)} of {total} parts have no data: {', '.join(job.absent)}"
    if settings.samples:
        yield f"of each task's data (of each part's, where it has parts) the first {settings.samples:,} at most"
    shorter = [job for job in jobs if 0 < job.prompt_tokens < job.suite.prompt_tokens]
    if shorter:
        longest = max(job.prompt_tokens for job in shorter)
        names = ", ".join(dict.fromkeys(job.suite.name for job in shorter))
        yield f"prompts of {names} are cut to {longest:,} tokens, below the published bound"
    if settings.base_url and not tokenizer_name(settings):
        yield "lengths are counted by the tokenizer that ships with longreach: name the server's with --tokenizer"
