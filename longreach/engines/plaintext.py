"""Plain text as the tokens of a prompt, alike in all engines that hold the model themselves.

A text is data: what looks like a special token in it stays the characters that it is. In front stands what the model's
texts began with in training; nothing is put behind, for the model shall go on.
"""

from functools import cached_property

from longreach.engines.base import RequestRefused
from longreach.text.tokenize import Tokenizer, load_tokenizer


class PlainText:
    """The tokenizer of a model, loaded when the first text comes: chats do not need it."""

    def __init__(self, name: str) -> None:
        self._name = name

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._name, fast=False)  # the fast way is not for several threads at once

    def ids(self, text: str) -> list[int]:
        """The tokens of the prompt."""
        tokenizer = self._tokenizer
        begin = [tokenizer.bos_id] if tokenizer.adds_bos and tokenizer.bos_id is not None else []
        ids: list[int] = begin + tokenizer.ids(text).tolist()
        if not ids:
            raise RequestRefused("empty prompt")
        return ids
