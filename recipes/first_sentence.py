"""Documents that end by asking for their own first sentence, out of any text: to train on, and to test on.

    ... text ...
    The first sentence is:
    <the first sentence again>

The text is cut at any word, so that its first "sentence" is what stands before the first full stop, four to sixteen
tokens of it: whole sentences of that size are too few to learn copying from rather than the sentences themselves. The
length of a document, all of it in tokens, is log-uniform up to the row it is for. One document in ten is text alone.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

QUESTION = "\nThe first sentence is:\n"
SENTENCE_WORDS, SENTENCE_TOKENS = (3, 9), (4, 16)
ASKING = 0.9  # the share of documents that end in the question
PLAIN_TOKENS = 8  # of the shortest document of text alone
SPECIAL = ["<s>", "</s>", "<pad>"]
ENDS = (".", "!", "?")
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"


def train_tokenizer(texts: Iterable[str], words: int) -> Tokenizer:
    """A byte-level BPE of so few words that a model of a million parameters has some left for other things."""
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=words, special_tokens=SPECIAL, initial_alphabet=[], show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
