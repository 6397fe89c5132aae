"""The paper's long panel (Table 3), from rows of SCROLLS: its prompt and its shots.

The context comes before the question, unlike in the rows. The suite has all of it cut on the left, so the first
examples are the first to go.
"""

from datasets import Dataset

from evaluation.harness.tasks.reading import Doc, Reading, one_row_each
from longreach.errors import UserError

LAST_CHOICE = "(D)"


class Paper(Reading):
    """NarrativeQA, Qasper, QMSum: a row's input is the question, an empty line, the context."""

    def prepared(self, rows: Dataset) -> Dataset:
        """Answers together."""
        return one_row_each(rows)

    def write(self, doc: Doc) -> str:
        """The paper's prompt (footnote 2)."""
        question, context = self.parts(doc["input"])
        if not context:
            raise UserError(
                f"{self.config.task}: the input of {doc['id']} is not question, empty line, context",
                "the data have the form of tau/scrolls",
            )
        return f"{context} Q: {question}, A:"

    def parts(self, text: str) -> tuple[str, str]:
        """Question and context; no context where they cannot be told apart."""
        question, _, context = text.partition("\n\n")
        return question.strip(), context.strip()


class Quality(Paper):
    """QuALITY: the choices stand between question and context, and belong to the question."""

    def parts(self, text: str) -> tuple[str, str]:
        """Question with its choices, and context."""
        question, gap, rest = text.partition("\n\n")
        choices, last, rest = rest.partition(LAST_CHOICE)
        ending, _, context = rest.partition("\n\n")
        return f"{question}{gap}{choices}{last}{ending}".strip(), context.strip()
