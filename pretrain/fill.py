"""Documents as often as the plan takes them -> rows, one pass after the other.

A pass holds a document at most once, so two copies of it never meet in a row, and each pass has the same blend of short
and long, so that there are short documents to fill the rows with. Memory holds the index of one pass; tokens are copied
from the store's files to the rows' files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from longreach.rows.packing import Ints, Packed, best_fit_decreasing, concatenate, index_dtype
from longreach.rows.shards import RowWriter
from pretrain.tokenstore import TokenFiles

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Texts:
    """Where the tokens of each document lie, by source."""

    tokens: Sequence[TokenFiles]
    lengths: Sequence[Int64s]
    place: Callable[[int], Int64s]  # of a source: where in its files, laid end to end, each document starts

    @cached_property
    def starts(self) -> Sequence[Int64s]:
        """Of all sources; eight bytes a document that the plan of the mix can do without."""
        return [self.place(number) for number in range(len(self.lengths))]

    def piece(self, source: int, document: int, offset: int, length: int) -> npt.NDArray[Any]:
        """Some tokens of a document."""
        start = int(self.starts[source][document]) + offset
        return self.tokens[source].read(start, length)


@dataclass(frozen=True)
class Pass:
    """The documents of one pass: which source, and which document of it."""

    source: Ints
    document: Ints

    @classmethod
    def of(cls, documents: Sequence[Int64s]) -> "Pass":
        """From the document numbers of each source, which rise."""
        sources = np.arange(len(documents), dtype=np.int32)
        last = max((int(each[-1]) for each in documents if len(each)), default=0)
        numbers = np.concatenate(documents, dtype=index_dtype(last), casting="same_kind")
        return cls(np.repeat(sources, [len(each) for each in documents]), numbers)


@dataclass
class Filled:
    """What went into the rows."""

    rows: int
    tokens: Int64s  # by source
    cut: int = 0  # documents that stand in more than one piece

    @property
    def total(self) -> int:
        """Tokens in the rows, padding not counted."""
        return int(self.tokens.sum())


def fill_rows(
    writer: RowWriter, texts: Texts, passes: Iterator[Pass], pack: str, progress: Callable[[int], None]
) -> Filled:
    """Write the rows of all passes; those that the writer has already are counted, not written again."""
    filled = Filled(0, np.zeros(len(texts.tokens), np.int64))
    for each in passes:
        _fill_pass(filled, writer, texts, each, pack, progress)
    return filled


def _fill_pass(
    filled: Filled, writer: RowWriter, texts: Texts, each: Pass, pack: str, progress: Callable[[int], None]
) -> None:
    """The rows of one pass, whose index is gone with it."""
    packed, items = packed_pass(each, texts, pack, writer.seq_len)
    source = items.source[packed.item]
    filled.tokens += [int(packed.length.sum(where=source == number)) for number in range(len(filled.tokens))]
    filled.cut += len(np.unique(packed.item[packed.offset > 0]))
    for row in range(len(packed)):
        if filled.rows >= writer.rows:
            _write(writer, texts, items, packed, row)
        filled.rows += 1
        progress(filled.rows)


def packed_pass(each: Pass, texts: Texts, pack: str, seq_len: int) -> tuple[Packed, Pass]:
    """The rows of a pass, and the pass in the order in which its documents were packed."""
    if pack == "concat":
        each = _shuffled(each)
    longest = max(int(sizes.max(initial=0)) for sizes in texts.lengths)
    lengths = np.empty(len(each.source), index_dtype(longest))
    for source, sizes in enumerate(texts.lengths):
        mine = each.source == source
        lengths[mine] = sizes[each.document[mine]]
    return (concatenate if pack == "concat" else best_fit_decreasing)(lengths, seq_len), each


def _shuffled(each: Pass) -> Pass:
    """In a fixed order in which neighbours of a stream are strangers: by a multiplicative hash of the place."""
    places = np.arange(len(each.source), dtype=np.uint64)
    places *= np.uint64(0x9E3779B97F4A7C15)
    order = np.argsort(places, kind="stable")
    return Pass(each.source[order], each.document[order])


def _write(writer: RowWriter, texts: Texts, items: Pass, packed: Packed, row: int) -> None:
    pieces = slice(packed.rows[row], packed.rows[row + 1])
    item, offsets, lengths = packed.item[pieces], packed.offset[pieces], packed.length[pieces]
    sources, documents = items.source[item], items.document[item]
    parts = [
        texts.piece(*place)
        for place in zip(sources.tolist(), documents.tolist(), offsets.tolist(), lengths.tolist(), strict=True)
    ]
    writer.append(np.concatenate(parts), lengths, sources, documents, offsets)
