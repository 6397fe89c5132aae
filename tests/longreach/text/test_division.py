"""Every row is one shard's, small files are opened by one, and the parts are of much the same size."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from longreach.text.corpus import Corpus
from longreach.text.document import Document, Skipped
from longreach.text.formats.division import DATASET, readers
from longreach.text.formats.source import Source
from longreach.text.shard import Shard

SIZES = some.lists(some.integers(0, 1000), max_size=40)


def sources(sizes: list[int]) -> list[Source | Skipped]:
    return [Source(str(number), size, "plain") for number, size in enumerate(sizes)]


@given(SIZES, some.integers(1, 20))
def test_every_file_is_read_by_neighbours(sizes: list[int], count: int) -> None:
    found = readers(sources(sizes), count)
    part = sum(sizes) / count
    for size, shards in zip(sizes, found, strict=True):
        assert 0 <= shards.start < shards.stop <= count
        assert len(shards) <= max(1, size / part + 1) if part else len(shards) == 1
    starts = [shards.start for shards in found]
    assert starts == sorted(starts)


@given(SIZES, some.integers(1, 20))
def test_no_shard_gets_much_more_than_its_part(sizes: list[int], count: int) -> None:
    """Bytes, where rows taken in turn are as long as one another: two parts at most, and what a file is too much."""
    loads = [0.0] * count
    for size, shards in zip(sizes, readers(sources(sizes), count), strict=True):
        for shard in shards:
            loads[shard] += size / len(shards)
    part = sum(sizes) / count
    assert max(loads) <= 3 * part + 1e-6


@pytest.mark.parametrize(("sizes", "expected"), [([10] * 4, [[0], [0], [1], [1]]), ([30, 10], [[0, 1], [1]])])
def test_two_shards(sizes: list[int], expected: list[list[int]]) -> None:
    found = [list(shards) for shards in readers(sources(sizes), 2)]
    assert found == expected


def test_a_dataset_is_read_by_all_and_a_note_by_one() -> None:
    found = [Source("a", 0, DATASET), Skipped("b", "unknown format"), *sources([5, 5])]
    assert [list(shards) for shards in readers(found, 2)] == [[0, 1], [0], [0], [1]]
    assert readers(sources([]), 3) == []
    assert [len(shards) for shards in readers(sources([0, 0]), 3)] == [1, 1]


@pytest.mark.parametrize("count", [2, 3, 11])
def test_shards_have_every_document_once(tmp_path: Path, count: int) -> None:
    (tmp_path / "large.jsonl").write_text("".join(f'{{"text": "number {number}"}}\n' for number in range(50)) + "{\n")
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"a text of its own, {number}")
    whole = Corpus([str(tmp_path)], min_chars=1)
    parts = [Corpus([str(tmp_path)], min_chars=1, shard=Shard(index, count)) for index in range(count)]
    found = [list(part.numbered()) for part in parts]
    assert sorted(map(repr, whole.numbered())) == sorted(repr(item) for items in found for item in items)
    assert {part.files.sha256 for part in parts} == {whole.files.sha256}
    for part, items in zip(parts, found, strict=True):
        assert [number for number, _ in items] == sorted(number for number, _ in items)
        assert part.read_bytes == part.total_bytes <= whole.total_bytes
    assert all(isinstance(item, Document | Skipped) for item in whole)
