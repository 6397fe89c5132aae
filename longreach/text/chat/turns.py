"""Whose turn is where: the outline of a conversation, from what its template does with placeholders.

What is learnt of an assistant's turn is what a model has to write after the generation prompt: the content, calls of
tools, and all up to the first end-of-turn token. Where the template says so itself, by {% generation %} tags, they
choose the turns; a header inside them is left out, an end token outside of them is learnt all the same.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import orjson

from longreach.text.chat.marks import Marks
from longreach.text.chat.outline import OPEN, Outline, Part, placeholder, placeholders
from longreach.text.chat.rendering import Messages, Rendering, Tools, Unfit

SHAPES = 256  # outlines remembered: of chats with so many turns, with and without a system text
SHAPE_BYTES = 1 << 14  # no longer ones, which hold texts


@dataclass(frozen=True, slots=True)
class Habits:
    """What one look at a template told of it."""

    ends: frozenset[int] = frozenset()  # tokens that end a turn
    header: str = ""  # begins an assistant's turn, although the generation prompt lacks it
    early: bool = False  # the template writes more of an answer than its content, before it


@dataclass(frozen=True, slots=True)
class Draft:
    """A conversation rendered with placeholders, and where they and the special tokens are: start, end, number."""

    messages: Sequence[Mapping[str, Any]]
    tools: Tools
    text: str
    tagged: Sequence[tuple[int, int]] | None  # by {% generation %}
    slots: Sequence[tuple[int, int, int]]
    special: Sequence[tuple[int, int, int]]

    def end_of_turn(self, after: int, ends: frozenset[int]) -> int | None:
        """Behind the first end token from a position on, if no content comes before it."""
        until = min((start for start, _, _ in self.slots if start >= after), default=len(self.text))
        found = (end for start, end, token in self.special if after <= start < until and token in ends)
        return next(found, None)


class Turns:
    """Makes outlines of conversations, as one template writes them."""

    def __init__(self, rendering: Rendering, marks: Marks, habits: Habits) -> None:
        self._rendering = rendering
        self._marks = marks
        self._habits = habits
        self._remembered = lru_cache(SHAPES)(self._outline)

    def outline(self, messages: Messages, tools: Tools, hidden: Iterable[int], *, prompt: bool = False) -> Outline:
        """The outline, with placeholders for the contents of the `hidden` messages; with `prompt`, of a prompt."""
        veiled = [dict(message) for message in messages]
        for number in hidden:
            veiled[number]["content"] = placeholder(number)
        try:
            asked = orjson.dumps([veiled, tools, prompt])
        except TypeError as error:
            raise Unfit("no JSON", str(error)) from error
        return self._remembered(asked) if len(asked) <= SHAPE_BYTES else self._outline(asked)

    def _outline(self, asked: bytes) -> Outline:
        messages, tools, prompt = orjson.loads(asked)
        self._refuse_special_names([messages, tools])
        draft = drafted(self._rendering, self._marks, messages, tools, prompt=prompt)
        _refuse_dropped(draft)
        return _outlined(draft, [] if prompt else self._learnt(draft), self._marks)

    def _refuse_special_names(self, value: Any) -> None:
        """Only contents behind placeholders may hold such names: they are encoded apart."""
        shown = [text for text in _strings(value) if not placeholders(text)]
        if name := self._marks.named_in(shown):
            raise Unfit("special token in text", f"{name} stands where it cannot be told from the template's")
        if any(chr(OPEN) in text for text in shown):
            raise Unfit("private-use character", f"U+{OPEN:X} is used as a placeholder")

    def _learnt(self, draft: Draft) -> list[tuple[int, int]]:
        """The characters that are learnt."""
        spans = list(self._turns(draft) if draft.tagged is None else self._tagged_turns(draft, draft.tagged))
        if not spans:
            raise Unfit("no answer", "no turn that could be learnt")
        return spans

    def _turns(self, draft: Draft) -> Iterator[tuple[int, int]]:
        for number, message in enumerate(draft.messages):
            if message.get("role") == "assistant":
                start, end = self._turn(draft, number)
                _refuse_lost(_names(message.get("tool_calls")), draft.text[start:end], "tool calls")
                yield start, end

    def _turn(self, draft: Draft, number: int) -> tuple[int, int]:
        places = [slot for slot in draft.slots if slot[2] == number]
        if len(places) > 1:
            raise Unfit("template repeats text", f"what the assistant says in turn {number + 1}")
        start = self._start(draft, *places[0]) if places else self._prompted(draft, number)
        end = draft.end_of_turn(places[0][1] if places else start, self._habits.ends)
        if end is None:
            raise Unfit("no end token", f"the template puts none after turn {number + 1}")
        return start, end

    def _tagged_turns(self, draft: Draft, tagged: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for start, end in tagged:
            inside = [slot for slot in draft.slots if slot[0] < end and slot[1] > start]
            if any(slot[0] < start or slot[1] > end for slot in inside):
                raise Unfit("generation tags", "they stand within a text")
            if any(draft.messages[number].get("role") != "assistant" for _, _, number in inside):
                raise Unfit("generation tags", "they stand around what is not the assistant's")
            begin = max(start, self._start(draft, *inside[0])) if inside else start
            last = draft.end_of_turn(inside[-1][1] if inside else start, self._habits.ends)
            yield begin, last or end

    def _start(self, draft: Draft, start: int, _end: int, number: int) -> int:
        """Where a turn begins to be learnt whose content begins at `start`."""
        if not self._habits.early:
            return start
        try:
            return min(start, self._prompted(draft, number))
        except Unfit:
            return start

    def _prompted(self, draft: Draft, number: int) -> int:
        """Where a turn begins, by what the prompt for it is."""
        if not number:
            raise Unfit("no prompt", "the assistant speaks first, without a content of its own")
        prompt = self._rendering.text(draft.messages[:number], draft.tools, prompt=True) + self._habits.header
        if not draft.text.startswith(prompt):
            raise Unfit("template rewrites text", f"the prompt for turn {number + 1} is not how the whole begins")
        return len(prompt)


def drafted(rendering: Rendering, marks: Marks, messages: Messages, tools: Tools, *, prompt: bool = False) -> Draft:
    """Render messages that hold placeholders."""
    if prompt:
        text, tagged = rendering.text(messages, tools, prompt=True), None
    else:
        text, tagged = rendering.tagged(messages, tools)
    return Draft(messages, tools, text, tagged, placeholders(text), marks.places(text))


def _outlined(draft: Draft, learnt: Sequence[tuple[int, int]], marks: Marks) -> Outline:
    """Cut the text where anything begins or ends."""
    whole = {start: (end, Part(draft.text[start:end], message=number)) for start, end, number in draft.slots}
    for start, end, token in draft.special:
        whole[start] = (end, Part(draft.text[start:end], name=marks.names[token]))
    cuts = {0, len(draft.text), *whole, *(end for end, _ in whole.values()), *(cut for span in learnt for cut in span)}
    borders = sorted(cuts)
    parts = []
    for start, end in pairwise(borders):
        stretch, part = whole.get(start, (end, Part(draft.text[start:end])))
        if stretch != end:
            raise Unfit("generation tags", f"they stand within {part.name or 'a text'}")
        parts.append(part)
    at = {border: number for number, border in enumerate(borders)}
    answers = tuple((at[start], at[end]) for start, end in learnt)
    return Outline(tuple(parts), answers, tuple(token for _, _, token in draft.special))


def _refuse_dropped(draft: Draft) -> None:
    """Texts and tools that a template leaves out would be missed by nobody."""
    there = {number for _, _, number in draft.slots}
    for number, message in enumerate(draft.messages):
        if number not in there and placeholders(str(message.get("content"))):
            raise Unfit("template drops text", f"of turn {number + 1}, role {message.get('role')}")
    _refuse_lost(_names(draft.tools), draft.text, "tools")


def _refuse_lost(names: Iterable[str], text: str, what: str) -> None:
    if lost := next((name for name in names if name not in text), ""):
        raise Unfit(f"template drops {what}", f"{lost} is not in the text")


def _names(tools: Any) -> Iterator[str]:
    """The names of functions, declared or called."""
    for tool in tools or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function["name"]


def _strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings([*value, *value.values()])
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
