"""Every experiment of the paper (arXiv:2309.16039), small: one command, and a report of what of it is seen.

    python -m recipes.paper_small --scale laptop --out runs/paper-small

Run from the root of the repository. What is run is in experiments.py, how large in scales.py, what the paper says in
published.py and claims.py. Killed or stopped, the same command goes on where it was; a job that is done is not done
again. --dry-run lists the jobs. The report is OUT/report.html, the same as Markdown report.md, figures and
verdicts results.json; what each command said is under OUT/logs.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.machine import cores
from longreach.run import RunFolder
from longreach.tables import print_table
from recipes.paper_small.commands import Setting
from recipes.paper_small.experiments import EXPERIMENTS, jobs_of
from recipes.paper_small.jobs import Job, Plan
from recipes.paper_small.marks import Marks
from recipes.paper_small.origin import origin
from recipes.paper_small.runner import Runner, clock, say, seconds_by_experiment
from recipes.paper_small.scales import SCALES
from recipes.paper_small.text import INSTALLED
from recipes.paper_small.work import do, load


def main(words: Sequence[str] | None = None) -> int:
    """arguments -> jobs -> runner -> report; the exit status."""
    given = arguments(words)
    scale = SCALES[given.scale]
    lanes = given.jobs or scale.lanes
    run = Setting(given.out.resolve(), scale, tuple(given.docs) or tuple(INSTALLED))
    seeds, only = given.seeds or (1 if scale.name == "quick" else 3), given.only or list(EXPERIMENTS)
    plan = Plan(jobs_of(run, seeds, only))
    if given.dry_run:
        show(run, plan, seeds, only, lanes)
        return 0
    with RunFolder(run.out) as folder:
        claimed = {"scale": asdict(scale), "sources": list(run.sources)}
        folder.claim(claimed)
        folder.write_manifest({"shaping": claimed})
        return carry_out(run, plan, seeds, only, lanes)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """As typed; problems are argparse's."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.paper_small", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--scale", choices=list(SCALES), default="laptop", help="how large; quick: to see that it works"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/paper-small"), metavar="OUT")
    parser.add_argument("--seeds", type=int, metavar="N", help="of every training; by default 3, quick 1")
    parser.add_argument("--only", type=names, metavar="NAME,...", help=f"of {', '.join(EXPERIMENTS)}")
    parser.add_argument(
        "--docs", nargs="+", default=[], metavar="NAME=P", help="sources of text, the last one new to mix (a)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="at once; by default as the scale says")
    parser.add_argument("--dry-run", action="store_true", help="list the jobs with their tokens and time, run nothing")
    given = parser.parse_args(words)
    if given.docs and len(given.docs) < 2:
        parser.error("--docs: two sources are needed, the last of which only mix (a) has")
    if (given.seeds is not None and given.seeds < 1) or (given.jobs is not None and given.jobs < 1):
        parser.error("--seeds and --jobs are at least 1")
    return given


def names(text: str) -> list[str]:
    """Of experiments."""
    found = text.split(",")
    if unknown := [name for name in found if name not in EXPERIMENTS]:
        raise argparse.ArgumentTypeError(f"no experiment {', '.join(unknown)}; there are {', '.join(EXPERIMENTS)}")
    return found


def carry_out(run: Setting, plan: Plan, seeds: int, only: Sequence[str], lanes: int) -> int:
    """All jobs, and the report of what there is, also where some failed."""
    from recipes.paper_small.gather import gather
    from recipes.paper_small.report import PAGE, counts, write_report

    marks = Marks(run.out)
    marks.check(plan)
    write_models(run)
    if not all(marks.finished(job) for job in plan):
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // lanes)))
        say(f"{len(plan)} jobs, {lanes} at once, about {clock(plan.seconds_left((), lanes))}; loading ...")
        load()
    status = Runner(plan, marks, lanes, do).run()
    if status > 128:
        return status
    by_part = seconds_by_experiment(marks, by_experiment(run, seeds, only))
    made = origin(run, seeds, lanes, math.fsum(marks.seconds(job) for job in plan))
    found = write_report(run, seeds, gather(run, seeds), by_part, made)
    print_table(
        ("claim", "where", "verdict"),
        [(each.claim.name, each.claim.where, each.verdict.word) for part in found for each in part.decided],
    )
    print(", ".join(f"{number} {word}" for word, number in counts(found).items()))
    print(f"the report is {run.out / PAGE}")
    return status


def write_models(run: Setting) -> None:
    """The config.json of every size."""
    (run.out / "models").mkdir(exist_ok=True)
    for size, model in run.scale.models.items():
        write_json(run.out / "models" / f"{size}.json", model.config(run.scale))


def by_experiment(run: Setting, seeds: int, only: Sequence[str]) -> dict[str, list[Job]]:
    """The jobs of each, shared ones in all that share them."""
    return {name: jobs_of(run, seeds, [name]) for name in only}


def show(run: Setting, plan: Plan, seeds: int, only: Sequence[str], lanes: int) -> None:
    """The jobs, what each experiment adds to those before it, and all of them."""
    rows = [(job.name, job.kind, job.trained, clock(job.seconds), " ".join(job.needs)) for job in plan]
    print_table(("job", "command", "tokens", "time", "needs"), rows)
    known: set[str] = set()
    added = []
    for name, jobs in by_experiment(run, seeds, only).items():
        new = [job for job in jobs if job.name not in known]
        known |= {job.name for job in new}
        added.append((name, len(new), sum(job.trained for job in new), clock(sum(job.seconds for job in new))))
    print_table(("experiment", "further jobs", "tokens", "time of a lane"), added)
    print(f"{len(plan)} jobs, {sum(job.trained for job in plan):,} tokens of training, ", end="")
    print(f"about {clock(plan.seconds_left((), lanes))} with {lanes} at once")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
