"""`selfinstruct check`: the checks of a finished run again, with another judge or threshold."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from longreach.engines.base import Completion, Ready, Request, RequestFailed
from longreach.errors import UserError
from longreach.run import read_manifest
from selfinstruct.config import GenerateSettings
from selfinstruct.generate import finish, prepare
from selfinstruct.pipeline import Report


class ReplayEngine(Ready):
    """Stands for the engine of a finished run: all that it was asked is in the journal, and nothing else is asked."""

    concurrency = 64

    def __init__(self, name: str, model: str, structured: bool) -> None:
        self.name, self.model, self.structured = name, model, structured

    async def complete(self, request: Request) -> Completion:
        """Fails: what the journal does not hold was not asked in that run."""
        raise RequestFailed("not in the journal", "the run did not ask this; run generate with the new settings")


def check_again(run: Path, changes: Mapping[str, Any]) -> Report:
    """Read every pair of the run from its journal, check it with the changed settings, and rewrite the run's files."""
    manifest = read_manifest(run)
    if manifest["status"] != "finished":
        raise UserError(f"{run} is not finished", "run its generate command to the end first")
    settings = _settings(manifest, run, changes)
    shaping = manifest["shaping"]
    engine = ReplayEngine(shaping["engine"], shaping["model"], shaping["structured"])
    return finish(prepare(settings, engine, manifest["notes"]), claim=False)


def _settings(manifest: Mapping[str, Any], run: Path, changes: Mapping[str, Any]) -> GenerateSettings:
    known = {entry.name for entry in fields(GenerateSettings)}
    before = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in manifest["settings"].items()
        if name in known
    }
    return GenerateSettings(**{**before, **changes, "out": str(run)})
