"""A chat template as what it is: a program that writes a conversation down.

Templates come with models and are run by transformers, in a sandbox. Whatever one raises is about the conversation it
was given, so it is no bug of ours: `Unfit`, with the template's own words and the line they came from.
"""

import re
import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

Messages = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]] | None

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
TROUBLE = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Unfit(Exception):
    """A conversation that cannot be trained on. `reason` is two or three words, counted; `detail` is for a person."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Rendering:
    """A tokenizer's chat template. Where it writes the date, that is the day of `__init__` in every conversation."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._names = {**tokenizer.special_tokens_map, "strftime_now": datetime.now().strftime}

    def text(self, messages: Messages, tools: Tools, *, prompt: bool = False) -> str:
        """The conversation written down; with `prompt`, up to where an assistant is to speak."""
        return self._run(messages, tools, prompt, track=False)[0]

    def tagged(self, messages: Messages, tools: Tools) -> tuple[str, list[tuple[int, int]] | None]:
        """The same, and the characters between {% generation %} and {% endgeneration %}; None without such tags."""
        return self._run(messages, tools, False, track=bool(GENERATION.search(self.template(tools))))

    def template(self, tools: Tools) -> str:
        """Some tokenizers have several, one of them for conversations with tools."""
        template: str = self._tokenizer.get_chat_template(tools=tools)
        return template

    def _run(
        self, messages: Messages, tools: Tools, prompt: bool, *, track: bool
    ) -> tuple[str, list[tuple[int, int]] | None]:
        try:
            texts, tagged = render_jinja_template(
                [[_said(message) for message in messages]],
                tools=[dict(tool) for tool in tools] if tools else None,
                chat_template=self.template(tools),
                return_assistant_tokens_mask=track,
                add_generation_prompt=prompt,
                **self._names,
            )
        except TROUBLE as error:
            raise Unfit("template error", explained(error)) from error
        return texts[0], tagged[0] if track else None


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose content a template can write: nothing is no text, which many write as "None"."""
    if message.get("content") is None and not message.get("tool_calls"):
        return {**message, "content": ""}
    return dict(message)


def explained(error: Exception) -> str:
    """What a template says, and its line."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else lines[-1] if lines else None
    says = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"line {line}: {says}" if line else says
