"""The first-sentence task on any text: documents that end by asking for their own first sentence, and their marks.

    ... text ...
    The first sentence is:
    <the first sentence again>

The text is cut at any word, so that its first "sentence" is what stands before the first full stop, four to sixteen
tokens of it: whole sentences of that size are too few to learn copying from rather than the sentences themselves. The
length of a document, all of it in tokens, is log-uniform up to the row it is for. One document in ten is text alone.
"""

import random
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

QUESTION = "\nThe first sentence is:\n"
WORDS, TOKENS = range(3, 10), range(4, 17)  # of a first sentence
ASKING = 0.9  # the share of documents that end in the question
SHORTEST = 8  # tokens of a document of text alone
SPECIAL = ["<s>", "</s>", "<pad>"]
STOPS = (".", "!", "?")
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"


def train_tokenizer(texts: Iterable[str], words: int) -> Tokenizer:
    """A byte-level BPE of few words, so that a model of a million parameters has some to spare."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


class Document(NamedTuple):
    """A text, its first sentence, and whether it is asked for."""

    text: str
    first: str
    asks: bool

    def __str__(self) -> str:
        return f"{self.prompt}{self.first}" if self.asks else self.text

    @property
    def prompt(self) -> str:
        """All that stands before the answer."""
        return self.text + QUESTION


class Source:
    """Text to cut documents from. Words are what whitespace parts, and no token reaches over it: lengths add up."""

    def __init__(self, texts: Iterable[str], tokenizer: Tokenizer, seed: int) -> None:
        self._words = [word for text in texts for word in text.split()]
        self._draw = random.Random(seed)
        distinct = list(dict.fromkeys(self._words))
        encodings = tokenizer.encode_batch_fast([f" {word}" for word in distinct])
        tokens = {word: len(encoding.ids) for word, encoding in zip(distinct, encodings, strict=True)}
        self._before = list(accumulate((tokens[word] for word in self._words), initial=0))  # tokens before each word
        self._openings = list(self._find_openings())
        self._marks = len(tokenizer.encode(QUESTION).ids) + 2  # tokens of the question, of begin and of end

    def __str__(self) -> str:
        return " ".join(self._words)

    def _find_openings(self) -> Iterator[tuple[int, int]]:
        """Every place where a text may begin, and where its first sentence ends."""
        ends = [place for place, word in enumerate(self._words, 1) if word.endswith(STOPS)]
        for before, end in pairwise([0, *ends]):
            for start in range(max(before, end - WORDS.stop + 1), end - WORDS.start + 1):
                if self._before[end] - self._before[start] in TOKENS:
                    yield start, end

    def documents(self, row: int) -> Iterator[Document]:
        """Documents without end, for rows of that length."""
        while True:
            yield self.document(self._opening(), asks=self._draw.random() < ASKING, longest=row)

    def questions(self, length: int) -> Iterator[Document]:
        """Documents without end that ask, all of that length."""
        while True:
            opening = self._opening()
            if self._shortest(opening, asks=True) <= length:
                yield self._cut(opening, length, asks=True)

    def document(self, opening: tuple[int, int], *, asks: bool, longest: int) -> Document:
        """One that begins there, of some length."""
        shortest = self._shortest(opening, asks=asks)
        length = shortest * (longest / shortest) ** self._draw.random()
        return self._cut(opening, int(length), asks=asks)

    def _opening(self) -> tuple[int, int]:
        return self._draw.choice(self._openings)

    def _shortest(self, opening: tuple[int, int], *, asks: bool) -> int:
        return self._marks + 2 * self._sentence(opening) if asks else SHORTEST

    def _sentence(self, opening: tuple[int, int]) -> int:
        """Tokens of the first sentence."""
        start, end = opening
        return self._before[end] - self._before[start]

    def _cut(self, opening: tuple[int, int], length: int, *, asks: bool) -> Document:
        """The document that begins there and has at most so many tokens."""
        start, end = opening
        text = length - (self._marks + self._sentence(opening) if asks else 2)
        stop = bisect_right(self._before, self._before[start] + text) - 1
        return Document(" ".join(self._words[start:stop]), " ".join(self._words[start:end]), asks)
