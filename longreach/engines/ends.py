"""Where each row of a batch ends: at its own number of tokens, at a stop token, or once its text holds a stop string.

A stop string may span tokens and begin in the middle of one, so text is looked at, of each row a few tokens a step.
"""

import threading
from collections.abc import Sequence
from typing import Any

import torch

from longreach.engines.stop import cut

_MORE = 8  # tokens of no text, or of half a letter, that may stand in a tail


class Ends:
    """A stopping criterion of `transformers.generate`: it stops all once `enough` rows have ended, or at `closing`."""

    def __init__(
        self,
        tokenizer: Any,
        tokens: frozenset[int],
        width: int,
        budgets: Sequence[int],
        strings: Sequence[tuple[str, ...]],
        closing: threading.Event,
        *,
        enough: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._width = width
        self._strings = strings
        self._closing = closing
        self._enough = enough
        self.lengths = list(budgets)  # in tokens, of the answers, with their stop token
        self.new = 0  # tokens of each row so far

    def __call__(self, input_ids: torch.Tensor, scores: object) -> torch.Tensor:
        """Looked at after each token."""
        self.new = new = input_ids.shape[1] - self._width
        for row, (last, strings) in enumerate(zip(input_ids[:, -1].tolist(), self._strings, strict=True)):
            if new < self.lengths[row] and (last in self._tokens or self._holds_one(input_ids[row], strings)):
                self.lengths[row] = new
        ended = sum(new >= length for length in self.lengths)
        stop = self._closing.is_set() or ended >= self._enough
        return torch.full((len(input_ids),), stop, device=input_ids.device)

    def _holds_one(self, row: torch.Tensor, stops: tuple[str, ...]) -> bool:
        """The tail tells, unless its beginning misleads it."""
        if not stops:
            return False
        answer = row[self._width :]
        tail = answer[-max(len(stop.encode()) for stop in stops) - _MORE :]
        return cut(self._text(tail), stops) is not None and cut(self._text(answer), stops) is not None

    def _text(self, tokens: torch.Tensor) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text
