"""A finished run once more: its settings from its manifest, and engines that know only what its journal holds."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from longreach.config import read_back
from longreach.engines.base import Completion, Request, RequestFailed
from longreach.journal import Journal
from selfinstruct.config import GenerateSettings

NOT_JOURNALLED = "not in the journal"


class ReplayEngine:
    """Stands for the engine of a run whose completions are in a journal, and asks nothing.

    What the engine refused it refuses again; what it was never asked fails as NOT_JOURNALLED.
    """

    concurrency = 64

    def __init__(self, name: str, model: str, structured: bool, journal: Path) -> None:
        self.name, self.model, self.structured = name, model, structured
        self._path = journal

    async def __aenter__(self) -> Self:
        self._journal = Journal(self._path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.__exit__(kind, error, trace)

    async def complete(self, request: Request) -> Completion:
        """Raises: completions are known before an engine is asked."""
        raise self._journal.refusal(request.key(self.model)) or RequestFailed(NOT_JOURNALLED, "the run did not ask it")


def engine_of(shaping: Mapping[str, Any], folder: Path) -> ReplayEngine:
    """The engine of a run; its completions are in the journal of `folder`."""
    return ReplayEngine(shaping["engine"], shaping["model"], shaping["structured"], folder / "journal.sqlite")


def judge_of(shaping: Mapping[str, Any], folder: Path) -> ReplayEngine | None:
    """The judge of a run, where it had one beside its engine."""
    if not shaping["judge"]:
        return None
    return ReplayEngine("http", shaping["judge"], shaping["structured"], folder / "journal.sqlite")


def settings_of(manifest: Mapping[str, Any], changes: Mapping[str, Any]) -> GenerateSettings:
    """The settings of a run, some of them changed; which engine it had, its shaping tells."""
    before = {name: value for name, value in manifest["settings"].items() if name != "engine"}
    return read_back(GenerateSettings, {**before, **changes})
