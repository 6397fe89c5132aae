"""Writing rows: what is appended stands on the disk; a writer that was killed goes on and the bytes are the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longreach.rows.shards import SEGMENT, RowWriter, token_dtype

SEQ_LEN, PAD = 8, 3


@dataclass(frozen=True)
class Whole:
    """A row as a caller gives it."""

    lengths: list[int]
    documents: list[int]

    def tokens(self, row: int) -> np.ndarray:
        return (np.arange(sum(self.lengths)) * 7 + row) % 200 + 10


def some_rows(count: int) -> list[Whole]:
    shapes = [[8], [3, 2], [1, 1, 1, 5], [4]]
    return [Whole(shapes[row % 4], [row + piece for piece in range(len(shapes[row % 4]))]) for row in range(count)]


def append(writer: RowWriter, rows: list[Whole]) -> None:
    """Those that the writer does not have yet."""
    for row in range(writer.rows, len(rows)):
        each = rows[row]
        count = len(each.lengths)
        writer.append(each.tokens(row), each.lengths, [row % 3] * count, each.documents, [row] * count)


def write(folder: Path, rows: list[Whole], shard_rows: int = 3) -> list[dict[str, object]]:
    with RowWriter(folder, SEQ_LEN, "u2", PAD, shard_rows * SEQ_LEN) as writer:
        append(writer, rows)
        return writer.finish()


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_tokens_lie_row_after_row_with_their_padding(tmp_path: Path) -> None:
    rows = some_rows(7)
    shards = write(tmp_path, rows)
    assert [(shard["file"], shard["rows"]) for shard in shards] == [
        ("tokens-00000.bin", 3),
        ("tokens-00001.bin", 3),
        ("tokens-00002.bin", 1),
    ]
    stored = np.concatenate([np.fromfile(tmp_path / str(shard["file"]), "<u2") for shard in shards]).reshape(7, SEQ_LEN)
    for row, each in enumerate(rows):
        filled = sum(each.lengths)
        assert stored[row].tolist() == each.tokens(row).tolist() + [PAD] * (SEQ_LEN - filled)


def test_the_index_has_every_piece(tmp_path: Path) -> None:
    rows = some_rows(7)
    write(tmp_path, rows)
    first, segments = np.load(tmp_path / "rows.npy"), np.load(tmp_path / "segments.npy")
    assert first.tolist() == [0, *accumulate(len(each.lengths) for each in rows)]
    assert first.dtype == np.int64
    assert segments.dtype == SEGMENT
    expected = [
        (sum(each.lengths[:piece]), length, row % 3, each.documents[piece], row)
        for row, each in enumerate(rows)
        for piece, length in enumerate(each.lengths)
    ]
    assert segments.tolist() == expected


def test_a_file_is_vouched_for_by_its_hashes(tmp_path: Path) -> None:
    shards = write(tmp_path, some_rows(7))
    segments = np.load(tmp_path / "segments.npy")
    begin = 0
    for shard in shards:
        assert shard["sha256"] == sha256((tmp_path / str(shard["file"])).read_bytes()).hexdigest()
        mine = segments[begin : begin + int(str(shard["segments"]))]
        assert shard["segments_sha256"] == sha256(mine.tobytes()).hexdigest()
        begin += len(mine)
    assert begin == len(segments)


def test_nothing_is_left_but_rows_and_index(tmp_path: Path) -> None:
    write(tmp_path, some_rows(4))
    assert set(content(tmp_path)) == {
        "rows.npy",
        "segments.npy",
        "shards.jsonl",
        "tokens-00000.bin",
        "tokens-00001.bin",
    }


def killed(folder: Path, rows: list[Whole], after: int) -> None:
    """A writer that is gone after so many rows: what it had in its buffers never reached the disk."""
    writer = RowWriter(folder, SEQ_LEN, "u2", PAD, 3 * SEQ_LEN)
    append(writer, rows[: max(after, writer.rows)])


@settings(max_examples=15)
@given(kills=st.lists(st.integers(0, 11), max_size=4))
def test_going_on_after_kills_gives_the_same_bytes(tmp_path_factory: pytest.TempPathFactory, kills: list[int]) -> None:
    whole, broken = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("broken")
    rows = some_rows(11)
    shards = write(whole, rows)
    for after in kills:
        killed(broken, rows, after)
    assert write(broken, rows) == shards
    assert content(broken) == content(whole)


def damage(folder: Path) -> Iterator[None]:
    """Each thing that a kill or a copy may leave behind."""
    journal = folder / "shards.jsonl"
    lines = journal.read_bytes()
    for cut in (5, len(lines) // 2, len(lines) - 1):
        journal.write_bytes(lines[:cut])
        yield
    (folder / "tokens-00001.bin").unlink()
    yield
    with (folder / "tokens-00001.bin").open("r+b") as file:
        file.truncate(10)
    yield
    journal.unlink()
    yield
    (folder / "segments.npy").unlink()
    yield
    (folder / "tokens-00002.bin.partial").write_bytes(b"half a row")
    (folder / "rows.npy.partial").write_bytes(b"half an index")
    journal.write_bytes(lines[: lines.index(b"\n") + 1])
    yield


def test_whatever_is_missing_is_written_again(tmp_path: Path) -> None:
    rows = some_rows(11)
    shards = write(tmp_path / "whole", rows)
    write(tmp_path / "broken", rows)
    for _ in damage(tmp_path / "broken"):
        assert write(tmp_path / "broken", rows) == shards
        left = {name: data for name, data in content(tmp_path / "broken").items() if not name.endswith(".partial")}
        assert left == content(tmp_path / "whole")


def test_the_index_may_be_joined_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill while the parts are removed, after the whole index was written."""
    rows = some_rows(7)
    shards = write(tmp_path / "whole", rows)
    with monkeypatch.context() as patch:
        unlink, removed = Path.unlink, []

        def stop(path: Path, missing_ok: bool = False) -> None:
            if removed:
                raise KeyboardInterrupt
            removed.append(path)
            unlink(path, missing_ok)

        patch.setattr(Path, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "broken", rows)
    assert write(tmp_path / "broken", rows) == shards
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_a_finished_writer_has_nothing_to_do(tmp_path: Path) -> None:
    rows = some_rows(7)
    shards = write(tmp_path, rows)
    before = content(tmp_path)
    with RowWriter(tmp_path, SEQ_LEN, "u2", PAD, 3 * SEQ_LEN) as writer:
        assert writer.rows == 7
        assert writer.finish() == shards
    assert content(tmp_path) == before


