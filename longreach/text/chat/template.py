"""Conversations to tokens, by a model's own chat template, and which of them are an assistant's words.

A conversation is rendered whole and encoded whole, so the ids are those that the model will see when it is asked. What
is learnt is found by `turns.py`; a token belongs to an answer if it holds a character of it that is no blank. A special
token's name in a message is text, never the token.

Nearly all the time goes to tokenizers, on as many cores as TOKENIZERS_PARALLELISM allows. A template that cannot do its
part is refused here, before any data is read.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, ParamSpec, TypeVar

import numpy as np
import tokenizers
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from longreach.errors import UserError
from longreach.text.chat.habits import MEND, look
from longreach.text.chat.llama2 import LLAMA2
from longreach.text.chat.marks import HIDDEN, Marks
from longreach.text.chat.outline import Outline
from longreach.text.chat.rendering import Messages, Rendering, Tools
from longreach.text.chat.rendering import Unfit as Unfit  # what encode_batch gives and encode raises
from longreach.text.chat.turns import Turns

T = TypeVar("T")
Given = ParamSpec("Given")
WORDS = {
    "system": "Answer in a few words.",
    "user": "What grows in the garden?",
    "assistant": "Apples, and some cherries.",
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation in tokens. Token i begins at character `starts[i]` of the text, of which character
    `origins[m] + c` is character c of message m's content; None where the template does not write it as it is."""

    ids: NDArray[np.uint32]
    answer: NDArray[np.bool_]  # the assistant's: content and end-of-turn token, never the header
    contents: list[tuple[int, int]]  # the tokens of each message's content; (-1, -1) where it has none of its own
    starts: NDArray[np.int32]
    origins: list[int | None]


@dataclass(frozen=True, slots=True)
class Laid:
    """A rendered conversation: where each part of its outline begins in the text, and its end."""

    text: str
    outline: Outline
    borders: Sequence[int]
    contents: Sequence[str]

    def with_hidden_names(self) -> "Laid":
        """The same with the template's special tokens called by names that no text has."""
        if HIDDEN in self.text:
            raise Unfit("special token in text", "and a NUL character, which texts may not have then")
        stretches = pairwise(self.borders)
        texts = [
            HIDDEN + part.name if part.name else self.text[start:end]
            for part, (start, end) in zip(self.outline.parts, stretches, strict=True)
        ]
        return Laid("".join(texts), self.outline, [0, *accumulate(map(len, texts))], self.contents)

    def encoded(self, ids: NDArray[np.uint32], offsets: list[tuple[int, int]]) -> Encoded:
        """With the tokens of the text, and their characters."""
        starts = np.array([start for start, _ in offsets], np.int32)
        if (starts[1:] < starts[:-1]).any():
            raise Unfit("tokens out of order", "the tokenizer does not say which characters its tokens are")
        answer = np.zeros(len(ids), np.bool_)
        for first, end in self.outline.answers:
            answer[slice(*self.tokens(offsets, first, end))] = True
        contents = [(-1, -1)] * len(self.contents)
        origins: list[int | None] = [None] * len(self.contents)
        for place, part in enumerate(self.outline.parts):
            if part.message >= 0:
                contents[part.message] = self.tokens(offsets, place, place + 1)
                origins[part.message] = self._origin(place, self.contents[part.message])
        return Encoded(ids, answer, contents, starts, origins)

    def _origin(self, place: int, content: str) -> int | None:
        """Where the content would begin in the text if nothing were trimmed off."""
        start, end = self.borders[place : place + 2]
        written = self.text[start:end]
        cut = (len(content) - len(content.lstrip(blanks)) for blanks in ("\n", None))
        return next((start - lead for lead in (0, *cut) if content.startswith(written, lead)), None)

    def tokens(self, offsets: Sequence[tuple[int, int]], first: int, end: int) -> tuple[int, int]:
        """The tokens [first, end) of parts: those that begin there, and those that hold a character of it, no blank."""
        start, stop = self.borders[first], self.borders[end]
        begin = bisect_left(offsets, (start,))
        while begin and offsets[begin - 1][1] > start and self.text[start : min(stop, offsets[begin - 1][1])].strip():
            begin -= 1
        behind = bisect_left(offsets, (stop,), begin)
        while behind > begin and offsets[behind - 1][1] > stop:
            if self.text[max(start, offsets[behind - 1][0]) : stop].strip():
                break
            behind -= 1
        return begin, behind


