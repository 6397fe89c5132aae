"""The special tokens of a chat: found where the template put them, and nowhere else.

A template's text and a message's are encoded as one, for tokens may span both. So whoever writes `<|im_end|>` into a
message would end the turn there. That is seen at once, by the special tokens being others than the template's; such a
text is then encoded by a second tokenizer to which these tokens have names that no text has.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import tokenizers
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from longreach.text.special import renamed

AT_ONCE = 1 << 21  # characters encoded by one call: what comes back takes some fifty bytes for each
HIDDEN = "\0"  # begins the names that no text has


class Marks:
    """Encodes texts; knows which ids are special. The unknown word is not: texts have it by themselves."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._backend = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        used = {tokenizer.bos_token_id, tokenizer.eos_token_id}
        plain = {tokenizer.unk_token_id} - used
        used.add(tokenizer.pad_token_id)
        added = self._backend.get_added_tokens_decoder()
        self.names = {
            number: token.content
            for number, token in added.items()
            if (token.special or number in used) and number not in plain
        }
        self._is_special = np.zeros(1 + max(self._backend.get_vocab().values()), np.bool_)
        self._is_special[list(self.names)] = True

    def encodings(self, texts: Sequence[str], *, hidden: bool = False) -> Iterator[tokenizers.Encoding]:
        """Ids and offsets of each text; with `hidden`, of texts that hold special tokens by their hidden names."""
        backend = self._twin if hidden else self._backend
        for some in _portions(texts):
            yield from backend.encode_batch(some, add_special_tokens=False)

    def special(self, ids: NDArray[np.uint32]) -> tuple[int, ...]:
        """The special ones among ids."""
        return tuple(ids[self._is_special[ids]].tolist())

    def places(self, text: str) -> list[tuple[int, int, int]]:
        """Start, end and id of each special token of a text."""
        (encoding,) = self.encodings([text])
        return [
            (*place, number)
            for number, place in zip(encoding.ids, encoding.offsets, strict=True)
            if number in self.names
        ]

    def named_in(self, texts: Iterable[str]) -> str:
        """The name of a special token that stands in one of the texts; empty where none does."""
        every = "\n".join(texts)
        return next((name for name in self.names.values() if name in every), "")

    @cached_property
    def _twin(self) -> tokenizers.Tokenizer:
        content: dict[str, Any] = orjson.loads(self._backend.to_str())
        return tokenizers.Tokenizer.from_str(renamed(content, set(self.names.values())))


def _portions(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts in order, some together."""
    portion: list[str] = []
    chars = 0
    for text in texts:
        if portion and chars + len(text) > AT_ONCE:
            yield portion
            portion, chars = [], 0
        portion.append(text)
        chars += len(text)
    if portion:
        yield portion
