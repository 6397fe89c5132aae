"""Documents cut into blocks, blocks joined to chunks and contexts.

A block is a sentence or a line with its token count and the strength of the break before it (a heading, a
paragraph, a sentence, or none where a long run of text had to be cut). Tokens are counted once per block;
everything later (chunks of the generator, the context of a training record) is a run of blocks, so no text is
tokenized twice. The sum of the blocks' counts is what is compared with a budget: it is the joint count or a little
over it; chunks are counted again as a whole.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from longreach.record import Span
from longreach.text.sentences import SENTENCE_BREAK
from longreach.text.tokenize import Tokenizer

HEADING, PARAGRAPH, SENTENCE, CUT = 3, 2, 1, 0  # strength of the break before a block
HARD_CUT_CHARS = 512  # a run without any sentence end (base64, minified code) is first cut to pieces of this length
SURE = 0.9  # of the limit: a sum of blocks up to which the joint count cannot pass the limit
FILL = 0.5  # a chunk may be closed early, at a stronger break, once it is this full

_PIECE = re.compile(r"[^\n]*\n(?:[ \t\r]*\n)*|[^\n]+")  # a line with the blank lines that follow it
_ENDS_SENTENCE = re.compile(r"[.!?:;。！？][\"'”’)\]]*\s*$")  # a wrapped line of prose does not
_MARKDOWN_HEADING = re.compile(r"#{1,6} \S|(chapter|section|part) [\divxlc]+\b|(def|class|function|async def) \w", re.I)
_UNDERLINE = re.compile(r"([=\-~^*\"'`#+.:_])\1{2,}\s*")


@dataclass(frozen=True, slots=True)
class Block:
    """Characters [start, end) of the document, `tokens` long, with the strength of the break before it."""

    start: int
    end: int
    tokens: int
    strength: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Blocks [first, last) of a document, as characters [span.start, span.end)."""

    first: int
    last: int
    span: Span
    tokens: int


class Outline:
    """A document's blocks with their running token sum."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        self.sums = [0, *accumulate(block.tokens for block in blocks)]

    @property
    def tokens(self) -> int:
        """Tokens of the whole document."""
        return self.sums[-1]

    def tokens_of(self, first: int, last: int) -> int:
        """Tokens of blocks [first, last)."""
        return self.sums[last] - self.sums[first]

    def span(self, first: int, last: int) -> Span:
        """Characters of blocks [first, last)."""
        return Span(self.blocks[first].start, self.blocks[last - 1].end)

    def block_at(self, offset: int) -> int:
        """The block that holds the character at `offset`."""
        return max(0, bisect_right(self.blocks, offset, key=lambda block: block.start) - 1)


def outline(text: str, tokenizer: Tokenizer, limit: int) -> Outline:
    """Cut a text into blocks of at most `limit` tokens; together they hold every character."""
    pieces = list(_pieces(text))
    counts = tokenizer.counts([text[start:end] for start, end, _ in pieces])
    blocks: list[Block] = []
    for (start, end, strength), tokens in zip(pieces, counts, strict=True):
        if tokens <= limit:
            blocks.append(Block(start, end, tokens, strength))
        else:
            blocks += _halved(text, Block(start, end, tokens, strength), tokenizer, limit)
    return Outline(blocks)


def _pieces(text: str) -> Iterator[tuple[int, int, int]]:
    """(start, end, strength of the break before) of each sentence or line."""
    strength, previous_blank = HEADING, True
    lines = list(_PIECE.finditer(text))
    for index, line in enumerate(lines):
        content = line.group()
        following = lines[index + 1].group() if index + 1 < len(lines) else ""
        if previous_blank and _is_heading(content, following):
            strength = HEADING
        start = line.start()
        for end in _sentence_ends(content, start):
            for cut in range(start, end, HARD_CUT_CHARS):
                yield cut, min(cut + HARD_CUT_CHARS, end), strength
                strength = CUT
            start, strength = end, SENTENCE
        previous_blank = content.count("\n") > 1
        strength = PARAGRAPH if previous_blank else SENTENCE if _ENDS_SENTENCE.search(content) else CUT


def _sentence_ends(line: str, offset: int) -> list[int]:
    return [
        *(offset + found.end() for found in SENTENCE_BREAK.finditer(line) if found.end() < len(line)),
        offset + len(line),
    ]


def _is_heading(line: str, following: str) -> bool:
    """Markdown, underlined (rst, plain text), "Chapter 4", or a definition of source code."""
    stripped = line.strip()
    if _MARKDOWN_HEADING.match(stripped):
        return True
    return len(stripped) < 120 and bool(
        _UNDERLINE.fullmatch(following.strip() or " ") or _UNDERLINE.fullmatch(stripped)
    )


def _halved(text: str, block: Block, tokenizer: Tokenizer, limit: int) -> list[Block]:
    """Cut a block in two until no part is over the limit; a single character is let be."""
    if block.tokens <= limit or block.end - block.start < 2:
        return [block]
    middle = (block.start + block.end) // 2
    left, right = text[block.start : middle], text[middle : block.end]
    parts = (
        Block(block.start, middle, tokenizer.count(left), block.strength),
        Block(middle, block.end, tokenizer.count(right), CUT),
    )
    return [half for part in parts for half in _halved(text, part, tokenizer, limit)]


def chunks(text: str, plan: Outline, tokenizer: Tokenizer, limit: int) -> list[Chunk]:
    """Join blocks to chunks of at most `limit` tokens, cut at the strongest break of a chunk's later half."""
    found: list[Chunk] = []
    first = 0
    while first < len(plan.blocks):
        last = _fit(plan, first, limit)
        last = _strongest_break(plan, first, last, limit)
        last = _shrunk(text, plan, first, last, tokenizer, limit)
        found.append(Chunk(first, last, plan.span(first, last), plan.tokens_of(first, last)))
        first = last
    return [chunk for chunk in found if chunk.span.of(text).strip()]


