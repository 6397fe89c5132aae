"""Published tasks by lm-evaluation-harness: suites in, points with intervals out, what cannot run listed.

One task after the other, each kept in tasks/ once it is finished: a run that was killed goes on at the one it was at.
"""

import hashlib
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from evaluation.asking import PROMPTS, measured
from evaluation.config import HarnessSettings
from evaluation.harness.model import counting_tokenizer, describe, open_model, tokenizer_name
from evaluation.harness.outcome import Outcome, as_bytes, from_bytes, outcome_of
from evaluation.harness.plan import Job, Plan, plan
from evaluation.harness.published import cut_prompts, load_task
from evaluation.harness.suites import chosen
from evaluation.harness.summary import headlines, notes_of
from evaluation.harness.surroundings import surroundings
from evaluation.harness.view import draw_suites
from evaluation.results import PREDICTIONS, Results
from longreach.config import written
from longreach.errors import Unfinished, UserError
from longreach.jsonl import LineWriter, write_whole
from longreach.model.load import why
from longreach.progress import ProgressLine
from longreach.run import versions

PICTURE = "suites.png"


def measure_harness(settings: HarnessSettings) -> Results:
    """Every task of the suites that can run."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it tells every default that it takes
    with surroundings(hub=settings.hub, run_code=settings.run_code):
        suites = chosen(settings.suite)
        model = describe(settings)
        planned = plan(suites, settings, model)
        reasons = [f"cannot run: {task}: {reason}" for task, reason in planned.cannot.items()]
        if not planned.jobs:
            raise UserError("\n".join(["no task can run", *reasons]), "evaluate harness --list shows what each needs")
        for reason in reasons:
            sys.stderr.write(reason + "\n")
        with measured(settings) as folder:
            outcomes = list(_outcomes(settings, model, planned, folder.path / "tasks"))
            results = Results(
                measure="harness",
                model=settings.model or settings.base_url,
                settings=written(settings),
                scores=[outcome.score for outcome in outcomes],
                headline=headlines(planned.jobs, outcomes, suites),
                notes=[*notes_of(settings, planned.jobs), *reasons],
                further={"cannot_run": planned.cannot, "tasks": {job.entry.task: _facts(job) for job in planned.jobs}},
            )
            _write(folder.path, results, outcomes)
    return results


def _facts(job: Job) -> dict[str, Any]:
    """How a task was run."""
    return {
        "suite": job.suite.name,
        "group": job.entry.group,
        "shots": job.entry.shots,
        "prompt_tokens": job.prompt_tokens,
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
                if (sha256 := each.prompt_sha256) not in known:
                    known.add(sha256)
                    prompts.write({"sha256": sha256, "text": each.prompt})
        prompts.publish()
        predictions.publish()
    draw_suites(results.scores, results.further["tasks"], folder / PICTURE)
    results.write(folder)


def _outcomes(settings: HarnessSettings, model: Any, planned: Plan, folder: Path) -> Iterator[Outcome]:
    """Of every job in order: what an earlier run kept, or what the harness finds now."""
    folder.mkdir(exist_ok=True)
    lm = tokenizer = None
    with ProgressLine("harness", len(planned.jobs)) as line:
        for done, job in enumerate(planned.jobs):
            line.update(done, f"{job.entry.task} ({done:,} of {len(planned.jobs):,} tasks done)")
            path, key = folder / f"{job.entry.task}.json", _key(settings, job)
            outcome = from_bytes(path.read_bytes(), key) if path.exists() else None
            if outcome is None:
                tokenizer = tokenizer or counting_tokenizer(settings)
                tasks = _load(settings, job, tokenizer)
                lm = lm or open_model(settings, model, planned.jobs)
                outcome = _ask(settings, job, tasks, lm, chat=model.chat)
                write_whole(path, as_bytes(outcome, key))
            yield outcome


def _key(settings: HarnessSettings, job: Job) -> str:
    """What decides a task's outcome beside the settings that the folder was claimed with."""
    data = [(part.name, part.shots, found.digest() if found else "hub") for part, found in job.parts]
    decides = [asdict(job.entry), job.suite.cut, job.prompt_tokens, data, versions("lm-eval", "longreach")]
    return hashlib.sha256(orjson.dumps(decides)).hexdigest()


def _load(settings: HarnessSettings, job: Job, tokenizer: Any) -> list[Any]:
    """The harness's tasks, which read their data now."""
    from datasets.exceptions import DatasetsError
    from jinja2 import TemplateError

    found = []
    for part, data in job.parts:
        try:
            task = load_task(part, job.index, data, job.prompt_tokens, tokenizer_name(settings))
        except (DatasetsError, TemplateError, OSError, ImportError, LookupError, TypeError, ValueError) as error:
            places = ", ".join(str(path) for paths in data.files.values() for path in paths) if data else "the hub"
            raise UserError(
                f"{part.name} cannot be loaded with its data from {places}: {type(error).__name__}: {why(error)}",
                f"are they of the form of {job.entry.source}? what is finished is kept",
            ) from error
        if job.suite.cut != "none" and job.prompt_tokens:
            cut_prompts(task, job.suite.cut, job.prompt_tokens, tokenizer)
        found.append(task)
    return found


def _ask(settings: HarnessSettings, job: Job, tasks: list[Any], lm: Any, *, chat: bool) -> Outcome:
    """One run of the harness."""
    from aiohttp import ClientError
    from lm_eval import simple_evaluate
    from requests import RequestException
    from torch import OutOfMemoryError

    try:
        found = simple_evaluate(
            model=lm,
            tasks=tasks,
            task_manager=job.index,
            limit=settings.samples or None,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
            random_seed=settings.seed,
            numpy_random_seed=settings.seed,
            torch_random_seed=settings.seed,
            fewshot_random_seed=settings.seed,
            confirm_run_unsafe_code=settings.run_code,
        )
    except (ClientError, RequestException, TimeoutError) as error:
        reason = f"{type(error).__name__}: {why(error)}"
        raise Unfinished(
            f"{job.entry.task}: the server at {settings.base_url} gave no answer ({reason})",
            "run the same command again: it goes on with this task",
        ) from error
    except OutOfMemoryError as error:
        raise UserError(f"{job.entry.task} does not fit on the GPU", "a smaller --batch-size") from error
    return outcome_of(job.entry, tasks, found)
