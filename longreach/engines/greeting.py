"""What is asked of the servers before the first request: are they there, do they take the key, have they the model.

One small GET a server. All problems are told at once.
"""

import asyncio
from collections.abc import Sequence

from longreach.config import did_you_mean
from longreach.engines.backoff import Backoff
from longreach.engines.base import RequestFailed
from longreach.engines.reply import Fault, fault_of, message_of, models_of, refusal_of
from longreach.engines.server import Server
from longreach.engines.wire import Wire
from longreach.errors import UserError

GREETING_SECONDS = 30.0
NAMES_SHOWN = 20  # of the models in an error
_NO_LISTING = (404, 405, 501)


async def greet(wire: Wire, servers: Sequence[Server], model: str, attempts: int, backoff: Backoff) -> str:
    """The model that all servers have: the one that was named, or else the only one there is."""
    greetings = (_listing(wire, server, attempts, backoff) for server in servers)
    listings = await asyncio.gather(*greetings, return_exceptions=True)
    problems: list[UserError] = []
    listed: dict[str, list[str]] = {}
    for server, listing in zip(servers, listings, strict=True):
        if isinstance(listing, UserError):
            problems.append(listing)
        elif isinstance(listing, BaseException):
            raise listing
        elif listing is not None:
            listed[str(server)] = listing
    if problems:
        raise UserError("\n".join(problem.problem for problem in problems), problems[0].hint)
    return choose_model(model, listed)


async def is_alive(wire: Wire, server: Server) -> bool:
    """Whether the server answers at all; a gateway that says its server is gone does not count."""
    try:
        status, _, _ = await wire.get(server, server.models, GREETING_SECONDS)
    except Fault:
        return False
    return status < 500


def choose_model(model: str, listed: dict[str, list[str]]) -> str:
    """The model to ask for, given what each server lists; servers that list nothing are taken at their word."""
    known = sorted({name for names in listed.values() for name in names})
    if not model:
        if len(known) == 1:
            model = known[0]
        elif known:
            raise UserError(
                f"no model is named, and the servers have several: {_shown(known)}", "name one with --model"
            )
        else:
            raise UserError("no model is named, and the servers do not say which they have", "name it with --model")
    for server, names in listed.items():
        if names and model not in names:
            problem = f"{server} has no model {model!r}{did_you_mean(model, names)}"
            raise UserError(problem, f"name one that it has with --model: {_shown(names)}")
    return model


async def _listing(wire: Wire, server: Server, attempts: int, backoff: Backoff) -> list[str] | None:
    """The models that a server lists; None where it keeps no list."""
    failures = 0
    while True:
        try:
            status, wait, body = await wire.get(server, server.models, GREETING_SECONDS)
        except Fault as fault:
            problem = f"no chat server answers at {server} ({fault})"
            raise UserError(problem, "start the server, or correct --base-url") from fault
        if status == 200:
            return _names(server, body)
        if status in _NO_LISTING:
            return None
        said = server.redacted(message_of(body))
        if not fault_of(status, said, wait):
            raise _refusal(server, status, said)
        failures += 1
        if failures >= attempts:
            raise UserError(
                f"{server} is not ready (http {status}): {said}", "wait until it has started, then try again"
            )
        await asyncio.sleep(max(wait, backoff.delay(failures)))


def _names(server: Server, body: bytes) -> list[str]:
    names = models_of(body)
    if names is None:
        raise UserError(f"{server} is no chat server: GET /models gives no list of models", "most addresses end in /v1")
    return names


def _refusal(server: Server, status: int, said: str) -> UserError:
    refusal = refusal_of(status, str(server), said)
    if isinstance(refusal, RequestFailed):
        return UserError(f"{server} refuses to list its models ({refusal})", "check --base-url")
    return refusal


def _shown(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
