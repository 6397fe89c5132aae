"""The experiments of the paper (arXiv:2309.16039), small: which models are made and measured for each part of it.

    text -> rows (a, b, c, d) -> base -> RoPE arms (Sec. 4.1), data arms (Sec. 4.2) -> chat models (Sec. 4.3)
                                   -> sizes (Sec. 3.1), each from a base of its own
         -> rows               -> curricula (Sec. 4.4), from nothing
    every model -> its loss by context and its first-sentence retrieval, to twice the longest rows (App. C)

Arms that are the same model are one job: the paper's data mix (d) is what its RoPE arms were trained on, so ABF is (d)
(its Tables 6 and 8 agree to the last digit but for rounding), and the medium size of Fig. 1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from recipes.paper_small.commands import (
    MIXES,
    ROPES,
    Setting,
    all_rows,
    asked,
    base,
    continued,
    from_scratch,
    loss,
    records,
    retrieval,
    text,
    tuned,
)
from recipes.paper_small.jobs import Job, needed
from recipes.paper_small.scales import MEDIUM

SWITCHES = (0, 20, 40, 80)  # per cent of the tokens in short rows (Sec. 4.4)
SETTINGS = ("short", "short-pretrain", "self-instruct-answers", "self-instruct")  # files of recipes/table9
SAME = {"mix/d": "rope/ABF", f"size/{MEDIUM}": "rope/ABF"}
TASKS, BOTH_TASKS = "first-sentence", "first-sentence,passkey"  # of retrieval


def sizes(run: Setting, seed: int) -> Iterator[Job]:
    """Fig. 1: the loss against the context, for long models of several sizes."""
    for size in run.scale.models:
        short, arm = base(run, seed, size), SAME.get(f"size/{size}", f"size/{size}")
        model = continued(run, short, seed, arm, "ABF", "d", size)
        yield from (short, model, loss(run, model, size))


def ropes(run: Setting, seed: int) -> Iterator[Job]:
    """Tables 5 and 6, Fig. 5: the base continued with four encodings of positions, and the base itself."""
    short = base(run, seed)
    yield from (short, loss(run, short), retrieval(run, short, TASKS))
    for rope in ROPES:
        model = continued(run, short, seed, f"rope/{rope}", rope, "d")
        yield from (model, loss(run, model), retrieval(run, model, BOTH_TASKS))


def mixes(run: Setting, seed: int) -> Iterator[Job]:
    """Tables 7 and 8, Fig. 7: the base continued on four mixes of data."""
    yield (short := base(run, seed))
    for mix in MIXES:
        model = continued(run, short, seed, SAME.get(f"mix/{mix}", f"mix/{mix}"), "ABF", mix)
        tasks = BOTH_TASKS if mix == "d" else TASKS  # (d) is an arm of Sec. 4.1
        yield from (model, loss(run, model), retrieval(run, model, tasks))


def instruction(run: Setting, seed: int) -> Iterator[Job]:
    """Table 9: the long base as it is, and tuned on four kinds of data, asked about held-out documents."""
    short = base(run, seed)
    yield from (short, long_base := continued(run, short, seed, SAME["mix/d"], "ABF", "d"))
    yield from (records(run, "records", "documents"), records(run, "questions", "held-out"))
    yield asked(run, long_base)
    for setting in SETTINGS:
        model = tuned(run, seed, setting, long_base)
        yield from (model, asked(run, model))


def curricula(run: Setting, seed: int) -> Iterator[Job]:
    """Tables 10 and 11, Fig. 6: from nothing at equal tokens, a part of them in short rows."""
    for switch in SWITCHES:
        model = from_scratch(run, seed, f"curriculum/{switch}", switch)
        yield from (model, loss(run, model), retrieval(run, model, TASKS))


@dataclass(frozen=True)
class Experiment:
    """A part of the paper, and the jobs of one seed; without jobs, it is computed, or read off other jobs."""

    name: str
    title: str
    where: str
    jobs: Callable[[Setting, int], Iterator[Job]] | None


EXPERIMENTS: Mapping[str, Experiment] = {
    each.name: each
    for each in (
        Experiment("size", "Loss against context, by size of the model", "Sec. 3.1, Fig. 1", sizes),
        Experiment("decay", "What a RoPE does with distance, computed", "Sec. 4.1, Fig. 4, App. B", None),
        Experiment("rope", "Encodings of positions", "Sec. 4.1, Tables 5 and 6, Fig. 5", ropes),
        Experiment("mix", "Data mixes", "Sec. 4.2, Tables 7 and 8, Fig. 7", mixes),
        Experiment("instruct", "Instruction data", "Sec. 4.3, Table 9", instruction),
        Experiment("curriculum", "Training curricula", "Sec. 4.4, Tables 10 and 11, Fig. 6", curricula),
        Experiment("extrapolation", "Past the trained length", "App. C, Figs. 8 and 9", ropes),
    )
}


def jobs_of(run: Setting, seeds: int, only: Sequence[str]) -> list[Job]:
    """All jobs of these experiments, each once, and the text and rows that they need."""
    found = {job.name: job for job in (text(run), *all_rows(run))}
    wanted = set()
    for name in only:
        make = EXPERIMENTS[name].jobs
        for job in (job for seed in range(seeds) for job in (make(run, seed) if make else ())):
            found[job.name] = job
            wanted.add(job.name)
    return needed(list(found.values()), wanted)
