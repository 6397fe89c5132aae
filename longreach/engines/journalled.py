"""Any engine behind a journal: what was answered once is not asked again, and nothing counts before it is on disk."""

import asyncio
from dataclasses import dataclass

from longreach.engines.base import Completion, Engine, Request, RequestRefused
from longreach.journal import Journal


@dataclass
class Usage:
    """What was asked of an engine in this process, and what the journal answered instead."""

    asked: int = 0
    replayed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def add(self, completion: Completion) -> None:
        """Count one answer of the engine."""
        self.asked += 1
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens
        self.cached_tokens += completion.cached_tokens


class Journalled:
    """Completes requests from the journal, else from the engine, at most `concurrency` of them at once."""

    def __init__(self, engine: Engine, journal: Journal, usage: Usage | None = None) -> None:
        self.usage = usage or Usage()  # may be shared with another engine of the same run
        self._engine = engine
        self._journal = journal
        self._room = asyncio.Semaphore(engine.concurrency)
        self._under_way: dict[bytes, asyncio.Future[Completion]] = {}

    async def complete(self, request: Request) -> Completion:
        """The completion; a request equal to one under way shares its answer."""
        key = request.key(self._engine.model)
        known = self._journal.get(key)
        if known is not None:
            self.usage.replayed += 1
            return known
        if key not in self._under_way:
            asking = self._under_way[key] = asyncio.ensure_future(self._ask(key, request))
            asking.add_done_callback(_seen)
        return await asyncio.shield(self._under_way[key])

    async def _ask(self, key: bytes, request: Request) -> Completion:
        try:
            async with self._room:
                completion = await self._engine.complete(request)
            await self._journal.put(key, completion)
            self.usage.add(completion)
            return completion
        except RequestRefused as refusal:
            self._journal.refuse(key, refusal)
            raise
        finally:
            del self._under_way[key]

    async def close(self) -> None:
        """Stop what is still under way, after an error elsewhere."""
        waiting = list(self._under_way.values())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _seen(asking: asyncio.Future[Completion]) -> None:
    """Take note of an error whose askers were all stopped before it came, so that nobody warns of it."""
    if not asking.cancelled():
        asking.exception()
