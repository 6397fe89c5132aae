"""Token stores -> one corpus: what one job read, or several shards together, in the order in which one would have.

Files come in the order in which they were found, and of a file that several shards read in turn, each has every so
many-th item. Tokens stay in the stores' files; only the index of them is put in order.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from longreach.errors import UserError
from pretrain.encode import chained
from pretrain.fill import Int64s, Texts
from pretrain.tokenstore import DIGEST_BYTES, DOCUMENTS, Progress, TokenFiles, TokenStore


@dataclass(frozen=True)
class Order:
    """Whose the documents and notes of a source are, one after the other; and which of all stores' documents."""

    documents: Int64s  # numbers in the stores' documents laid end to end
    of_documents: Int64s  # the store of each
    of_notes: Int64s

    @classmethod
    def of(cls, items: Sequence[npt.NDArray[np.int32]]) -> "Order":
        """The order of the `items` of each store; UserError where the stores cannot have read the same files."""
        store = np.repeat(np.arange(len(items)), [len(each) for each in items])
        joined = np.concatenate(items).astype(np.int64)
        is_document = joined >= 0
        order = _in_turn(np.where(is_document, joined, ~joined), store) if len(items) > 1 else np.arange(len(joined))
        documents = (np.cumsum(is_document) - 1)[order]
        is_document, store = is_document[order], store[order]
        return cls(documents[is_document], store[is_document], store[~is_document])


def _in_turn(file: Int64s, store: Int64s) -> Int64s:
    """Items by file, by their place among those that their store has of it, and by store."""
    new = np.flatnonzero((np.diff(file, prepend=-1) != 0) | (np.diff(store, prepend=-1) != 0))
    counts = np.diff(new, append=len(file))
    _require_turns(file[new], store[new], counts)
    place = np.arange(len(file)) - np.repeat(new, counts)
    order: Int64s = np.lexsort((store, place, file))
    return order


def _require_turns(file: Int64s, store: Int64s, counts: Int64s) -> None:
    """Where stores took turns at a file, each has as many of its items as the next, or one more."""
    by_file = np.lexsort((store, file))
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
    keys: Sequence[npt.NDArray[np.uint64]]  # of each text, the same for the same text
    quality: Sequence[npt.NDArray[np.float32]]

    @classmethod
    def of(cls, stores: Sequence[TokenStore]) -> "Gathered":
        """What filled stores hold, one for each shard."""
        sources = range(stores[0].sources)
        orders = [Order.of([store.items(number) for store in stores]) for number in sources]

        def column(number: int, name: str) -> npt.NDArray[Any]:
            values = np.concatenate([store.column(number, name) for store in stores])
            return np.take(values, orders[number].documents)

        digests = [column(number, "digests") for number in sources]
        files = [TokenFiles([store.token_file(number) for store in stores], stores[0].dtype) for number in sources]
        texts = Texts(
            files,
            [column(number, "lengths") for number in sources],
            lambda number: _starts(stores, number, files[number], orders[number]),
        )
        progress = [_progress(stores, number, digests[number]) for number in sources]
        keys = [each.view("<u8").reshape(-1, DIGEST_BYTES // 8)[:, 0].copy() for each in digests]
        return cls(stores, orders, progress, texts, keys, [column(number, "quality") for number in sources])

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of one of the lists, documents or skipped inputs."""
        with ExitStack() as stack:
            files = [stack.enter_context((store.folder / name).open("rb")) for store in self.stores]
            for order in self.orders:
                store = order.of_documents if name == DOCUMENTS else order.of_notes
                runs = np.flatnonzero(np.diff(store, prepend=-1))
                for start, length in zip(runs.tolist(), np.diff(runs, append=len(store)).tolist(), strict=True):
                    yield from islice(files[store[start]], length)


def _starts(stores: Sequence[TokenStore], number: int, files: TokenFiles, order: Order) -> Int64s:
    """Where in the files, laid end to end, each document starts."""
    starts = []
    for store, begin in zip(stores, files.starts, strict=False):
        lengths = store.column(number, "lengths")
        starts.append(begin + np.cumsum(lengths) - lengths)
    return np.take(np.concatenate(starts), order.documents)


def _progress(stores: Sequence[TokenStore], number: int, digests: npt.NDArray[np.void]) -> Progress:
    """The counts of a source over all stores, and the digest over all texts in their order."""
    parts = [store.progress[number] for store in stores]
    return Progress(
        items=sum(part.items for part in parts),
        documents=sum(part.documents for part in parts),
        tokens=sum(part.tokens for part in parts),
        chain=parts[0].chain if len(parts) == 1 else chained("", digests.tobytes()),
        done=True,
    )
