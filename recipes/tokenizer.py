"""Train the small BPE tokenizer that ships with longreach, on text that every Python installation holds.

    python recipes/tokenizer.py longreach/text/tokenizer.json

Byte-level BPE, 8,192 words, Llama 3's way of splitting text before merging. The text is the language reference
(pydoc_data.topics) and the sources of the standard library, so anybody can train it again; other Python versions give
slightly other merges.
"""

import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from pydoc_data.topics import topics

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 8_192
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PROSE_WEIGHT = 4  # the reference is a tenth of the text; the tokenizer is to read prose first


def texts() -> Iterator[str]:
    for _ in range(PROSE_WEIGHT):
        yield from topics.values()
    library = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(library.glob("*.py")):
        yield path.read_text(encoding="utf-8", errors="replace")


def train(texts: Iterable[str], words: int, special: list[str]) -> Tokenizer:
    """A byte-level BPE of so many words."""
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
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


if __name__ == "__main__":
    target = Path(sys.argv[1])
    tokenizer = train(texts(), VOCABULARY, SPECIAL)
    tokenizer.save(str(target), pretty=False)
    sample = topics["comparisons"]
    ids = tokenizer.encode(sample).ids
    assert tokenizer.decode(ids) == sample
    print(f"{tokenizer.get_vocab_size()} words, {len(sample) / len(ids):.2f} characters a token -> {target}")
