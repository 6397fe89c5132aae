"""A task's prompts within a bound: cut as its suite says, and those that were cut counted.

The harness itself cuts a prompt that is too long on its left, as ids, and with it the token that begins a text. So
prompts are cut here, as text, with their examples; of a chat, what goes into its template.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from evaluation.harness.tasks.cutting import AROUND_TURN, Turn, cut_left, cut_middle, last_turns

CUTS = {"left": cut_left, "middle": cut_middle}


class Bounded:
    """Takes the place of a task's `fewshot_context`; `count` of its prompts were cut."""

    def __init__(self, task: Any, cut: Literal["left", "middle"], tokens: int, tokenizer: Any) -> None:
        self.count = 0
        self._cut, self._tokens, self._tokenizer = cut, tokens, tokenizer
        self._whole: Callable[..., Any] = task.fewshot_context
        task.fewshot_context = self

    def __call__(self, *given: Any, chat_template: Callable[..., Any] | None = None, **options: Any) -> Any:
        """The prompt of a row, or one for each of its choices; None stands for no chat."""
        if chat_template is not None:
            return self._whole(*given, chat_template=partial(self._templated, chat_template), **options)
        whole = self._whole(*given, **options)
        cut = [self._text(each) for each in whole] if isinstance(whole, list) else self._text(whole)
        self.count += cut != whole
        return cut

    def _text(self, text: str) -> str:
        return CUTS[self._cut](text, self._tokens, self._tokenizer)

    def _templated(self, template: Callable[..., Any], turns: list[Turn], **how: Any) -> Any:
        cut = self._turns(turns)
        self.count += cut != turns
        return template(cut, **how)

    def _turns(self, turns: list[Turn]) -> list[Turn]:
        """One turn loses its middle, several the first of them."""
        if self._cut == "left" or len(turns) > 1:
            return last_turns(turns, self._tokens, self._tokenizer)
        (turn,) = turns
        return [{**turn, "content": cut_middle(turn["content"], self._tokens - AROUND_TURN, self._tokenizer)}]
