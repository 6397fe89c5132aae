"""The first-sentence task on any text: documents that end by asking for their own first sentence.

    ... text ...
    The first sentence is:
    <the first sentence again>

The text is cut at any word, so that its first "sentence" is what stands before the first full stop, four to sixteen
tokens of it: whole sentences of that size are so few that a model learns them by heart instead of learning to copy. The
length of a document, all of it in tokens, is log-uniform up to the row it is for. One document in ten is text alone.
"""

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

from tokenizer import train
from tokenizers import Tokenizer

from longreach.errors import UserError

QUESTION = "\nThe first sentence is:\n"
WORDS, TOKENS = range(3, 10), range(4, 17)  # of a first sentence
ASKING = 0.9  # the share of documents that end in the question
SHORTEST = 8  # tokens of a document of text alone
FEWEST = 100  # first sentences of a source, so that drawing them comes to an end
SPECIAL = ["<s>", "</s>", "<pad>"]
STOPS = (".", "!", "?")
SAMPLE_WORDS, SAMPLE_EVERY = 80, 160  # what the tokenizer is trained on: half of the text


class Document(NamedTuple):
    """A text, its first sentence, whether that is asked for, and the tokens of all, or one more."""

    text: str
    first: str
    asks: bool
    tokens: int

    def __str__(self) -> str:
        return f"{self.prompt}{self.first}" if self.asks else self.text

    @property
    def prompt(self) -> str:
        """All that stands before the answer."""
        return self.text + QUESTION


class Source:
    """Text to cut documents from. Words are what whitespace parts, and no token reaches from one to the next."""

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer, seed: int, unlike: "Source | None" = None) -> None:
        self._words = [word for text in texts for word in text.split()]
        self._draw = random.Random(seed)
        distinct = list(dict.fromkeys(self._words))
        inside, opening = (
            dict(zip(distinct, map(len, tokenizer.encode_batch_fast(texts)), strict=True))
            for texts in ([f" {word}" for word in distinct], distinct)
        )
        self._opening = opening  # tokens of each word where no space stands before it
        self._before = list(accumulate((inside[word] for word in self._words), initial=0))  # tokens before each word
        self._marks = len(tokenizer.encode(QUESTION)) + 2  # tokens of the question, of begin and of end
        known = unlike.first_sentences() if unlike else frozenset()
        self._openings = [opening for opening in self._find_openings() if self._text(*opening) not in known]
        if len(self._openings) < FEWEST:
            raise UserError(
                f"{len(self._words):,} words of text have {len(self._openings)} first sentences: {FEWEST} are needed",
                "give more documents: every tenth is held out, and what it shares with the others is left out of it",
            )

    def first_sentences(self) -> frozenset[str]:
        """All those that a document may begin with."""
        return frozenset(self._text(*opening) for opening in self._openings)

    def _text(self, start: int, end: int) -> str:
        return " ".join(self._words[start:end])

    def _find_openings(self) -> Iterator[tuple[int, int]]:
        """Every place where a text may begin, and where its first sentence ends."""
        ends = [place for place, word in enumerate(self._words, 1) if word.endswith(STOPS)]
        for before, end in pairwise([0, *ends]):
            for start in range(max(before, end - WORDS.stop + 1), end - WORDS.start + 1):
                if self._tokens(start, end) in TOKENS:
                    yield start, end

    def _tokens(self, start: int, end: int) -> int:
        """Of these words at the begin of a line."""
        return self._opening[self._words[start]] + self._before[end] - self._before[start + 1]

    def documents(self, row: int) -> Iterator[Document]:
        """Documents without end, for rows of that length."""
        while True:
            start, end = self._draw.choice(self._openings)
            asks = self._draw.random() < ASKING
            shortest = self._shortest(start, end) if asks else SHORTEST
            length = shortest * (row / shortest) ** self._draw.random()
            yield self._cut(start, end, max(shortest, int(length)), asks=asks)

    def questions(self, length: int) -> Iterator[Document]:
        """Documents without end that ask, of that length or a word less."""
        while True:
            start, end = self._draw.choice(self._openings)
            if self._shortest(start, end) <= length <= self._tokens(start, len(self._words)):
                yield self._cut(start, end, length, asks=True)

    def _shortest(self, start: int, end: int) -> int:
        """Tokens of a document that is its first sentence, the question and the answer."""
        return self._marks + 2 * self._tokens(start, end)

    def _cut(self, start: int, end: int, length: int, *, asks: bool) -> Document:
        """The document that begins there, of at most `length` tokens."""
        marks = self._marks + self._tokens(start, end) if asks else 2
        head = self._before[start + 1] - self._opening[self._words[start]]
        stop = max(bisect_right(self._before, head + length - marks) - 1, start + 1)
        return Document(self._text(start, stop), self._text(start, end), asks, marks + self._tokens(start, stop))


def train_tokenizer(texts: Iterable[str], words: int) -> Tokenizer:
    """A byte-level BPE of few words, in which those of the question are whole."""
    return train(_samples(texts), words, SPECIAL)


def _samples(texts: Iterable[str]) -> Iterator[str]:
    for words in map(str.split, texts):
        for start in range(0, len(words), SAMPLE_EVERY):
            yield " ".join(words[start : start + SAMPLE_WORDS]) + QUESTION
