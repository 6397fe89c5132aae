"""L-Eval: many questions to each document, which loses its end where the prompt is too long.

The wording around document and question is ours (L-Eval's is under the GPL) and stands in the task files; questions on
open answers say how many words are wanted, as there. Rows whose answers people or models judge are not asked.
"""

from datasets import Dataset

from evaluation.harness.tasks.cutting import fitted
from evaluation.harness.tasks.reading import Doc, Reading
from longreach.errors import UserError

SCORED = ("exam", "f1")  # of the evaluations that a row may name


class LEval(Reading):
    """Any of the six."""

    def prepared(self, rows: Dataset) -> Dataset:
        """A row for each question."""
        asked = [
            {"input": row["input"], "question": question, "outputs": [answer]}
            for row in rows
            if row["evaluation"] in SCORED
            for question, answer in zip(row["instructions"], row["outputs"], strict=True)
        ]
        if not asked:
            raise UserError(f"{self.config.task}: no row is evaluated by {' or '.join(SCORED)}")
        return Dataset.from_list(asked)

    def write(self, doc: Doc) -> str:
        """Instruction, document and question."""
        words = len(doc["outputs"][0].split())
        before, asked = (self.config.metadata[part] for part in ("before", "asked"))
        after = asked.format(question=doc["question"], words=words)
        return fitted(
            lambda kept: f"{before}\n\n{kept}\n\n{after}", doc["input"].strip(), self.prompt_tokens, self.tokenizer
        )
