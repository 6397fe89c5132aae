"""`selfinstruct check`: the checks of a finished run again, with another judge or threshold."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from longreach.engines.base import Completion, Engine, Ready, Request, RequestFailed
from longreach.errors import UserError
from longreach.run import read_finished
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import EXTRACTIVE, budget_of, choose_judge
from selfinstruct.generate import finish, prepare
from selfinstruct.pipeline import Report, Run, require_some

NOT_JOURNALLED = "not in the journal"


class ReplayEngine(Ready):
    """Stands for the engine of a finished run: all that it was asked is in the journal, and nothing else is asked."""

    concurrency = 64

    def __init__(self, name: str, model: str, structured: bool) -> None:
        self.name, self.model, self.structured = name, model, structured

    async def complete(self, request: Request) -> Completion:
        """Fails: what the journal does not hold was not asked in that run."""
        raise RequestFailed(NOT_JOURNALLED, "the run did not ask this")


def check_again(run: Path, changes: Mapping[str, Any]) -> Report:
    """Read every pair of the run from its journal, check it with the changed settings, and rewrite the run's files."""
    manifest = read_finished(run)
    settings = _settings(manifest, run, changes)
    shaping = manifest["shaping"]
    engine = ReplayEngine(shaping["engine"], shaping["model"], shaping["structured"])
    judge = _judge(settings, shaping, changes)
    if "critique" in changes.get("checks", ()) and engine.name == EXTRACTIVE and judge is None:
        raise UserError("this run had no model that could make a critique", "give --judge-url")
    return finish(prepare(settings, engine, judge, manifest["notes"]), claim=False, accept=_all_replayed)


def _judge(settings: GenerateSettings, shaping: Mapping[str, Any], changes: Mapping[str, Any]) -> Engine | None:
    """The judge asked for now, else the run's own from its journal."""
    if "critique" not in settings.checks:
        return None
    if "judge_url" in changes or "judge_model" in changes:
        return choose_judge(settings, budget_of(settings))
    return ReplayEngine("http", shaping["judge"], shaping["structured"]) if shaping["judge"] else None


def _all_replayed(run: Run) -> None:
    """Refuse a result for which the journal did not hold everything: the documents or what is checked have changed."""
    require_some(run)
    missing = run.tally.failed[NOT_JOURNALLED]
    if missing:
        raise UserError(
            f"{missing} of {run.plan.planned} pairs cannot be checked again: the run did not ask what they need",
            "were the documents changed, or is a check wanted that the run left out? Run generate into a new --out; "
            "the run's files are as they were",
        )


def _settings(manifest: Mapping[str, Any], run: Path, changes: Mapping[str, Any]) -> GenerateSettings:
    known = {entry.name for entry in fields(GenerateSettings)}
    before = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in manifest["settings"].items()
        if name in known and name != "engine"
    }
    return GenerateSettings(**{**before, **changes, "out": str(run)})
