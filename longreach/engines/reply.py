"""What a server sent back, read as a completion or as the reason why there is none.

Pure: takes a status and bytes. Nothing in a reply is trusted to have the shape it should have.
"""

import re
from dataclasses import dataclass
from typing import Any

import orjson

from longreach.engines.base import Completion, RequestRefused
from longreach.errors import UserError

OVERLOADED = frozenset({429, 503, 529})  # the server has more to do than it can
PASSING = frozenset({408, 409, 425, 429})  # below 500, yet the same request may succeed later

_REFUSALS = {
    401: ("refuses the API key", "check the key; it belongs to the server that it was made for"),
    402: ("asks for payment", "the account behind the API key has no credit left"),
    403: ("does not allow this with this API key", "check what the key may do"),
    404: ("does not have that model, or is not at this address", "check --model; most addresses end in /v1"),
    405: ("does not take such requests at this address", "most addresses end in /v1"),
}
_CUT_OFF = frozenset({"length", "content_filter", "model_length"})
_BROKEN_OFF = frozenset({"abort", "error"})  # the server gave up half way: the text is no answer
_TOO_LONG = re.compile(r"context.?(length|size|window)|maximum model length|prompt is too long", re.I)


@dataclass(eq=False)
class Fault(Exception):
    """An attempt that gave no answer; another may."""

    reason: str
    detail: str = ""
    overloaded: bool = False  # the server should be given less at once
    unanswered: bool = False  # nobody spoke: the server may be gone
    wait: float = 0.0  # seconds that the server asked for

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def completion_of(body: bytes) -> Completion:
    """The completion in the body of a successful reply."""
    try:
        reply = _object(orjson.loads(body))
    except orjson.JSONDecodeError as error:
        raise Fault("garbage json", str(error)) from error
    choice = _object(next(iter(_list(reply.get("choices"))), None))
    if not choice:
        raise Fault("empty choices", message_of(body))
    finish = choice.get("finish_reason")
    text = _object(choice["message"]).get("content") if "message" in choice else choice.get("text")
    if finish in _BROKEN_OFF:
        raise Fault("broken off", f"finish_reason {finish}")
    if text is None and finish in _CUT_OFF:
        text = ""  # a reasoning model that ran out of tokens before its answer
    if not isinstance(text, str):
        raise Fault("null content")
    usage = _object(reply.get("usage"))
    return Completion(
        text=text,
        finish_reason="length" if finish in _CUT_OFF else "stop",
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(_object(usage.get("prompt_tokens_details")), "cached_tokens"),
    )


def fault_of(status: int, message: str, wait: float) -> Fault | None:
    """The fault behind an error status that may pass; None where asking again is no use."""
    if status < 500 and status not in PASSING:
        return None
    overloaded = status in OVERLOADED or status in (408, 504)
    return Fault(f"http {status}", message, overloaded=overloaded, unanswered=status == 502, wait=wait)


def refusal_of(status: int, server: str, message: str) -> RequestRefused | UserError:
    """What a status that no retry mends means: the end for this request, or for all."""
    if 300 <= status < 400:
        hint = "give the final address (often https), for redirects are not followed: the key goes nowhere else"
        return UserError(f"{server} redirects to another address (http {status})", hint)
    if status in _REFUSALS:
        problem, hint = _REFUSALS[status]
        # what a server says of a wrong key often holds a part of the key
        said = f": {message}" if message and status != 401 else ""
        return UserError(f"{server} {problem} (http {status}){said}", hint)
    too_long = status in (400, 413, 422) and _TOO_LONG.search(message)
    return RequestRefused("prompt too long" if too_long else f"http {status}", message)


def message_of(body: bytes) -> str:
    """The server's own words about an error: a JSON message, or the text as it is; on one line."""
    try:
        reply = _object(orjson.loads(body))
    except orjson.JSONDecodeError:
        reply = {}
    error = reply.get("error")
    words = _object(error).get("message") or error or reply.get("message") or reply.get("detail")
    text = body.decode("utf-8", "replace") if words is None else words if isinstance(words, str) else str(words)
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:10_000]).split())


def models_of(body: bytes) -> list[str] | None:
    """The names in a list of models, as {"data": [...]} or bare; None where the body is no such list."""
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    items = reply if isinstance(reply, list) else _object(reply).get("data")
    if not isinstance(items, list):
        return None
    names = [_object(item).get("id") for item in items]
    return [name for name in names if isinstance(name, str)]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) else 0
