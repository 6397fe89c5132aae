"""One task of a suite: its parts loaded with their data, asked by the harness, and what came of it."""

import logging
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from aiohttp import ClientError, ClientResponseError

from longreach.errors import Unfinished, UserError, missing_extra

try:
    import torch
    from datasets.exceptions import DatasetsError
    from lm_eval.evaluator import evaluate
    from requests import HTTPError, RequestException
except ModuleNotFoundError as error:
    if error.name not in ("datasets", "lm_eval", "requests", "torch"):
        raise
    raise missing_extra(error.name.replace("_", "-"), "evaluate harness", "harness") from error

from evaluation.config import HarnessSettings
from evaluation.harness.bounded import Bounded
from evaluation.harness.codeeval import local_code_eval
from evaluation.harness.data import Data
from evaluation.harness.model import tokenizer_name
from evaluation.harness.outcome import Outcome, outcome_of
from evaluation.harness.plan import Job
from evaluation.harness.published import Part, load_task
from evaluation.harness.rows import MALFORMED, watch_rows
from evaluation.harness.tasks.cutting import counting_tokenizer
from longreach.model.load import why

PASSING = (408, 409, 425, 429)  # statuses below 500 after which the same request may succeed later


class Asked:
    """A job whose data have been read."""

    def __init__(self, settings: HarnessSettings, job: Job) -> None:
        self._settings, self._job = settings, job
        with local_code_eval() if job.entry.runs_code else nullcontext():
            self.tasks = [_loaded(settings, job, part, data) for part, data in job.parts]
        cut, tokens = job.cut, job.prompt_tokens
        tokenizer = counting_tokenizer(tokenizer_name(settings))
        self.bounded = [Bounded(task, cut, tokens, tokenizer) for task in self.tasks if cut != "none" and tokens]
        for task in self.tasks:
            watch_rows(task, job.entry.source)

    def outcome(self, lm: Any, *, chat: bool) -> Outcome:
        """One run of the harness; its `simple_evaluate` would describe machine and git checkout each time."""
        self._seed()
        with _errors_told(self._settings, self._job):
            found = evaluate(
                lm=lm,
                task_dict=self._job.index.load(self.tasks),
                limit=self._settings.samples or None,
                bootstrap_iters=0,
                log_samples=True,
                apply_chat_template=chat,
                fewshot_as_multiturn=chat,
                confirm_run_unsafe_code=self._settings.run_code,
            )
        return outcome_of(self._job.entry, self.tasks, found, sum(each.count for each in self.bounded))

    def _seed(self) -> None:
        """Whatever a task may draw from; and the examples that it shows."""
        seed = self._settings.seed
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        for task in self.tasks:
            task.set_fewshot_seed(seed=seed)


def _loaded(settings: HarnessSettings, job: Job, part: Part, data: Data | None) -> Any:
    """The harness's task, which reads its data now and looks at the first row."""
    try:
        task = load_task(part, job.index, data, job.prompt_tokens, tokenizer_name(settings))
    except (DatasetsError, OSError, ImportError, StopIteration, *MALFORMED) as error:
        places = ", ".join(str(path) for paths in data.files.values() for path in paths) if data else "the hub"
        raise UserError(
            f"{part.name} cannot be loaded with its data from {places}: {_reason(error)}",
            f"are they of the form of {job.entry.source}? what is finished is kept",
        ) from error
    _check_examples(part, task, job.entry.source)
    return task


def _reason(error: Exception) -> str:
    """What `datasets` says first is only that it could not."""
    if isinstance(error, StopIteration):
        return "no rows"
    inner = error.__cause__ if isinstance(error, DatasetsError) and isinstance(error.__cause__, Exception) else error
    return f"{type(inner).__name__}: {why(inner)}"


def _check_examples(part: Part, task: Any, source: str) -> None:
    """Whether there are enough; the harness draws one more where it takes them for rows of the evaluated split."""
    if not part.shots:
        return
    wanted, there = part.shots + (task.fewshot_cfg.split == task.config.test_split), len(task.sampler.df)
    if there < wanted:
        raise UserError(
            f"{part.name} takes {part.shots} examples from {wanted} rows or more, but its {part.splits[-1]} split"
            f" has {there}",
            f"the whole data set is at {source}; what is finished is kept",
        )


@contextmanager
def _errors_told(settings: HarnessSettings, job: Job) -> Iterator[None]:
    """What a server or a GPU may do, as messages."""
    with _last_word() as said:
        try:
            yield
        except (ClientError, RequestException, TimeoutError) as error:
            sys.stderr.write("\n")  # behind the harness's bar
            reason = f"{type(error).__name__}: {why(error)}" + "".join(f"; {each}" for each in said[-1:])
            if _refused(error):
                raise UserError(
                    f"{job.entry.task}: the server at {settings.base_url} refuses ({reason})",
                    "check --model, --api-key-env and --prompt-tokens; what is finished is kept",
                ) from error
            raise Unfinished(
                f"{job.entry.task}: the server at {settings.base_url} gave no answer ({reason})",
                "run the same command again: it goes on with this task",
            ) from error
        except MALFORMED as error:
            if not settings.base_url:
                raise
            raise UserError(
                f"{job.entry.task}: cannot read what the server at {settings.base_url} answered"
                f" ({type(error).__name__}: {why(error)})",
                "it has to speak the OpenAI protocol; likelihoods need /completions with echo and logprobs; what is"
                " finished is kept",
            ) from error
        except torch.OutOfMemoryError as error:
            raise UserError(f"{job.entry.task} does not fit on the GPU", "a smaller --batch-size") from error


def _refused(error: Exception) -> bool:
    """Whether the same request would be refused again."""
    status = 0
    if isinstance(error, ClientResponseError):
        status = error.status
    if isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
    return 400 <= status < 500 and status not in PASSING


@contextmanager
def _last_word() -> Iterator[Sequence[str]]:
    """What a server said of a failure, which the harness only logs."""
    said: list[str] = []

    class Handler(logging.Handler):
        """Keeps what is logged, so that it comes at the end and once."""

        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.WARNING:
                said[:] = [record.getMessage().removesuffix(". Retrying...")[:500]]

    logger, handler = logging.getLogger("lm_eval.models.api_models"), Handler()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