class ChatTemplate:
    """A tokenizer with its chat template. `notes` are to be said aloud; `end_ids` are where generation has to stop."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self._rendering = Rendering(tokenizer)
        self._marks = Marks(tokenizer)
        seen = look(self._rendering, self._marks, tokenizer.eos_token_id)
        self.notes = seen.notes
        self.end_ids = seen.habits.ends | {tokenizer.eos_token_id}
        self._turns = Turns(self._rendering, self._marks, seen.habits)
        talk = [{"role": role, "content": WORDS[role]} for role in seen.roles]
        try:
            self.notes += self._tried(talk)
        except Unfit as flaw:
            self.notes += [f"the template is for one question and answer: {flaw}", *self._tried_short(talk[-2:])]

    def text(self, messages: Messages, tools: Tools = None, *, prompt: bool = False) -> str:
        """The conversation as the template writes it; with `prompt`, up to where an assistant is to speak."""
        return self._rendering.text(messages, tools, prompt=prompt)

    def encode(self, messages: Messages, tools: Tools = None) -> Encoded:
        """One conversation; raises Unfit."""
        laid = self._laid(messages, tools)
        return self._encoded(laid, next(self._marks.encodings([laid.text])))

    def encode_batch(self, talks: Sequence[tuple[Messages, Tools]]) -> list[Encoded | Unfit]:
        """Many conversations, messages and tools of each."""
        laid = [_or_unfit(self._laid, messages, tools) for messages, tools in talks]
        encodings = self._marks.encodings([each.text for each in laid if isinstance(each, Laid)])
        return [each if isinstance(each, Unfit) else _or_unfit(self._encoded, each, next(encodings)) for each in laid]

    def prompt(self, messages: Messages, tools: Tools = None) -> list[int]:
        """The ids that an assistant's answer to these messages comes after; raises Unfit."""
        laid = self._laid(messages, tools, prompt=True)
        ids: list[int] = self._encoded(laid, next(self._marks.encodings([laid.text]))).ids.tolist()
        return ids

    def _laid(self, messages: Messages, tools: Tools, *, prompt: bool = False) -> Laid:
        """Where a template changes what an assistant says, or any text, its turns are still known by their prompts."""
        contents = [_content(message) for message in messages]
        text = self._rendering.text(messages, tools, prompt=prompt)
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise Unfit("broken text", "half a surrogate pair, which no encoding has") from error
        filled = [number for number, content in enumerate(contents) if content.strip()]
        others = [number for number in filled if messages[number].get("role") != "assistant"]
        for hidden in (filled, others, []):
            outline = self._turns.outline(messages, tools, hidden, prompt=prompt)
            borders = outline.borders(text, contents)
            if borders:
                return Laid(text, outline, borders, contents)
        raise Unfit("template rewrites text", "what it writes changes from one time to the next")

    def _encoded(self, laid: Laid, encoding: tokenizers.Encoding) -> Encoded:
        """Its tokens, of which the special ones are the template's alone."""
        ids = np.array(encoding.ids, np.uint32)
        if self._marks.special(ids) != laid.outline.special:
            laid = laid.with_hidden_names()
            encoding = next(self._marks.encodings([laid.text], hidden=True))
            ids = np.array(encoding.ids, np.uint32)
            if self._marks.special(ids) != laid.outline.special:
                raise Unfit("special token in text", "the tokenizer cannot tell it from the template's")
        return laid.encoded(ids, encoding.offsets)

    def _tried(self, talk: Messages) -> list[str]:
        """Whether the prompt for the last turn is how the whole begins, in tokens."""
        whole, prompt = self.encode(talk), self.prompt(talk[:-1])
        before = whole.ids[: whole.contents[-1][0]].tolist()
        if not whole.answer[len(before) :].any():
            raise Unfit("empty mask", "nothing would be learnt")
        if prompt == before[: len(prompt)]:
            return []
        ends = (repr(self.tokenizer.decode(ids[-3:])) for ids in (prompt, before))
        return ["prompts end in {}, what is learnt comes after {}: other tokens".format(*ends)]

    def _tried_short(self, talk: Messages) -> list[str]:
        """The same of the last exchange alone, without which there is no training."""
        try:
            return self._tried(talk)
        except Unfit as flaw:
            raise UserError(f"the chat template fails on a plain question and answer: {flaw}", MEND) from flaw


def _or_unfit(make: Callable[Given, T], *given: Given.args, **named: Given.kwargs) -> T | Unfit:
    """What is made, or why it is not."""
    try:
        return make(*given, **named)
    except Unfit as flaw:
        return flaw


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None:
        return ""
    if not isinstance(content, str):
        raise Unfit("content is no text", f"but a {type(content).__name__}")
    return content


def open_chat(tokenizer: PreTrainedTokenizerBase) -> ChatTemplate:
    """The chat template of a tokenizer, looked at and ready; Llama 2's where it has none, to be saved with it."""
    if not tokenizer.is_fast:
        raise UserError(
            "the tokenizer has no tokenizer.json: where tokens begin in a text is known by no other",
            "save it in that form: AutoTokenizer.from_pretrained(..., use_fast=True).save_pretrained(...)",
        )
    if tokenizer.eos_token_id is None:
        raise UserError(
            "the tokenizer has no end token: a model would never learn to stop",
            'name it in tokenizer_config.json: "eos_token": "</s>"',
        )
    notes = []
    if tokenizer.chat_template is None:
        tokenizer.chat_template = LLAMA2
        notes = ["no chat template: Llama 2's is used and saved with the model"]
    chat = ChatTemplate(tokenizer)
    chat.notes[:0] = notes
    return chat
