"""Which shards read which file: files are laid end to end, and the line is cut into parts of equal bytes.

A file that lies in one part, or nearly, is that shard's, and no other opens it. One that covers several parts is read
by each of these shards, which take its rows in turn: so few large files are divided too, though not what reading them
costs. A dataset, whose size nobody knows, is read by all. The same files give the same division on every machine.
"""

from collections.abc import Sequence

from longreach.text.document import Skipped
from longreach.text.formats.source import Source

DATASET = "dataset"


def readers(found: Sequence[Source | Skipped], count: int) -> list[range]:
    """The shards of `count` that read each file, a contiguous range; of what is no file, that one which notes it."""
    if count == 1:
        return [range(1)] * len(found)
    total = sum(map(_size, found)) or 1
    start, readers = 0, []
    for file in found:
        readers.append(range(count) if _is_dataset(file) else _covered(start, _size(file), total, count))
        start += _size(file)
    return readers


def _covered(start: int, size: int, total: int, count: int) -> range:
    """The parts that bytes [start, start + size) cover at least half of, or else the part that their middle is in."""
    first, end = ((2 * place * count + total) // (2 * total) for place in (start, start + size))
    if end > first:
        return range(first, end)
    middle = min((2 * start + size) * count // (2 * total), count - 1)
    return range(middle, middle + 1)


def _is_dataset(file: Source | Skipped) -> bool:
    return isinstance(file, Source) and file.kind == DATASET


def _size(file: Source | Skipped) -> int:
    return file.size if isinstance(file, Source) else 0
