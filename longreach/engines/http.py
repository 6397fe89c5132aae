"""Completions from any server that speaks the OpenAI protocol: vLLM, SGLang, llama.cpp, hosted ones.

Chats go to /chat/completions, plain text to /completions, whose server makes tokens of it by its own rules.

A fault that may pass is tried again a bounded number of times; one that concerns a single request fails that request
and no other; one that dooms all of them is a UserError. Costs some 0.15 ms of processor time a request.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, Self

import orjson
from yarl import URL

from longreach.engines.backoff import STEADY, Backoff
from longreach.engines.base import Completion, Request, RequestFailed
from longreach.engines.fleet import Fleet
from longreach.engines.greeting import greet, is_alive
from longreach.engines.reply import Fault, completion_of, fault_of, message_of, refusal_of
from longreach.engines.server import Server, servers_at
from longreach.engines.stop import cut
from longreach.engines.wire import Wire

MOST_STOPS = 4  # strings that the protocol allows; answers are cut at all of them here


class HttpEngine:
    """One or more servers. Each is given up to `concurrency` requests at once, fewer while it is overloaded.

    A request that finds no server after all of them were given up fails: RequestFailed("no server").
    """

    name = "http"

    def __init__(
        self,
        *,
        model: str,
        base_urls: Sequence[str],
        api_key: str = "",
        concurrency: int = 64,
        timeout: float = 600.0,
        attempts: int = 6,
        structured: bool = False,
        backoff: Backoff = STEADY,
    ) -> None:
        self.model = model
        self.structured = structured
        self._attempts = attempts
        self._backoff = backoff
        self._wire = Wire(timeout)
        self._fleet = Fleet(servers_at(base_urls, api_key, concurrency), partial(is_alive, self._wire), backoff)
        self.concurrency = concurrency * len(self._fleet.servers)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._wire)
            stack.push_async_callback(self._fleet.close)
            self.model = await greet(self._wire, self._fleet.servers, self.model, self._attempts, self._backoff)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def complete(self, request: Request) -> Completion:
        """The completion, after as many attempts as it takes or are allowed."""
        body = orjson.dumps(self._asked(request))
        failures = 0
        failed_at: set[Server] = set()  # a server that is ill, but lives, keeps no request from the others
        while True:
            server, taken_in = await self._fleet.seat(request.affinity, failed_at)
            try:
                completion = await self._ask(server, server.completions if request.text else server.chat, body)
            except Fault as fault:
                fault.detail = server.redacted(fault.detail)
                self._fleet.faulted(server, taken_in, fault)
                if not fault.overloaded:
                    failed_at.add(server)
                failures += 1
                if failures >= self._attempts:
                    raise RequestFailed(fault.reason, fault.detail) from fault
            else:
                self._fleet.answered(server)
                return stopped(completion, request.sampling.stop)
            finally:
                server.window.leave()
            await asyncio.sleep(self._backoff.delay(failures))

    async def _ask(self, server: Server, url: URL, body: bytes) -> Completion:
        """One attempt: Fault where another may succeed, RequestFailed or UserError where none will."""
        status, wait, reply = await self._wire.post(server, url, body)
        if status == 200:
            return completion_of(reply)
        words = message_of(reply)
        raise fault_of(status, words, wait) or refusal_of(status, str(server), server.redacted(words))

    def _asked(self, request: Request) -> dict[str, Any]:
        """The body of the request. JSON is asked for by `response_format`: vLLM ignores its older keys in silence."""
        sampling = request.sampling
        asked: dict[str, Any] = {
            "model": self.model,
            **_prompt(request),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
        }
        if sampling.stop:
            asked["stop"] = sampling.stop[:MOST_STOPS]
        if self.structured and request.schema is not None:
            schema = {"name": "reply", "schema": request.schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        return asked


def stopped(completion: Completion, stops: Sequence[str]) -> Completion:
    """The completion up to the first of the stop strings, which a server may leave in."""
    before = cut(completion.text, stops)
    return completion if before is None else replace(completion, text=before, finish_reason="stop")


def _prompt(request: Request) -> dict[str, Any]:
    if request.text:
        return {"prompt": request.text}
    return {"messages": [{"role": message.role, "content": message.content} for message in request.messages]}
