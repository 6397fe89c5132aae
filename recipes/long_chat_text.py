"""What long_chat.py trains on, made from real documents by rule: text that repeats itself, pieces, short chats.

Words are what whitespace parts, and stand one space apart: the questions of `selfinstruct generate --engine extractive`
are on one line, and a model of a million parameters is to find their words again rather than to see through line
breaks. Nothing else is changed, markup and code are as they stand.

- *Base text.* A stretch of a document; three in four are followed by runs of their own words, each on a line of its
  own, half of the runs with a gap in place of a word. Plain text repeats itself too rarely for so small a model to
  learn within minutes to look words up. The base sees gaps, but never one filled, nor a question or a chat.
- *Pieces.* Runs of whole sentences, 64 to 380 tokens, lengths log-uniform: the documents that questions are asked of.
- *Short chats.* Of one or two sentences: say them again, name the word after two others, fill a gap. Each has an answer
  to prefer (`chosen`) and one to avoid (`rejected`: other words of the same text), as preference data comes.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tokenizer import train
from tokenizers import Tokenizer

SPECIAL = ["<s>", "</s>", "<pad>"]
STOPS = (".", "!", "?")
SHORTEST, LONGEST = 64, 380  # tokens of a piece
REPEATING = 0.75  # the share of base texts that end in words of their own
RUN_WORDS = range(5, 26)  # of such a run
GAPPED = 0.5  # the share of runs that have a gap
SHORTEST_STRETCH = 16  # tokens of what is repeated from
CHAT_WORDS = range(6, 31)  # of the text of a short chat
GAP = "____"
SAMPLE_WORDS, SAMPLE_EVERY = 80, 160  # what the tokenizer is trained on: half of the text
FRAME = (  # words that stand in every chat, so that they are whole tokens
    f'\n\nWhich word or words complete this sentence of the document: "{GAP} {GAP}. {GAP}, {GAP}" [INST] [/INST] '
    'What does the document say next, after "." What does the document say about "." '
    'Repeat: "." Which word follows "."? Which word fills the gap: "."?\n'
)


class Piece(NamedTuple):
    """A stretch of a document."""

    id: str
    text: str


def train_tokenizer(texts: Iterable[str], words: int) -> Tokenizer:
    """A byte-level BPE in which the words of the questions are whole."""
    return train(_samples(texts), words, SPECIAL)


def _samples(texts: Iterable[str]) -> Iterator[str]:
    for words in map(str.split, texts):
        for start in range(0, len(words), SAMPLE_EVERY):
            yield " ".join(words[start : start + SAMPLE_WORDS]) + FRAME


class Words:
    """A document's words and what each costs in tokens, with the space before it."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.words = text.split()
        self.costs = [len(found) for found in tokenizer.encode_batch_fast([f" {word}" for word in self.words])]

    def __len__(self) -> int:
        return len(self.words)

    def fitting(self, start: int, room: float) -> int:
        """Where the words from `start` on have filled the room."""
        end = start
        while end < len(self) and (room := room - self.costs[end]) >= 0:
            end += 1
        return end

    def text(self, start: int, end: int) -> str:
        """These words."""
        return " ".join(self.words[start:end])

    def tokens(self, start: int, end: int) -> int:
        """Of these words."""
        return sum(self.costs[start:end])


def log_uniform(draw: random.Random, low: float, high: float) -> float:
    """As many of 64 to 128 as of 128 to 256."""
    return low * float((high / low) ** draw.random())


# Pieces


def pieces(documents: Sequence[Words], seed: int, name: str) -> Iterator[Piece]:
    """Runs of whole sentences. What has no sentence end in reach (a table, a listing) is left out."""
    draw = random.Random(seed)
    for number, words in enumerate(documents):
        start, tokens, goal = 0, 0, log_uniform(draw, SHORTEST, LONGEST)
        for end, (word, cost) in enumerate(zip(words.words, words.costs, strict=True), 1):
            tokens += cost
            if tokens > LONGEST or (tokens >= goal and word.endswith(STOPS)):
                if tokens <= LONGEST:
                    yield Piece(f"{name}-{number}-{start}", words.text(start, end))
                start, tokens, goal = end, 0, log_uniform(draw, SHORTEST, LONGEST)


# Base text


def base_texts(documents: Sequence[Words], row: int, seed: int) -> Iterator[str]:
    """Texts without end, for rows of that length; every pass cuts the documents elsewhere."""
    draw = random.Random(seed)
    room = row - 4  # begin, end, and the first words of lines, which may cost one more
    while True:
        for words in draw.sample(documents, len(documents)):
            start = draw.randrange(row // 2)
            while start < len(words):
                repeats = draw.random() < REPEATING
                goal = log_uniform(draw, SHORTEST_STRETCH, room * 2 / 3) if repeats else draw.uniform(0.3, 1) * room
                end = max(words.fitting(start, goal), start + 1)
                tokens = words.tokens(start, end)
                if tokens <= room:
                    runs = _runs(words, start, end, room - tokens, draw) if repeats else []
                    yield "\n".join([words.text(start, end), *runs])
                start = end


def _runs(words: Words, start: int, end: int, room: int, draw: random.Random) -> Iterator[str]:
    """Runs of the words [start, end) as long as there is room for another, four at most."""
    for _ in range(4):
        first = draw.randrange(start, max(start + 1, end - RUN_WORDS.start))
        last = min(end, first + draw.choice(RUN_WORDS))
        room -= words.tokens(first, last) + 1
        if room < 0:
            return
        run = words.words[first:last]
        if draw.random() < GAPPED and len(run) > 3:
            run[draw.randrange(2, len(run))] = GAP
        yield " ".join(run)


# Short chats


def short_chats(documents: Sequence[Words], seed: int, number: int) -> Iterator[dict[str, str]]:
    """So many rows of `prompt`, `chosen` and `rejected`."""
    draw = random.Random(seed)
    long_enough = [words for words in documents if len(words) >= CHAT_WORDS.stop]
    weights = [len(words) for words in long_enough]
    for words in draw.choices(long_enough, weights, k=number):
        start = draw.randrange(len(words) - CHAT_WORDS.stop + 1)
        text = words.words[start : start + draw.choice(CHAT_WORDS)]
        question, answer = draw.choices((_repeat, _next_word, _gap), (0.1, 0.3, 0.6))[0](text, draw)
        wrong = [word for word in text if word != answer]
        yield {"prompt": question, "chosen": answer, "rejected": draw.choice(wrong or [GAP])}


def _repeat(text: Sequence[str], draw: random.Random) -> tuple[str, str]:
    return f'Repeat: "{" ".join(text)}"', " ".join(text)


def _next_word(text: Sequence[str], draw: random.Random) -> tuple[str, str]:
    place = draw.randrange(2, len(text))
    return f'{" ".join(text)}\n\nWhich word follows "{" ".join(text[place - 2 : place])}"?', text[place]


def _gap(text: Sequence[str], draw: random.Random) -> tuple[str, str]:
    length = min(len(text), draw.randint(4, 12))
    start = draw.randrange(len(text) - length + 1)
    place = draw.randrange(start + 1, start + length)
    sentence = [*text[start:place], GAP, *text[place + 1 : start + length]]
    return f'{" ".join(text)}\n\nWhich word fills the gap: "{" ".join(sentence)}"?', text[place]
