"""A conversation that is too long loses context: never its question, its evidence or its answer.

The context is cut at both ends, by shares that leave the evidence at the depth it had; where that is too little, the
stretches between pieces of evidence lose their middles as well. Without evidence the end goes. Cuts fall between lines
where a line ends near, else between words. The tokens of the whole tell where to cut; the shorter text is rendered and
encoded again, so that its ids are those of a text. That is nearly always one encode more.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.conversation import Context, Conversation
from longreach.record import Span
from longreach.text.chat.template import ChatTemplate, Encoded, Unfit

NEAR = 0.02  # of the context that stays may be given up for a cut between lines
WORD = 40  # characters: longer words are cut
BLANKS = re.compile(r"\s+")
SPARE = 4  # tokens: the first of a stretch may be two where it no longer follows what it did
TRIES = 8


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation of at most so many tokens, and the tokens of context that it cost."""

    encoded: Encoded
    cut: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters of a content that may go, and where each token in them begins."""

    start: int
    end: int
    starts: NDArray[np.int32]
    between: bool  # two that stay, so that one blank has to

    def of_tokens(self, first: int, end: int) -> Span:
        """The characters of tokens [first, end)."""
        return Span(
            int(self.starts[first]) if first else self.start, int(self.starts[end]) if end < len(self) else self.end
        )

    def __len__(self) -> int:
        return len(self.starts)


def fit(conversation: Conversation, chat: ChatTemplate, seq_len: int, encoded: Encoded | None = None) -> Fitted:
    """At most `seq_len` tokens of it; `encoded` is the whole, where that is known. Raises Unfit."""
    whole = encoded or chat.encode(conversation.messages, conversation.tools)
    excess = len(whole.ids) - seq_len
    if excess <= 0:
        return Fitted(whole, 0)
    for messages in _shorter(conversation, whole, excess):
        shorter = chat.encode(messages, conversation.tools)
        if len(shorter.ids) <= seq_len:
            return Fitted(shorter, len(whole.ids) - len(shorter.ids))
    raise Unfit("too long", f"{len(whole.ids)} tokens, --seq-len {seq_len}")


def _shorter(conversation: Conversation, whole: Encoded, excess: int) -> Iterator[list[Mapping[str, Any]]]:
    """The messages without so many tokens of context, then without some more."""
    context = conversation.context
    origin = whole.origins[context.message] if context else None
    if context is None or origin is None:
        return
    content = conversation.messages[context.message]["content"]
    stretches = _stretches(context, whole.starts - origin)
    near = int(NEAR * (context.end - context.start) * max(0.0, 1 - excess / len(whole.ids)))
    for spare in (SPARE, 0, *(SPARE << more for more in range(1, TRIES))):
        gone = [_at_blanks(content, stretch, span, near) for stretch, span in _removed(stretches, excess + spare)]
        left = _without(content, context.start, context.end, gone)
        if gone and left.strip():
            messages = list(conversation.messages)
            shorter = content[: context.start] + left + content[context.end :]
            messages[context.message] = {**messages[context.message], "content": shorter}
            yield messages


def _stretches(context: Context, starts: NDArray[np.int32]) -> list[Stretch]:
    """What is before, between and behind what must stay; without that, nothing and the whole."""
    edges = [context.start]
    for span in sorted(context.keep, key=lambda span: span.start):
        if len(edges) > 1 and span.start <= edges[-1]:
            edges[-1] = max(edges[-1], span.end)
        else:
            edges += [span.start, span.end]
    edges += [context.end] if len(edges) > 1 else [context.start, context.start, context.end]
    bounds = starts.searchsorted(edges)
    inner = range(2, len(edges) - 2)
    return [
        Stretch(edges[place], edges[place + 1], starts[bounds[place] : bounds[place + 1]], place in inner)
        for place in range(0, len(edges), 2)
    ]


def _removed(stretches: Sequence[Stretch], tokens: int) -> list[tuple[Stretch, Span]]:
    """Characters of so many tokens, or a few more: of the outer stretches alone, if they have them. None where all of
    them together have too few."""
    head, *inner, tail = stretches
    outer, between = len(head) + len(tail), sum(map(len, inner))
    if tokens > outer + between:
        return []
    first = round(len(head) * min(1.0, tokens / outer)) if outer else 0
    last = min(outer, tokens) - first
    gone = [(head, 0, first), (tail, len(tail) - last, len(tail))]
    for stretch in inner:
        count = math.ceil(len(stretch) * max(0, tokens - outer) / between) if between else 0
        begin = (len(stretch) - count) // 2
        gone.append((stretch, begin, begin + count))
    return [(stretch, stretch.of_tokens(begin, end)) for stretch, begin, end in gone if end > begin]


def _at_blanks(content: str, stretch: Stretch, span: Span, near: int) -> Span:
    """The span made longer, to begin at the end of a line or word and to end where one begins, if any is near."""
    start, end = span.start, span.end
    if end < stretch.end:
        line = content.find("\n", end - 1, min(end + near, stretch.end)) + 1
        word = BLANKS.search(content, end - 1, min(end + WORD, stretch.end))
        end = line or (word.end() if word else end)
    if start > stretch.start:
        line = content.rfind("\n", max(start - near, stretch.start), start + 1)
        words = BLANKS.finditer(content, max(start - WORD, stretch.start), start + 1)
        start = line if line >= 0 else max((word.start() for word in words), default=start)
    if stretch.between:
        start, end = (start + 1, end) if content[start].isspace() else (start, end - content[end - 1].isspace())
    return Span(start, end)


def _without(content: str, start: int, end: int, gone: Sequence[Span]) -> str:
    """Characters [start, end) of a content but for some."""
    left = []
    for span in sorted(gone, key=lambda span: span.start):
        left.append(content[start : span.start])
        start = span.end
    return "".join(left) + content[start:end]
