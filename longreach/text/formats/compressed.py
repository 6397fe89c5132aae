"""A file's bytes with `.gz` or `.zst` taken off, as far as they can be had.

All that lies before a break is handed on before the break is told. Input goes to the decompressor in small bites, which
bounds what a decompression bomb can make of one of them (1 KiB gives up to 1 MB from gzip, 32 MB from Zstandard) and
costs honest files next to nothing.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from longreach.text.formats import reasons
from longreach.text.formats.source import READ_BYTES, Damaged, Source

BITE_BYTES = 1 << 10
GZIP_WRAPPER = zlib.MAX_WBITS | 16
MAX_WINDOW = 1 << 31  # what `zstd --ultra --long=31` writes; the default refuses it


class Decompressor(Protocol):
    """What the decompression objects of zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


@dataclass(frozen=True)
class Codec:
    """How one compression starts a member, and how its failures are called."""

    start: Callable[[], Decompressor]
    error: type[Exception]
    broken: str
    truncated: str


def chunks(source: Source) -> Iterator[bytes]:
    """The file's bytes, decompressed where its name says that they are compressed."""
    suffix = source.path[-4:].lower()
    if suffix.endswith(".gz"):
        gzip = Codec(lambda: zlib.decompressobj(GZIP_WRAPPER), zlib.error, reasons.BROKEN_GZ, reasons.TRUNCATED_GZ)
        return _decompress(source.blocks(), gzip)
    if suffix == ".zst":
        return _decompress(source.blocks(), _zstandard())
    return source.blocks()


def _zstandard() -> Codec:
    import zstandard

    start = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj
    return Codec(start, zstandard.ZstdError, reasons.BROKEN_ZST, reasons.TRUNCATED_ZST)


def _decompress(blocks: Iterable[bytes], codec: Codec) -> Iterator[bytes]:
    """The members of a compressed file, one after the other, in chunks of a useful size."""
    member = codec.start()
    ready = bytearray()
    for block in blocks:
        for start in range(0, len(block), BITE_BYTES):
            bite = block[start : start + BITE_BYTES]
            while bite:
                if member.eof and not (bite := bite.lstrip(b"\0")):  # zeros pad a gzip file to a tape block
                    break
                if member.eof:
                    member = codec.start()
                try:
                    ready += member.decompress(bite)
                except codec.error as error:
                    yield bytes(ready)
                    raise Damaged(codec.broken, str(error)) from error
                bite = member.unused_data if member.eof else b""
            if len(ready) >= READ_BYTES:
                yield bytes(ready)
                ready.clear()
    yield bytes(ready)
    if not member.eof:
        raise Damaged(codec.truncated, "the compressed data ends before its end mark")
