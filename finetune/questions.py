"""A few held-out questions, which the model answers at every validation: what the losses look like in words."""

from collections.abc import Iterator, Mapping

import numpy as np

from finetune.item import Item, Source, is_text
from longreach.model.samples import Question
from longreach.text.chat.template import ChatTemplate

SHOWN_CHARS = 300  # of the end of a prompt: where the question stands


def held_out_questions(held_out: Mapping[str, Source], chat: ChatTemplate, count: int) -> list[Question]:
    """`count` of them, taken from the sources in turn, in each spread evenly over its examples."""
    sources = {name: source for name, source in held_out.items() if not is_text(source)}
    if not sources or not count:
        return []
    each = [list(_of(name, source, chat, -(-count // len(sources)))) for name, source in sources.items()]
    in_turn = [questions[place] for place in range(max(map(len, each))) for questions in each if place < len(questions)]
    return in_turn[:count]


def _of(name: str, source: Source, chat: ChatTemplate, count: int) -> Iterator[Question]:
    count = min(count, len(source))
    for place in range(count):
        yield question_of(name, source[place * len(source) // count], chat)


def question_of(name: str, item: Item, chat: ChatTemplate) -> Question:
    """The last answer of an example, and everything before it as the prompt."""
    edges = np.flatnonzero(np.diff(item.answer, prepend=False, append=False))
    start, end = (int(edge) for edge in edges[-2:])
    ids = [int(token) for token in item.tokens]
    asked = chat.tokenizer.decode(ids[:start], skip_special_tokens=True)
    reference = chat.tokenizer.decode(ids[start:end], skip_special_tokens=True)
    return Question(name, ids[:start], asked.strip()[-SHOWN_CHARS:], reference.strip())
