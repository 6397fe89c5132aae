"""documents -> batches of tokens, by this process or by several, always in the documents' order.

A document becomes [begin] text [end], with the special tokens that the tokenizer has; what stands in its text is text,
whatever it looks like. The bytes do not depend on how many processes work, nor on where a batch ends.
"""

import hashlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from longreach.text.document import Document, Skipped
from longreach.text.tokenize import Tokenizer, load_tokenizer
from pretrain.tokenstore import COLUMNS, DIGEST_BYTES, Batch

BATCH_CHARS = 1 << 20
BATCH_ITEMS = 4096

Item = tuple[int, Document | Skipped]  # with the number of the file that it came from
Items = list[Item]


@dataclass(frozen=True)
class Encoded:
    """The tokens of some texts, end to end."""

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    digests: bytes  # sha256 of each text


@dataclass(frozen=True)
class Encoder:
    """Turns texts into tokens; built once in each process."""

    tokenizer: Tokenizer

    def encode(self, texts: list[str]) -> Encoded:
        """Each text between its special tokens."""
        begin = _token(self.tokenizer.bos_id if self.tokenizer.adds_bos else None)
        end = _token(self.tokenizer.eos_id)
        parts = [part for ids in self.tokenizer.ids_batch(texts) for part in (begin, ids, end)]
        lengths = np.array([len(part) for part in parts], np.int64).reshape(-1, 3).sum(axis=1)
        tokens = np.concatenate(parts) if parts else _token(None)
        digests = b"".join(hashlib.sha256(text.encode()).digest() for text in texts)
        return Encoded(tokens, lengths, digests)


def _token(id: int | None) -> npt.NDArray[np.uint32]:
    """One token, or none."""
    return np.array([] if id is None else [id], np.uint32)


_encoder: Encoder | None = None  # of this worker process


def _start(name: str, fast: bool) -> None:
    global _encoder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C reaches all processes; the first one ends the others
    _encoder = Encoder(load_tokenizer(name, fast=fast))


def _encode(texts: list[str]) -> Encoded:
    if _encoder is None:
        raise RuntimeError("this process was not started as a tokenizing worker")
    return _encoder.encode(texts)


def encoded(items: Iterable[Item], tokenizer: str, workers: int, *, fast: bool) -> Iterator[tuple[Items, Encoded]]:
    """Batches of items with the tokens of their documents, in order; at most two batches a worker are held."""
    if workers == 1:
        encoder = Encoder(load_tokenizer(tokenizer, fast=fast))
        for batch in batches(items):
            yield batch, encoder.encode(_texts(batch))
        return
    with ExitStack() as stack:
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(workers, context, _start, (tokenizer, fast)))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        waiting: deque[tuple[Items, Future[Encoded]]] = deque()
        for batch in batches(items):
            waiting.append((batch, pool.submit(_encode, _texts(batch))))
            if len(waiting) > 2 * workers:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()


def batches(items: Iterable[Item]) -> Iterator[Items]:
    """Items in groups of about a megabyte of text."""
    group: Items = []
    chars = 0
    for item in items:
        group.append(item)
        chars += len(item[1].text) if isinstance(item[1], Document) else 0
        if chars >= BATCH_CHARS or len(group) >= BATCH_ITEMS:
            yield group
            group, chars = [], 0
    if group:
        yield group


def _texts(items: Items) -> list[str]:
    return [item.text for _, item in items if isinstance(item, Document)]


def as_batch(source: str, items: Items, encoded: Encoded, chain: str) -> Batch:
    """What the token store takes: tokens, and the lines that say where they came from."""
    documents = [item for _, item in items if isinstance(item, Document)]
    lines = (
        {"source": source, "id": document.id, "tokens": int(length)}
        for document, length in zip(documents, encoded.lengths, strict=True)
    )
    notes = (
        {"source": source} | {name: getattr(item, name) for name in ("path", "line", "byte", "reason", "detail")}
        for _, item in items
        if isinstance(item, Skipped)
    )
    return Batch(
        items=np.array([file if isinstance(item, Document) else ~file for file, item in items], np.int32),
        chain=chained(chain, encoded.digests),
        tokens=encoded.tokens,
        lengths=encoded.lengths,
        digests=np.frombuffer(encoded.digests, COLUMNS["digests"]),
        quality=np.array([1.0 if item.quality is None else item.quality for item in documents], np.float32),
        documents=_lines(lines),
        skipped=_lines(notes),
    )


def chained(chain: str, digests: bytes) -> str:
    """The running digest over texts, one at a time, so that it does not depend on where a batch ends."""
    for start in range(0, len(digests), DIGEST_BYTES):
        chain = hashlib.sha256(bytes.fromhex(chain) + digests[start : start + DIGEST_BYTES]).hexdigest()
    return chain


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)
