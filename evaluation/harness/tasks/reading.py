"""A task of the harness whose prompts are long documents: what those of this folder have in common.

Those that cut their documents themselves find the longest prompt, in tokens, and the tokenizer that counts them in
their config's metadata (`prompt_tokens`, 0 for no bound; `tokenizer`, a folder or hub id). A chat model ends its own
answers, a base model is stopped.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from datasets import Dataset
from lm_eval.api.task import ConfigurableTask

from evaluation.harness.tasks.cutting import counting_tokenizer
from longreach.errors import UserError

Config = Mapping[str, Any]
Doc = Mapping[str, Any]


class Reading(ConfigurableTask):  # type: ignore[misc]  # the harness has no types
    """A family of tasks gives `prepared`, the rows that are asked one by one, and `write`, the prompt."""

    chat = False
    dataset: Mapping[str, Dataset]  # by split

    def __init__(self, config: Config) -> None:
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    @property
    def prompt_tokens(self) -> int:
        """Of the longest prompt; 0: no bound."""
        return int(self.config.metadata.get("prompt_tokens", 0))

    @property
    def tokenizer(self) -> Any:
        """By which prompts are counted."""
        return counting_tokenizer(self.config.metadata.get("tokenizer", ""))

    @abstractmethod
    def prepared(self, rows: Dataset) -> Dataset:
        """One row for each question, its right answers in `outputs`."""

    @abstractmethod
    def write(self, doc: Doc) -> str:
        """What is asked."""

    def download(self, *given: Any, **options: Any) -> None:
        """Read the data, and prepare them once: the harness asks for its documents again and again."""
        super().download(*given, **options)
        self.dataset = {split: self.prepared(rows) for split, rows in self.dataset.items()}

    def fewshot_docs(self) -> Any:
        """None are read where no examples are shown: the harness would hold them all in memory."""
        return super().fewshot_docs() if self.config.num_fewshot else None

    def build_all_requests(self, **options: Any) -> None:
        """Take note of how the model is asked."""
        self.chat = bool(options.get("apply_chat_template"))
        super().build_all_requests(**options)

    def doc_to_text(self, doc: Doc, *_: Any) -> str:
        """The prompt."""
        return self.write(doc)

    def doc_to_target(self, doc: Doc, *_: Any) -> list[str]:
        """All right answers; an example shows the first."""
        return list(doc["outputs"])

    def construct_requests(self, doc: Doc, ctx: str, **options: Any) -> Any:
        """Without stop strings for a chat model."""
        request = super().construct_requests(doc, ctx, **options)
        if self.chat:
            request.arguments[1]["until"] = []
        return request


def one_row_each(rows: Dataset) -> Dataset:
    """Rows of SCROLLS hold one of perhaps several answers each: one row for each question, with all of them."""
    answers: dict[str, list[str]] = {}
    first: list[int] = []
    for number, (key, answer) in enumerate(zip(rows["id"], rows["output"], strict=True)):
        if answer is None:
            raise UserError(f"{key} has no output to score against", "tests are published without: take validation")
        if key not in answers:
            first.append(number)
        answers.setdefault(key, []).append(answer)
    return rows.select(first).remove_columns("output").add_column("outputs", list(answers.values()))
