"""Token stores -> one corpus: what one job read, or several shards together, in the order in which one would have.

Files come in the order in which they were found, and of a file that several shards read in turn, each has every so
many-th item. Nothing is copied of one store: its columns are mapped from the disk. Of several, each document has a byte
that says whose it is, and its length; other columns are put in order when they are asked for. Tokens stay in the
stores' files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from longreach.errors import UserError
from pretrain.encode import chained
from pretrain.fill import Int64s, Texts
from pretrain.tokenstore import DOCUMENTS, OPEN_FILES, Progress, TokenFiles, TokenStore

Turns = npt.NDArray[np.unsignedinteger[Any]]  # numbers of stores: whose is the next; each gives its own in their order


@dataclass(frozen=True)
class Order:
    """Whose the documents and the notes of a source are, one after the other."""

    documents: Turns
    notes: Turns

    @classmethod
    def of(cls, items: Sequence[npt.NDArray[np.int32]]) -> "Order":
        """The order of the `items` of each store; UserError where the stores cannot have read the same files."""
        if len(items) == 1:
            documents, none = int(np.count_nonzero(items[0] >= 0)), np.uint8(0)
            return cls(np.broadcast_to(none, documents), np.broadcast_to(none, len(items[0]) - documents))
        order = _in_turn(items)
        numbers = np.arange(len(items), dtype=np.min_scalar_type(len(items)))
        turns = np.repeat(numbers, [len(each) for each in items])[order]
        is_document = np.concatenate([each >= 0 for each in items])[order]
        return cls(turns[is_document], turns[~is_document])

    def joined(self, columns: Iterator[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The values of each store's documents, in order; of one store, its column as it is."""
        first = next(columns)
        if len(first) == len(self.documents):
            return first
        values = np.empty(len(self.documents), first.dtype)
        for number, column in enumerate(chain([first], columns)):
            values[self.documents == number] = column
        return values


def _in_turn(items: Sequence[npt.NDArray[np.int32]]) -> Int64s:
    """Items of all stores, laid end to end, by file, by their place among those that their store has of it, and by
    store."""
    runs = [_runs(each) for each in items]
    _require_turns(*(np.concatenate(each) for each in zip(*runs, strict=True)))
    return np.argsort(np.concatenate([_ranks(*each) for each in runs]), kind="stable")


def _runs(items: npt.NDArray[np.int32]) -> tuple[Int64s, Int64s]:
    """The file of each run of a store's items, and how many of the items are in it."""
    file = np.maximum(items, ~items)
    new = np.flatnonzero(np.diff(file, prepend=np.int32(-1)))
    return file[new].astype(np.int64), np.diff(new, append=len(file))


def _ranks(file: Int64s, counts: Int64s) -> Int64s:
    """A number for each item of a store that rises by file, and in it by place."""
    ranks = np.repeat((file << 32) - (np.cumsum(counts) - counts), counts)
    ranks += np.arange(len(ranks))
    return ranks


def _require_turns(file: Int64s, counts: Int64s) -> None:
    """Where stores took turns at a file, each has as many of its items as the next, or one more."""
    by_file = np.argsort(file, kind="stable")
    file, counts = file[by_file], counts[by_file]
    first = np.searchsorted(file, file)  # the place of each file's first store
    last = np.searchsorted(file, file, "right") - 1
    falls = (counts[:-1] >= counts[1:]) | (file[:-1] != file[1:])
    if not falls.all() or (counts[first] - counts[last] > 1).any():
        raise UserError("the shards read different documents: a file has changed between them", "run them again")


@dataclass(frozen=True)
class Gathered:
    """The tokenized documents of all sources."""

    stores: Sequence[TokenStore]
    orders: Sequence[Order]  # by source, as all that follows
    progress: Sequence[Progress]
    texts: Texts

    @classmethod
    def of(cls, stores: Sequence[TokenStore]) -> "Gathered":
        """What filled stores hold, one for each shard."""
        sources = range(stores[0].sources)
        dtype, most_open = stores[0].dtype, max(1, OPEN_FILES // len(sources))
        orders = [Order.of([store.items(number) for store in stores]) for number in sources]
        files = [TokenFiles([store.token_file(number) for store in stores], dtype, most_open) for number in sources]
        texts = Texts(
            files,
            [order.joined(store.column(number, "lengths") for store in stores) for number, order in enumerate(orders)],
            lambda number: orders[number].joined(_starts(stores, number, files[number])),
        )
        return cls(stores, orders, [_progress(stores, number, orders[number]) for number in sources], texts)

    def keys(self, number: int) -> npt.NDArray[np.uint64]:
        """Of each text of a source a number, the same for the same text."""
        return self.orders[number].joined(store.keys(number) for store in self.stores)

    def quality(self, number: int) -> npt.NDArray[np.float32]:
        """Of each document of a source."""
        return self.orders[number].joined(store.column(number, "quality") for store in self.stores)

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of one of the lists, documents or skipped inputs."""
        lines = [store.lines(name) for store in self.stores]
        for order in self.orders:
            yield from _merged(lines, order.documents if name == DOCUMENTS else order.notes)


def _merged(parts: Sequence[Iterator[bytes]], turns: Turns) -> Iterator[bytes]:
    """One of each store's after the other, whose turn it is."""
    return (next(parts[store]) for store in turns.data)


def _starts(stores: Sequence[TokenStore], number: int, files: TokenFiles) -> Iterator[Int64s]:
    """Where in the files, laid end to end, each document of each store starts."""
    for store, begin in zip(stores, files.starts, strict=False):
        lengths = store.column(number, "lengths")
        starts = np.cumsum(lengths)
        starts -= lengths
        starts += begin
        yield starts


def _progress(stores: Sequence[TokenStore], number: int, order: Order) -> Progress:
    """The counts of a source over all stores, and the digest over all texts in their order."""
    parts = [store.progress[number] for store in stores]
    return Progress(
        items=sum(part.items for part in parts),
        documents=sum(part.documents for part in parts),
        tokens=sum(part.tokens for part in parts),
        chain=parts[0].chain if len(parts) == 1 else _chain(stores, number, order),
        done=True,
    )


def _chain(stores: Sequence[TokenStore], number: int, order: Order) -> str:
    digests = [store.digests(number) for store in stores]
    return reduce(chained, _merged(digests, order.documents), "")
