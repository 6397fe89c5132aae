"""One example as training reads it, and what a source of examples must tell before any of them is read."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Item:
    """The tokens of one example without padding, the documents in it, and which tokens are an assistant's answer."""

    tokens: NDArray[np.uint16] | NDArray[np.uint32]
    lengths: NDArray[np.int32]  # of each document; a conversation is one
    answer: NDArray[np.bool_]


class Source(Protocol):
    """Examples of one kind under one name. Text that nobody answers in has no answer tokens at all."""

    @property
    def name(self) -> str: ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of each example."""

    @property
    def answers(self) -> NDArray[np.int64]:
        """The answer tokens of each example."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> Item: ...


def is_text(source: Source) -> bool:
    """Whether it is plain text, trained on whole, rather than conversations."""
    return len(source) > 0 and not source.answers.any()
