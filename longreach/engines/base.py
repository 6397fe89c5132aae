"""Requests and completions: what every engine takes and gives, one at a time.

An engine answers single requests concurrently. It never sees a batch, so a failure is the failure of one request. The
caller bounds how many are under way (`Engine.concurrency`), so memory stays flat however long the run.
"""

import hashlib
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import orjson


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a completion is drawn. `temperature` 0 is greedy. The first of the strings `stop` ends it and is cut off."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A chat to be completed, or a `text` to be gone on with, as a base model does: one of the two.

    `schema` asks for JSON of that schema where the engine can enforce it. `affinity` names what the prompt's prefix
    belongs to (the document): requests of one affinity go to one server, so that its prefix cache is used. `task` and
    `source` (the text the task is about) serve the built-in extractive engine and never change what a model is asked.
    """

    messages: tuple[Message, ...]
    sampling: Sampling
    schema: dict[str, Any] | None = None
    affinity: str = ""
    task: str = ""
    source: str = field(default="", repr=False)
    text: str = field(default="", repr=False)

    def key(self, model: str) -> bytes:
        """The 32 bytes under which the journal keeps the completion: a hash of all that decides it."""
        sampling = self.sampling
        asked = {
            "model": model,
            "messages": [[message.role, message.content] for message in self.messages],
            "sampling": [sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.seed],
            "schema": self.schema,
            **({"text": self.text} if self.text else {}),
            **({"stop": sampling.stop} if sampling.stop else {}),
        }
        return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).digest()


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back. `finish_reason` is "stop", or "length" where the text was cut off at max_tokens or the window."""

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # of the prompt, served from a prefix cache, where the engine says so


class RequestFailed(Exception):
    """This one request could not be answered; the others go on. Asking again may succeed: nothing is journalled."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason  # a short name that is counted: "timeout", "http 503", "prompt too long"
        self.detail = detail


class RequestRefused(RequestFailed):
    """The request itself is at fault (its prompt is too long, say): asking again is no use, it is rejected."""


class Engine(Protocol):
    """An async context manager that completes requests.

    `complete` raises RequestFailed for what concerns one request, UserError for what dooms them all (wrong key, unknown
    model, no server at the start): the run then stops, keeping what it has.
    """

    name: str
    model: str
    concurrency: int  # how many requests it wants under way at once
    structured: bool  # whether Request.schema is enforced

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def complete(self, request: Request) -> Completion: ...


class Ready:
    """What an engine inherits that has nothing to start or stop."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
