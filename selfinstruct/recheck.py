"""`selfinstruct check`: the checks of a finished run again, with another judge or threshold."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from longreach.engines.base import Engine
from longreach.errors import UserError
from longreach.run import GENERATE, read_finished
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import EXTRACTIVE, budget_of, choose_judge
from selfinstruct.generate import finish, prepare
from selfinstruct.pipeline import Report, Run, require_some
from selfinstruct.replay import NOT_JOURNALLED, engine_of, judge_of, settings_of


def check_again(run: Path, changes: Mapping[str, Any]) -> Report:
    """Read every pair of the run from its journal, check it with the changed settings, and rewrite the run's files."""
    manifest = read_finished(run, GENERATE)
    settings = settings_of(manifest, {**changes, "out": str(run)})
    shaping = manifest["shaping"]
    engine = engine_of(shaping, run)
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
    return judge_of(shaping, settings.folder)


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