def _fit(plan: Outline, first: int, limit: int) -> int:
    """The last block (exclusive) that fits within the limit; always at least one block."""
    return max(first + 1, bisect_right(plan.sums, plan.sums[first] + limit) - 1)


def _strongest_break(plan: Outline, first: int, last: int, limit: int) -> int:
    """The latest of the strongest breaks after which the chunk is at least half full."""
    if last >= len(plan.blocks):
        return len(plan.blocks)
    candidates = [cut for cut in range(first + 1, last + 1) if plan.tokens_of(first, cut) >= FILL * limit]
    return max(candidates, key=lambda cut: (plan.blocks[cut].strength, cut), default=last)


def _shrunk(text: str, plan: Outline, first: int, last: int, tokenizer: Tokenizer, limit: int) -> int:
    """Drop blocks from the end until the chunk, counted as one text, is within the limit.

    Counting twice costs as much as counting once, so a chunk whose blocks leave room to spare is not counted again.
    """
    if plan.tokens_of(first, last) <= SURE * limit:
        return last
    while last > first + 1 and tokenizer.count(plan.span(first, last).of(text)) > limit:
        last -= 1
    return last


def spread(items: Sequence[Chunk], number: int) -> list[Chunk]:
    """`number` of the chunks, evenly over the document's depth; all of them where there are no more."""
    if number <= 0 or number >= len(items):
        return list(items)
    return [items[int((index + 0.5) * len(items) / number)] for index in range(number)]


def around(plan: Outline, first: int, last: int, budget: int, depth: float) -> tuple[int, int]:
    """The run of blocks of at most `budget` tokens that holds blocks [first, last) at `depth` (0 start, 1 end).

    Where the document's ends are in the way, the run keeps its length and the depth gives way. The given blocks are
    never cut: they are returned alone where they fill the budget.
    """
    if plan.tokens <= budget:
        return 0, len(plan.blocks)
    free = budget - plan.tokens_of(first, last)
    before = int(max(0, free) * depth)
    available_after = plan.tokens - plan.sums[last]
    before = min(max(before, free - available_after), plan.sums[first])
    start = _first_within(plan, first, before)
    return start, max(last, _fit(plan, start, budget))


def _first_within(plan: Outline, first: int, before: int) -> int:
    """The earliest block from which no more than `before` tokens precede block `first`."""
    low, high = 0, first
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if plan.tokens_of(middle, first) <= before else (middle + 1, high)
    return low
