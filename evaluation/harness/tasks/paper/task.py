"""The paper's long panel (Table 3), from rows of SCROLLS: its prompt, its shots, all of it cut on the left.

The context comes before the question, unlike in the rows. The first examples are the first to go.
"""

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset

from evaluation.harness.tasks.cutting import Turn, end, last_turns
from evaluation.harness.tasks.reading import Doc, Reading, one_row_each

LAST_CHOICE = "(D)"


class Paper(Reading):
    """NarrativeQA, Qasper, QMSum: a row's input is the question, an empty line, the context."""

    def prepared(self, rows: Dataset) -> Dataset:
        """Answers together."""
        return one_row_each(rows)

    def write(self, doc: Doc) -> str:
        """The paper's prompt (footnote 2), not yet cut."""
        question, context = self.parts(doc["input"])
        return f"{context} Q: {question}, A:"

    def parts(self, text: str) -> tuple[str, str]:
        """Question and context."""
        question, _, context = text.partition("\n\n")
        return question.strip(), context.strip()

    def fewshot_context(self, *given: Any, chat_template: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Examples and prompt, cut on the left; of a chat, what goes into its template."""
        if not self.prompt_tokens:
            return super().fewshot_context(*given, chat_template=chat_template, **options)
        if not self.chat or chat_template is None:
            whole = super().fewshot_context(*given, **options)
            return end(whole, self.prompt_tokens, self.tokenizer)

        def template(turns: Sequence[Turn], **how: Any) -> Any:
            return chat_template(last_turns(turns, self.prompt_tokens, self.tokenizer), **how)

        return super().fewshot_context(*given, chat_template=template, **options)


class Quality(Paper):
    """QuALITY: the choices stand between question and context, and belong to the question."""

    def parts(self, text: str) -> tuple[str, str]:
        """Question with its choices, and context."""
        last = text.index(LAST_CHOICE, text.index("\n\n"))
        question, _, context = text[last:].partition("\n\n")
        return (text[:last] + question).strip(), context.strip()
