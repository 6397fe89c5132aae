"""What of the chosen suites can run here, and why the rest cannot: said before any weights are loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evaluation.config import LEAST_PROMPT, HarnessSettings
from evaluation.harness.data import CONFIG, Data, find_data, places
from evaluation.harness.published import Part, index_of, parts_of
from evaluation.harness.suites import Cut, Entry, Suite

TEMPLATE_TOKENS = 64  # allowed for a chat template around a prompt
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class Model:
    """What the plan has to know of the model."""

    window: int  # 0: not known
    chat: bool
    tells: bool  # likelihoods of given answers


@dataclass(frozen=True)
class Job:
    """A task that runs: its parts, each with its data (None: the hub's)."""

    suite: Suite
    entry: Entry
    index: Any
    parts: tuple[tuple[Part, Data | None], ...]
    absent: tuple[str, ...]  # parts without data
    prompt_tokens: int  # of the longest prompt; 0: no bound is known

    @property
    def new_tokens(self) -> int:
        """Of the longest answer."""
        return max(part.new_tokens for part, _ in self.parts)

    @property
    def cut(self) -> Cut:
        """Of a prompt that is too long. What no suite cuts and no task of ours, the window cuts on the left."""
        return "left" if self.suite.cut == "none" and not self.entry.ours else self.suite.cut


@dataclass(frozen=True)
class Plan:
    """The jobs, and by task why it is none."""

    jobs: tuple[Job, ...]
    cannot: dict[str, str]


def plan(suites: Sequence[Suite], settings: HarnessSettings, model: Model) -> Plan:
    """Every task of the suites, as a job or with a reason."""
    jobs, cannot = [], {}
    for suite in suites:
        index = index_of(suite)
        for entry in suite.tasks:
            found = _wants(entry, settings) or _job(suite, entry, index, settings, model)
            if isinstance(found, Job):
                jobs.append(found)
            else:
                cannot[entry.task] = found
    return Plan(tuple(jobs), cannot)


def _wants(entry: Entry, settings: HarnessSettings) -> str:
    """What is missing beside data."""
    if entry.judge:
        return f"needs a judge: {entry.judge}"
    if entry.runs_code and not settings.run_code:
        return "runs programs that the model wrote: needs --run-code"
    if lacking := [package for package in entry.packages if find_spec(package) is None]:
        package = f"lm-eval[{entry.extra}]" if entry.extra else " ".join(lacking)
        return f"needs {', '.join(lacking)}: pip install '{package}'"
    return ""


def _job(suite: Suite, entry: Entry, index: Any, settings: HarnessSettings, model: Model) -> Job | str:
    parts = parts_of(entry, index)
    if not parts:
        return "this version of lm-eval has no such task"
    if not model.tells and any(part.tells for part in parts):
        return _untold(model)
    room = _room(suite, settings, model, max(part.new_tokens for part in parts))
    if room and room < LEAST_PROMPT:
        return f"the model's window of {model.window:,} tokens is too small for it"
    folder = Path(settings.data_dir) if settings.data_dir else None
    found = [(part, find_data(folder, entry.data, part.dataset, part.splits) if folder else None) for part in parts]
    from_hub = settings.hub and not entry.ours
    kept = tuple((part, data) for part, data in found if data or from_hub)
    if not kept:
        return _no_data(entry, parts[0], folder, settings)
    absent = tuple(part.name for part, data in found if not (data or from_hub))
    return Job(suite, entry, index, kept, absent, room)


def _untold(model: Model) -> str:
    if model.chat:
        return "needs likelihoods of given answers, which a chat server does not tell"
    return "needs likelihoods of given answers, counted in tokens: name the server's tokenizer with --tokenizer"


def _room(suite: Suite, settings: HarnessSettings, model: Model, new_tokens: int) -> int:
    """Tokens of the longest prompt, as the suite says and as the window allows."""
    around = TEMPLATE_TOKENS if model.chat else SPECIAL_TOKENS
    asked = settings.prompt_tokens or suite.prompt_tokens
    bounds = [asked] if asked else []
    if model.window:
        bounds.append(max(1, model.window - new_tokens - around))
    return min(bounds, default=0)


def _no_data(entry: Entry, part: Part, folder: Path | None, settings: HarnessSettings) -> str:
    if entry.ours and settings.hub and not folder:
        return f"no data: --hub does not have {entry.source} in this form, give --data-dir"
    if not folder:
        named = entry.data if entry.parts else entry.data.replace(CONFIG, part.dataset)
        return f"no data: give --data-dir with {named} ({entry.source})" + ("" if entry.ours else ", or --hub")
    looked = ", ".join(str(place) for place in places(folder, entry.data, part.dataset))
    return f"no data (looked for {' and '.join(part.splits)} in {looked}; from {entry.source})"
