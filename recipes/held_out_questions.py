"""Cloze questions on documents that no training has seen, and how many of them a model answers to the letter.

A question is asked twice. As a chat, through the chat template: the document, then "Which word or words complete this
sentence: ...". And plainly, as text that a base model can go on with: the document, then on a line of its own the
sentence up to the gap; the answer counts if the text goes on with it. The first tells whether a model answers, the
second whether it can look words up at all. Answers are greedy.

Of 95 % intervals: Wilson's, which hold near 0 and 1 too.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from longreach.errors import UserError
from longreach.jsonl import read_lines
from longreach.text.chat.template import ChatTemplate, open_chat

GAP = "____"
APART = "\n\n"  # between a document and its question; a document has no line breaks
KINDS = {  # of questions, by how they begin
    "cloze": "Which word or words complete",
    "next": "What does the document say next",
    "about": "What does the document say about",
}
BATCH = 32
MORE = 4  # tokens that a model may say beyond the longest right answer of its batch: then it is wrong anyway
NORMAL_95 = 1.959964


class Question(NamedTuple):
    """What is asked of a document, of which kind it is, and the answer."""

    kind: str
    document: str
    asked: str
    answer: str

    @property
    def chat(self) -> str:
        """As it is asked of a chat model, and stands in the records."""
        return f"{self.document}{APART}{self.asked}"

    @property
    def text(self) -> str:
        """As a base model can go on with it: the document, then the sentence again, up to the gap."""
        sentence = self.asked[self.asked.index('"') + 1 :]
        return f"{self.document}\n{sentence[: sentence.index(GAP)].rstrip()}"


def read_questions(records: Path, known: str, most: int) -> dict[str, list[Question]]:
    """At most so many of each kind whose evidence does not stand in `known`, the text that is trained on."""
    found: dict[str, list[Question]] = {kind: [] for kind in KINDS}
    for record in read_lines(records):
        prompt, answer = (message["content"] for message in record["messages"])
        document, asked = prompt.rsplit(APART, 1)
        [kind] = [kind for kind, words in KINDS.items() if asked.startswith(words)]
        if all(evidence["text"] not in known for evidence in record["evidence"]) and len(found[kind]) < most:
            found[kind].append(Question(kind, document, asked, answer))
    if not found["cloze"]:
        raise UserError("no cloze question is left of the held-out documents", "give more documents")
    return {kind: questions for kind, questions in found.items() if questions}


class Asked:
    """A checkpoint that answers."""

    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)  # more are slower for so small a model
        disable_progress_bar()
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.chat: ChatTemplate = open_chat(AutoTokenizer.from_pretrained(folder))

    def as_chat(self, questions: Sequence[Question]) -> list[str]:
        """What it answers to each."""
        turns = [[{"role": "user", "content": each.chat}] for each in questions]
        return self._answers([self.chat.prompt(turn) for turn in turns], questions)

    def as_text(self, questions: Sequence[Question]) -> list[str]:
        """How it goes on with each sentence, of which a base has seen many and of chats none."""
        return self._answers(self.chat.tokenizer([each.text for each in questions])["input_ids"], questions)

    def _answers(self, prompts: Sequence[Sequence[int]], questions: Sequence[Question]) -> list[str]:
        """Greedy, prompts of like length at once."""
        wanted = self.chat.tokenizer([each.answer for each in questions])["input_ids"]
        by_length = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
        said: dict[int, str] = {}
        for start in range(0, len(prompts), BATCH):
            places = by_length[start : start + BATCH]
            longest = max(len(wanted[place]) for place in places) + MORE
            texts = self.chat.tokenizer.batch_decode(
                self._batch([prompts[place] for place in places], longest), skip_special_tokens=True
            )
            said |= zip(places, map(str.strip, texts), strict=True)
        return [said[place] for place in range(len(prompts))]

    def _batch(self, prompts: Sequence[Sequence[int]], longest: int) -> torch.Tensor:
        pad = self.chat.tokenizer.pad_token_id
        width = max(map(len, prompts))
        tokens = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        written = self.model.generate(
            input_ids=tokens,
            attention_mask=tokens.ne(pad).long(),
            max_new_tokens=longest,
            do_sample=False,
            eos_token_id=sorted(self.chat.end_ids),
            pad_token_id=pad,
        )
        return written[:, width:]


def scores(asked: Asked, questions: Mapping[str, Sequence[Question]]) -> dict[str, dict[str, float]]:
    """The share of right answers to each kind as a chat, and to cloze questions as text."""
    found = {kind: share(map(is_exact, asked.as_chat(each), each)) for kind, each in questions.items()}
    cloze = questions["cloze"]
    return {**found, "cloze as text": share(map(goes_on, asked.as_text(cloze), cloze))}


def is_exact(said: str, question: Question) -> bool:
    """To the letter."""
    return said == question.answer


def goes_on(said: str, question: Question) -> bool:
    """The text goes on with the answer, and with no more of a word."""
    rest = said.removeprefix(question.answer)
    return said.startswith(question.answer) and not rest[:1].isalnum()


def share(right: Iterable[bool]) -> dict[str, float]:
    """Of answers that are right, with Wilson's interval."""
    given = list(right)
    value, spread = sum(given) / len(given), NORMAL_95**2 / len(given)
    middle = (value + spread / 2) / (1 + spread)
    half = NORMAL_95 * sqrt((value * (1 - value) + spread / 4) / len(given)) / (1 + spread)
    return {"value": value, "low": max(0.0, middle - half), "high": min(1.0, middle + half), "n": len(given)}
