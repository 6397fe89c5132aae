"""Published tasks by lm-evaluation-harness: suites in, points with intervals out, what cannot run listed.

One task after the other, each kept in tasks/ once it is finished: a run that was killed goes on at the one it was at.
How far each is, and how long it still takes, the harness shows itself.
"""

import hashlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from evaluation.asking import PROMPTS, measured
from evaluation.config import HarnessSettings
from evaluation.harness.asking import Asked
from evaluation.harness.model import describe, open_model
from evaluation.harness.outcome import Outcome, as_bytes, from_bytes
from evaluation.harness.plan import Job, Model, Plan, plan
from evaluation.harness.suites import chosen
from evaluation.harness.summary import headlines, notes_of
from evaluation.harness.surroundings import surroundings
from evaluation.harness.view import draw_suites
from evaluation.results import PREDICTIONS, Results
from longreach.config import written
from longreach.errors import UserError
from longreach.jsonl import LineWriter, write_whole
from longreach.run import versions

PICTURE = "suites.png"


def measure_harness(settings: HarnessSettings) -> Results:
    """Every task of the suites that can run."""
    for noisy in ("lm_eval", "asyncio"):  # the one tells every default, the other each request that fails with a first
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    with surroundings(hub=settings.hub):
        suites = chosen(settings.suite)
        model = describe(settings)
        planned = plan(suites, settings, model)
        reasons = list(_reasons(planned.cannot))
        if not planned.jobs:
            raise UserError("\n".join(["no task can run", *reasons]), "evaluate harness --list shows what each needs")
        for reason in reasons:
            sys.stderr.write(reason + "\n")
        with measured(settings) as folder, redirect_stdout(sys.stderr):  # the harness and its models print
            outcomes = list(_outcomes(settings, model, planned, folder.path / "tasks"))
            results = Results(
                measure="harness",
                model=settings.model,
                settings=written(settings),
                scores=[outcome.score for outcome in outcomes],
                headline=headlines(planned.jobs, outcomes, suites),
                notes=[*notes_of(settings, planned.jobs, outcomes), *reasons],
                further={"cannot_run": planned.cannot, "tasks": dict(map(_facts, planned.jobs, outcomes))},
            )
            _write(folder.path, results, outcomes)
    return results


def _reasons(cannot: Mapping[str, str]) -> Iterator[str]:
    """What cannot run, tasks with the same reason together."""
    for reason in dict.fromkeys(cannot.values()):
        yield f"cannot run: {', '.join(task for task, why in cannot.items() if why == reason)}: {reason}"


def _facts(job: Job, outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """How a task was run, by its name."""
    return job.entry.task, {
        "suite": job.suite.name,
        "group": job.entry.group,
        "shots": job.entry.shots,
        "prompt_tokens": job.prompt_tokens,
        "cut_prompts": outcome.cut,
        "parts": len(job.parts),
        "absent_parts": list(job.absent),
    }


def _write(folder: Path, results: Results, outcomes: Sequence[Outcome]) -> None:
    """predictions.jsonl, prompts.jsonl, the picture, and results.json last."""
    known = set()
    with LineWriter(folder / PREDICTIONS) as predictions, LineWriter(folder / PROMPTS) as prompts:
        for outcome in outcomes:
            for prediction in outcome.predictions():
                predictions.write(prediction.as_row())
            for each in outcome.answered:
                if (sha256 := each.question_sha256) not in known:
                    known.add(sha256)
                    prompts.write({"sha256": sha256, "text": each.prompt})
        prompts.publish()
        predictions.publish()
    draw_suites(results.scores, results.further["tasks"], folder / PICTURE)
    results.write(folder)


def _outcomes(settings: HarnessSettings, model: Model, planned: Plan, folder: Path) -> Iterator[Outcome]:
    """Of every job in order: what an earlier run kept, or what the harness finds now."""
    folder.mkdir(exist_ok=True)
    lm = None
    for done, job in enumerate(planned.jobs):
        path, key = folder / f"{job.entry.task}.json", _key(settings, job)
        outcome = from_bytes(path.read_bytes(), key) if path.exists() else None
        if outcome is None:
            sys.stderr.write(f"harness: {done:,} of {len(planned.jobs):,} tasks done, now {job.entry.task}\n")
            asked = Asked(settings, job)
            lm = lm or open_model(settings, model, planned.jobs)
            outcome = asked.outcome(lm, chat=model.chat)
            write_whole(path, as_bytes(outcome, key))
        yield outcome


def _key(settings: HarnessSettings, job: Job) -> str:
    """What decides a task's outcome beside the settings that the folder was claimed with."""
    data = [(part.name, part.shots, found.digest() if found else "hub") for part, found in job.parts]
    decides = [asdict(job.entry), job.suite.cut, job.prompt_tokens, data, versions("lm-eval", "longreach")]
    return hashlib.sha256(orjson.dumps(decides)).hexdigest()
