"""ZeroSCROLLS: the prompt is in its rows; of one that is too long, the document loses its end and the query stays.

Base models get the row's whole input, down to the words that the answer begins after. Chat models get it without those
words and, where the answer is short, with the request for nothing but it behind the instruction: as its authors ask.
"""

from datasets import Dataset

from evaluation.harness.tasks.cutting import fitted
from evaluation.harness.tasks.reading import Doc, Reading, one_row_each


class ZeroScrolls(Reading):
    """Any of the ten."""

    def prepared(self, rows: Dataset) -> Dataset:
        """Answers together."""
        return one_row_each(rows)

    def write(self, doc: Doc) -> str:
        """Instruction, document and query."""
        text, query = doc["input"], doc["query_start_index"]
        before, asked = text[:query], text[query : doc["query_end_index"] if self.chat else None]
        if self.chat and (request := self.config.metadata.get("chat_request")):
            before = with_request(before, request)

        def written(kept: str) -> str:
            return kept + asked if kept == before else f"{kept}{doc['truncation_seperator']}{asked}"

        return fitted(written, before, self.prompt_tokens, self.tokenizer)


def with_request(text: str, request: str) -> str:
    """A request behind the first paragraph, which is the instruction."""
    instruction, gap, rest = text.partition("\n\n")
    return f"{instruction.strip()} {request}{gap}{rest}"
