"""The forms that rows of chats, questions and preferences have, each read as a conversation.

A form is told by the fields of a row. Where two fit, the more specific one is taken: records before preferences before
turns before single questions. Fields beside those of the form say where a row came from and are not read.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from finetune.conversation import Context, Conversation, NotThisForm
from finetune.evidence import context_of
from finetune.turns import Message, complete, messages_of, parsed, spoken, text_of, tools_of
from longreach.record import Span
from longreach.text.formats.fields import kind_of, names_of

Row = Mapping[str, Any]

CHATS = ("messages", "conversations", "conversation")
QUESTIONS: Mapping[str, tuple[str, ...]] = {  # the fields that may hold the question, by form
    "alpaca": ("instruction",),
    "prompt-completion": ("prompt",),
    "question-answer": ("question", "instruction", "query", "input"),
    "preference": ("prompt", "question", "instruction", "query", "input"),
}
ANSWERS: Mapping[str, tuple[str, ...]] = {
    "alpaca": ("output",),
    "prompt-completion": ("completion", "response"),
    "question-answer": ("answer", "answers", "response", "output"),
}
CONTEXTS = ("context", "document", "passage", "input")  # `input` follows the question, the others come before it
SYSTEMS = ("system", "system_prompt")
FORMS: Mapping[str, tuple[tuple[str, ...], ...]] = {  # one field of each group must be there; the most specific first
    "record": (("messages",), ("document",), ("context",)),
    "preference": (("chosen",),),
    "messages": (CHATS,),
    **{name: (QUESTIONS[name], ANSWERS[name]) for name in ANSWERS},
}
WANTED = "messages; conversations; instruction, output; prompt, completion; question, answer; or chosen, rejected"
APART = "\n\n"  # between a context and the question
NOTHING = (None, "")
A_TURN = {"role", "content"}  # by which a list in JSON text is told from an answer that is JSON


def recognise(value: Row) -> str:
    """The name of the form that a row has; empty if none. A null field counts only where nothing else would fit."""
    filled = {name for name, given in value.items() if given is not None}
    for fields in (filled, value.keys()):
        for form, groups in FORMS.items():
            if all(any(name in fields for name in group) for group in groups) and _is_meant(value, form):
                return "sharegpt" if form == "messages" and _is_sharegpt(value) else form
    return ""


def read(value: Row, form: str) -> Conversation:
    """The row as a conversation, read in this form; NotThisForm where that cannot be."""
    match form:
        case "record":
            return _record(value)
        case "messages" | "sharegpt":
            return _conversation(value, messages_of(_first(value, CHATS)[1]))
        case "preference":
            return _preference(value)
        case "alpaca" | "prompt-completion" | "question-answer":
            return _single(value, form)
    raise NotThisForm("unknown form", f"its fields are {names_of(value)}; wanted are {WANTED}")


def _is_meant(value: Row, form: str) -> bool:
    """Whether the fields hold what this form has in them, as far as others use the same names."""
    if form == "record":
        return isinstance(value.get("document"), Mapping) and isinstance(value.get("context"), Mapping)
    if form == "messages":
        given = _first(value, CHATS)[1]
        return given is None or isinstance(parsed(given), list)
    return True


def _is_sharegpt(value: Row) -> bool:
    turns = parsed(_first(value, CHATS)[1])
    return isinstance(turns, list) and any(isinstance(turn, Mapping) and "from" in turn for turn in turns[:1])


def _first(value: Row, names: Sequence[str]) -> tuple[str, Any]:
    """The first of the fields that holds anything, and what it holds."""
    return next(((name, value[name]) for name in names if value.get(name) not in NOTHING), ("", None))


def _conversation(
    value: Row, messages: list[Message], context: Context | None = None, document: str = ""
) -> Conversation:
    """With the system prompt that stands in a field of its own, and the tools."""
    name, given = _first(value, SYSTEMS)
    system = text_of(given, f"the field {name!r}")
    if system.strip() and messages[:1] != [{"role": "system", "content": system}]:
        if any(message["role"] == "system" for message in messages):
            raise NotThisForm("two system prompts", f"a turn and the field {name!r}, and they differ")
        messages = [{"role": "system", "content": system}, *messages]
        context = context and replace(context, message=context.message + 1)
    own = value.get("id")
    name = str(own) if isinstance(own, str | int) else ""
    return Conversation(complete(messages), tools_of(value), name, document, context)


def _record(value: Row) -> Conversation:
    messages = messages_of(value.get("messages"))
    document = value.get("document")
    sha256 = document.get("sha256") if isinstance(document, Mapping) else None
    if not isinstance(sha256, str) or not sha256:
        raise NotThisForm("broken record", "its document has no sha256")
    return _conversation(value, messages, context_of(messages, value), sha256)


def _preference(value: Row) -> Conversation:
    """The chosen side, after the prompt where that stands apart."""
    given = value.get("chosen")
    chosen = (spoken(given) if isinstance(given, str) else []) or _said(given, "assistant", "chosen")
    prompt, context, document = _prompt(value, "preference")
    if not prompt or _repeats(chosen, prompt):
        return _conversation(value, chosen)
    if chosen and chosen[0]["role"] != "assistant":
        raise NotThisForm("two prompts", "the chosen side starts with a prompt, which differs from the one beside it")
    return _conversation(value, prompt + chosen, context, document)


def _repeats(chosen: list[Message], prompt: list[Message]) -> bool:
    """Whether the chosen side starts with the prompt or, where that is a single text, holds it."""
    if chosen[: len(prompt)] == prompt:
        return True
    texts = [message["content"].strip() for message in chosen if message["role"] == "user"]
    return len(prompt) == 1 and prompt[0]["content"].strip() in texts


def _single(value: Row, form: str) -> Conversation:
    """A question, perhaps about a context, and its answer."""
    if value.get("label") is False:
        raise NotThisForm("unwanted answer", "its label is false: an answer not to be given")
    name, given = _first(value, ANSWERS[form])
    prompt, context, document = _prompt(value, form)
    answer, start = _answer(given)
    if context and isinstance(answer, str) and isinstance(start, int):
        place = Span(context.start + start, context.start + start + len(answer))
        inside = Span(context.start, context.end).holds(place)
        found = inside and place.of(prompt[context.message]["content"]) == answer
        context = replace(context, keep=(place,)) if found else context
    return _conversation(value, prompt + _said(answer, "assistant", name), context, document)


def _answer(given: object) -> tuple[object, object]:
    """An answer and where in the context it stands, if told. Of several, the first: the others are other wordings."""
    match given:
        case {"text": list(texts), "answer_start": list(starts)}:
            return next(zip(texts, starts, strict=False), ("", None))
        case [{"text": str(text), "answer_start": start}, *_]:
            return text, start
        case [str(text), *_]:
            return text, None
        case []:
            return "", None
    return given, None


def _prompt(value: Row, form: str) -> tuple[list[Message], Context | None, str]:
    """What stands before the answer, the context in it, and the hash of that."""
    name, given = _first(value, QUESTIONS[form])
    asked = _waiting(given) or _said(given, "user", name) if name else []
    history = list(_history(value))
    texts = {each: text for each in CONTEXTS if each != name and (text := _passages(value.get(each), each)).strip()}
    if not asked or not texts:
        return history + asked, None, ""
    if len(texts) > 1:
        raise NotThisForm("two contexts", f"in the fields {' and '.join(texts)}")
    [(field, text)] = texts.items()
    if len(asked) > 1:
        raise NotThisForm("two contexts", f"the field {name!r} holds turns, and {field!r} has its text apart")
    question = asked[0]["content"]
    parts = (question, text) if field == "input" else (text, question)
    start = len(question) + len(APART) if field == "input" else 0
    turn = {"role": "user", "content": APART.join(parts)}
    document = hashlib.sha256(text.encode("utf-8")).hexdigest()
    return [*history, turn], Context(len(history), start, start + len(text)), document


def _passages(given: object, field: str) -> str:
    """The text of a context, which may come in pieces."""
    if isinstance(given, list) and all(isinstance(piece, str) for piece in given):
        return APART.join(given)
    return text_of(given, f"the field {field!r}")


def _said(given: object, role: str, field: str) -> list[Message]:
    """The turns of a list of them, also as JSON text, or the one turn that a text is."""
    if isinstance(given, list) or (isinstance(given, Mapping) and given.keys() & {"role", "from"}):
        return messages_of(given)
    if given is not None and not isinstance(given, str):
        raise NotThisForm("not text", f"the field {field!r} is {kind_of(given)}")
    turns = parsed(given)
    if isinstance(turns, list) and turns and all(isinstance(turn, dict) and turn.keys() >= A_TURN for turn in turns):
        return messages_of(turns)
    return [{"role": role, "content": given or ""}]


def _waiting(given: object) -> list[Message]:
    """The turns of a prompt that is written as Human and Assistant and waits for an answer; none of any other."""
    turns = spoken(given) if isinstance(given, str) else []
    if turns and turns[-1] == {"role": "assistant", "content": ""}:
        turns.pop()
    return turns if turns and turns[-1]["role"] == "user" else []


def _history(value: Row) -> Iterator[Message]:
    """Earlier turns of a single question: pairs of what was asked and answered."""
    pairs = parsed(value.get("history")) or []
    if not isinstance(pairs, list):
        raise NotThisForm("broken history", f"{kind_of(pairs)} where a list of pairs should be")
    for pair in pairs:
        match pair:
            case [str(asked), str(answered)]:
                yield {"role": "user", "content": asked}
                yield {"role": "assistant", "content": answered}
            case _:
                raise NotThisForm("broken history", f"{pair!r:.80} is no pair of question and answer")
