"""Turns as data sets write them, made messages as chat templates take them.

Names of roles and fields are translated, parts of text are joined, nulls are left out, and so is an empty system turn:
none of them says anything. Texts stay as they are, and so does the order of the turns, whoever spoke first or twice:
whether a template takes that is the template's to say. What would have to be guessed or dropped is refused.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from finetune.conversation import NotThisForm
from longreach.text.formats.fields import kind_of, names_of

Message = dict[str, Any]

ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bot", "chatbot", "ai", "bard", "bing"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
}
KEPT = ("name", "tool_call_id", "reasoning_content", "thinking")  # of a turn, beside role, content and calls
SPOKEN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")  # "Human:" inside a line is not a turn


def messages_of(turns: object) -> list[Message]:
    """The messages of a list of turns, which may also stand as JSON text, as tables hold it."""
    turns = parsed(turns)
    if isinstance(turns, Mapping):
        turns = [turns]
    if not isinstance(turns, Sequence) or isinstance(turns, str):
        raise NotThisForm("no turns", f"{kind_of(turns)} where a list of turns should be")
    made = (_message(turn, f"turn {number}") for number, turn in enumerate(turns, 1))
    return [message for message in made if message["role"] != "system" or message["content"].strip()]


def spoken(text: str) -> list[Message]:
    """The turns of a text that writes them as `\\n\\nHuman: ...\\n\\nAssistant: ...`, without the space around each;
    none of a text that does not start so, or only starts with the word `Human:`."""
    before, *pieces = SPOKEN.split(text)
    if before or not (text.startswith("\n\n") or "Assistant" in pieces[::2]):
        return []
    roles = ("user" if name == "Human" else "assistant" for name in pieces[::2])
    return [{"role": role, "content": said.strip()} for role, said in zip(roles, pieces[1::2], strict=True)]


def complete(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages, if they ask something and end with an answer, and no turn is without a text."""
    if not messages:
        raise NotThisForm("no turns", "an empty list")
    for number, message in enumerate(messages, 1):
        if message["content"].strip() or message["role"] == "tool":
            continue
        if message["role"] != "assistant":
            raise NotThisForm("empty turn", f"turn {number}, the {message['role']}'s, holds no text")
        if not message.get("tool_calls"):
            raise NotThisForm("empty answer", f"turn {number}, the assistant's, holds no text")
    if messages[-1]["role"] != "assistant":
        raise NotThisForm("no last answer", f"the last of {len(messages)} turns is the {messages[-1]['role']}'s")
    if not any(message["role"] == "user" for message in messages):
        raise NotThisForm("no question", f"no user's turn among {len(messages)}")
    return tuple(messages)


def text_of(content: object, where: str) -> str:
    """A content's text: a string, nothing, or a list of parts that are text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise NotThisForm("not text", f"{where} is {kind_of(content)}")
    return "".join(_part(part, where) for part in content)


def tools_of(value: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...] | None:
    """The tools that a row offers, also where they stand as JSON text."""
    given = parsed(value.get("tools"))
    if not given:
        return None
    if not isinstance(given, list) or not all(isinstance(tool, Mapping) for tool in given):
        raise NotThisForm("broken tools", f"{kind_of(given)} where a list of objects should be")
    return tuple(_without_nulls(tool) for tool in given)


def parsed(value: object) -> object:
    """A list or object that stands as JSON text, read; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def _message(turn: object, where: str) -> Message:
    if not isinstance(turn, Mapping):
        raise NotThisForm("no turns", f"{where} is {kind_of(turn)}")
    if turn.get("weight") == 0:
        raise NotThisForm("weight of 0", f"{where} asks not to be learnt from, which cannot be said of one turn here")
    content = next((turn[name] for name in ("content", "value", "text") if turn.get(name) is not None), None)
    message = {"role": _role(turn, where), "content": text_of(content, where)}
    message |= {name: turn[name] for name in KEPT if turn.get(name) is not None}
    calls = [*_calls(turn, where)]
    return message | {"tool_calls": calls} if calls else message


def _role(turn: Mapping[str, Any], where: str) -> str:
    given = next((turn[name] for name in ("role", "from") if turn.get(name) is not None), None)
    if given is None:
        raise NotThisForm("no role", f"{where} has the fields {names_of(turn)}")
    role = ROLES.get(given.strip().lower()) if isinstance(given, str) else None
    if role is None:
        raise NotThisForm("unknown role", f"{where} is of {given!r:.60}; known are {', '.join(ROLES)}")
    return role


def _part(part: object, where: str) -> str:
    match part:
        case {"type": str(kind), "text": str(text)} if kind.endswith("text"):
            return text
        case {"type": str(kind)}:
            raise NotThisForm("not text", f"{where} holds a part of type {kind!r:.60}")
    raise NotThisForm("not text", f"{where} holds a part that is {kind_of(part)}")


def _calls(turn: Mapping[str, Any], where: str) -> Iterator[Message]:
    """A turn's tool calls; arguments that stand as JSON text are read, since templates write them as JSON again."""
    one = parsed(turn.get("function_call"))
    calls = parsed(turn.get("tool_calls")) or ([{"type": "function", "function": one}] if one else [])
    for call in calls if isinstance(calls, list) else [calls]:
        match call:
            case {"function": {"name": str()} as function}:
                yield {**_without_nulls(call), "function": _without_nulls(function) | _arguments(function)}
            case {"name": str()}:
                yield _without_nulls(call) | _arguments(call)
            case _:
                raise NotThisForm("broken tool calls", f"{where} calls a tool that has no name")


def _arguments(function: Any) -> Message:
    return {"arguments": parsed(_without_nulls(function.get("arguments") or {}))}


def _without_nulls(value: Any) -> Any:
    """Tables give every object all fields that any row has; a null is one that this row has not."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