def test_a_row_longer_than_a_file_makes_a_file(tmp_path: Path) -> None:
    with RowWriter(tmp_path, SEQ_LEN, "u2", PAD, shard_tokens=1) as writer:
        append(writer, some_rows(2))
        assert [shard["rows"] for shard in writer.finish()] == [1, 1]


def test_no_rows_at_all(tmp_path: Path) -> None:
    assert write(tmp_path, []) == []
    assert np.load(tmp_path / "rows.npy").tolist() == [0]
    assert len(np.load(tmp_path / "segments.npy")) == 0


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        ([], []),
        ([1] * 9, [9]),
        ([1] * 4, [5]),
        ([1] * 5, [4]),
        ([70_000], [1]),
        ([-1], [1]),
        ([1], [1, 0]),
        ([1], [2, -1]),
    ],
)
def test_what_is_no_row_is_refused(tmp_path: Path, tokens: list[int], lengths: list[int]) -> None:
    with RowWriter(tmp_path, SEQ_LEN, "u2", PAD) as writer, pytest.raises(ValueError, match=r"row of 8|does not fit"):
        writer.append(np.array(tokens, np.int64), lengths, 0, 0, 0)


def test_wide_tokens_take_four_bytes(tmp_path: Path) -> None:
    with RowWriter(tmp_path, SEQ_LEN, token_dtype(70_000), PAD) as writer:
        writer.append([69_999] * SEQ_LEN, [SEQ_LEN], 0, 0, 0)
        writer.finish()
    assert np.fromfile(tmp_path / "tokens-00000.bin", "<u4").tolist() == [69_999] * SEQ_LEN


@pytest.mark.parametrize(("vocabulary", "dtype"), [(1, "<u2"), (65_536, "<u2"), (65_537, "<u4"), (200_000, "<u4")])
def test_two_bytes_as_long_as_every_id_fits(vocabulary: int, dtype: str) -> None:
    assert token_dtype(vocabulary) == np.dtype(dtype)
