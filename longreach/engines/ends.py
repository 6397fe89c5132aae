"""Where each row of a batch ends: at its own number of tokens, or once its text holds one of its stop strings.

A stop string may span tokens and begin in the middle of one, so text is looked at, of each row a few tokens a step.
"""

import threading
from collections.abc import Sequence
from typing import Any

import torch

from longreach.engines.base import Sampling
from longreach.engines.stop import cut

_MORE = 8  # tokens of no text, or of half a letter, that may stand in a tail


class Ends:
    """A stopping criterion of `transformers.generate`: which rows are done. All are, once `closing` is set."""

    def __init__(
        self,
        tokenizer: Any,
        width: int,
        budgets: Sequence[int],
        samplings: Sequence[Sampling],
        closing: threading.Event,
    ) -> None:
        self._tokenizer = tokenizer
        self._width = width
        self._stops = [sampling.stop for sampling in samplings]
        self._closing = closing
        self.lengths = list(budgets)  # in tokens, of the answers

    def __call__(self, input_ids: torch.Tensor, scores: object) -> torch.Tensor:
        """Looked at after each token."""
        new = input_ids.shape[1] - self._width
        for row, stops in enumerate(self._stops):
            if stops and new < self.lengths[row] and self._holds_one(input_ids[row, self._width :], stops):
                self.lengths[row] = new
        done = [self._closing.is_set() or new >= length for length in self.lengths]
        return torch.tensor(done, device=input_ids.device)

    def _holds_one(self, answer: torch.Tensor, stops: tuple[str, ...]) -> bool:
        """The tail tells, unless its beginning misleads it."""
        tail = answer[-max(len(stop.encode()) for stop in stops) - _MORE :]
        return cut(self._text(tail), stops) is not None and cut(self._text(answer), stops) is not None

    def _text(self, tokens: torch.Tensor) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return text
