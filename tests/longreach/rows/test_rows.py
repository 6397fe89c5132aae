"""Reading rows: what was written comes back, and a folder that is not whole is refused in one message."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.rows import rows as module
from longreach.rows.packing import best_fit_decreasing
from longreach.rows.rows import Row, Rows
from longreach.rows.shards import RowWriter, token_dtype

SEQ_LEN, PAD = 16, 3
LENGTHS = [16, 5, 9, 40, 3, 1, 7, 12, 2, 30, 4, 4, 4]


def token(document: int, place: int) -> int:
    return document * 100 + place


def write(folder: Path, lengths: list[int] = LENGTHS, seq_len: int = SEQ_LEN, vocab_size: int = 8_192) -> Path:
    """Packed documents whose every token says where it comes from; of two sources, in turn."""
    packed = best_fit_decreasing(lengths, seq_len)
    with RowWriter(folder, seq_len, token_dtype(vocab_size), PAD, 2 * seq_len) as writer:
        for row in range(len(packed)):
            mine = slice(packed.rows[row], packed.rows[row + 1])
            items, offsets, sizes = packed.item[mine], packed.offset[mine], packed.length[mine]
            tokens = [
                token(item, place)
                for item, offset, size in zip(items, offsets, sizes, strict=True)
                for place in range(offset, offset + size)
            ]
            writer.append(tokens, sizes, items % 2, items // 2, offsets)
        shards = writer.finish()
    manifest = {
        "seq_len": seq_len, "rows": len(packed), "tokens": sum(lengths), "vocab_size": vocab_size,
        "tokenizer": "longreach-8k", "tokenizer_sha256": "5eed", "shards": shards,
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "rows")


def pieces(row: Row) -> list[list[int]]:
    ends = np.cumsum(row.lengths)
    return [row.tokens[end - length : end].tolist() for end, length in zip(ends, row.lengths, strict=True)]


def documents(rows: Rows) -> dict[int, list[int]]:
    """All documents, put together from their pieces in the rows."""
    found: dict[int, dict[int, list[int]]] = {}
    for number in range(len(rows)):
        row = rows[number]
        for piece, start in zip(pieces(row), row.starts.tolist(), strict=True):
            found.setdefault(piece[0] // 100, {})[start] = piece
    return {document: [each for start in sorted(parts) for each in parts[start]] for document, parts in found.items()}


WHOLE = {document: [token(document, place) for place in range(length)] for document, length in enumerate(LENGTHS)}


def test_every_document_comes_back(folder: Path) -> None:
    rows = Rows(folder)
    assert documents(rows) == WHOLE
    assert len(rows._shards) > 2  # across files


def test_what_is_known_of_the_rows(folder: Path) -> None:
    rows = Rows(str(folder))
    assert (rows.seq_len, rows.vocab_size, rows.tokenizer, rows.tokenizer_sha256) == (16, 8_192, "longreach-8k", "5eed")
    assert rows.manifest["tokens"] == sum(LENGTHS)
    assert rows.cuts == 0
    assert rows.sha256 != Rows(write(folder.parent / "other", [5, 6])).sha256


def test_a_row_is_whole_and_cannot_be_written(folder: Path) -> None:
    rows = Rows(folder)
    for number in range(len(rows)):
        row = rows[number]
        assert (row.tokens.shape, row.tokens.dtype, row.lengths.dtype, row.starts.dtype) == (
            (16,),
            np.uint16,
            np.int32,
            np.int64,
        )
        assert (row.tokens[row.lengths.sum() :] == PAD).all()
        with pytest.raises(ValueError, match="read-only"):
            row.tokens[0] = 1


def test_wide_tokens(tmp_path: Path) -> None:
    rows = Rows(write(tmp_path, [1_000, 600], seq_len=1_024, vocab_size=100_000))
    assert rows[0].tokens.dtype == np.uint32


@pytest.mark.parametrize("outside", [-1, 0, 1_000])
def test_no_row_outside(folder: Path, outside: int) -> None:
    rows = Rows(folder)
    with pytest.raises(IndexError):
        rows[outside if outside < 0 else len(rows) + outside]


def test_rows_can_be_walked(folder: Path) -> None:
    rows = Rows(folder)
    assert [row.tokens.tolist() for row in rows] == [rows[number].tokens.tolist() for number in range(len(rows))]


@pytest.mark.parametrize("seq_len", [16, 4])
def test_rows_travel_to_workers(folder: Path, seq_len: int) -> None:
    rows = Rows(folder).split(seq_len)
    rows[0]
    copy = pickle.loads(pickle.dumps(rows))
    assert copy.seq_len == seq_len
    assert [row.tokens.tolist() for row in copy] == [row.tokens.tolist() for row in rows]


def test_many_files_do_not_stay_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_FILES", 2)
    rows = Rows(folder)
    held = [rows[number] for number in range(len(rows))]
    assert rows._shard.cache_info().currsize == 2
    assert documents(rows) == WHOLE
    assert [row.tokens.tolist() for row in held] == [row.tokens.tolist() for row in rows]  # views outlive the file


# Shorter rows


@pytest.mark.parametrize("seq_len", [1, 2, 4, 8, 16])
def test_shorter_rows_hold_the_same_documents(folder: Path, seq_len: int) -> None:
    rows = Rows(folder).split(seq_len)
    assert rows.seq_len == seq_len
    assert documents(rows) == WHOLE
    for row in rows:
        assert len(row.tokens) == seq_len
        assert 0 < row.lengths.sum() <= seq_len
        assert (row.tokens[row.lengths.sum() :] == PAD).all()


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12), seq_len=st.sampled_from([1, 2, 4, 8]))
def test_cuts_counts_the_documents_that_a_split_cuts(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seq_len: int
) -> None:
    whole = Rows(write(tmp_path_factory.mktemp("rows"), lengths))
    split = whole.split(seq_len)
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    for rows, count in ((whole, before), (split, after)):
        for row in rows:
            for piece in pieces(row):
                count[piece[0] // 100] = count.get(piece[0] // 100, 0) + 1
    assert split.cuts == sum(after[document] > before[document] for document in before)


@pytest.mark.parametrize("seq_len", [3, 32, 17])
def test_a_length_that_does_not_divide_is_refused(folder: Path, seq_len: int) -> None:
    with pytest.raises(UserError, match=f"rows of 16 tokens do not split into rows of {seq_len}"):
        Rows(folder).split(seq_len)


# Folders that are not whole


def change(key: str, value: Any) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        place, _, inner = key.partition(".")
        if inner:
            manifest[place][0][inner] = value
        else:
            manifest[place] = value
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return apply


def truncate(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def other_index(name: str) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, np.arange(5))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (remove("manifest.json"), "are not finished\n.*goes on where it was"),
        (truncate("manifest.json", 20), "manifest.json is no JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[1]"), "is not what longreach writes"),
        (change("seq_len", "16"), "is not what longreach writes"),
        (change("seq_len", 0), "is not what longreach writes"),
        (change("rows", 3), "is not what longreach writes"),
        (change("shards", []), "is not what longreach writes"),
        (change("shards.rows", 1), "is not what longreach writes"),
        (change("shards.file", "../../tokens"), "is not what longreach writes"),
        (change("shards.file", 5), "is not what longreach writes"),
        (change("tokenizer_sha256", None), "is not what longreach writes"),
        (change("vocab_size", 100_000), "damaged: tokens-00000.bin has 64 bytes, not 128"),
        (remove("tokens-00001.bin"), "damaged: tokens-00001.bin is missing"),
        (truncate("tokens-00001.bin", 60), "damaged: tokens-00001.bin has 60 bytes, not 64"),
        (remove("rows.npy"), "damaged: rows.npy is missing"),
        (remove("segments.npy"), "damaged: segments.npy is missing"),
        (truncate("segments.npy", 0), "damaged: segments.npy"),
        (truncate("segments.npy", 70), "damaged: segments.npy"),
        (truncate("segments.npy", 300), "damaged: segments.npy"),
        (truncate("rows.npy", 140), "damaged: rows.npy"),
        (other_index("rows.npy"), "damaged: rows.npy is of another corpus"),
        (other_index("segments.npy"), "damaged: segments.npy is of another corpus"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_whole_is_refused(folder: Path, harm: Callable[[Path], object], says: str) -> None:
    harm(folder)
    with pytest.raises(UserError, match=says) as raised:
        Rows(folder)
    assert str(raised.value).count("\n") == 1
    assert raised.value.hint


def test_files_that_are_not_equally_long_are_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert len({shard["rows"] for shard in manifest["shards"]}) == 2
    (folder / "manifest.json").write_text(json.dumps(manifest | {"shards": manifest["shards"][::-1]}))
    with pytest.raises(UserError, match="is not what longreach writes"):
        Rows(folder)


def test_an_index_with_code_in_it_is_not_run(folder: Path) -> None:
    np.save(folder / "rows.npy", np.array([{"a": 1}] * 7, object), allow_pickle=True)
    with pytest.raises(UserError, match=r"damaged: rows\.npy"):
        Rows(folder)


@pytest.mark.parametrize("name", ["nothing", "empty", "file"])
def test_no_folder_of_rows_at_all(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=f"{name} holds no rows\n.*pretrain prepare"):
        Rows(tmp_path / name)


def test_a_run_that_has_no_file_yet_is_not_finished(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="are not finished"):
        Rows(tmp_path)


def test_many_missing_files_make_a_short_message(tmp_path: Path) -> None:
    folder = write(tmp_path / "rows", [SEQ_LEN] * 40)
    for path in folder.glob("tokens-*.bin"):
        path.unlink()
    with pytest.raises(UserError, match=r"tokens-00002\.bin is missing and 17 more"):
        Rows(folder)


def flip(name: str, place: int) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[place] ^= 1
        (folder / name).write_bytes(data)

    return apply


def test_whole_rows_verify(folder: Path) -> None:
    Rows(folder).verify()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (flip("tokens-00001.bin", 11), "damaged: tokens-00001.bin\n"),
        (flip("segments.npy", -1), "damaged: segments.npy of tokens-0000."),
        (flip("rows.npy", -16), "damaged: rows.npy of tokens-0000."),
    ],
)  # fmt: skip
def test_one_flipped_bit_is_found(folder: Path, harm: Callable[[Path], object], says: str) -> None:
    harm(folder)
    rows = Rows(folder)
    with pytest.raises(UserError, match=says):
        rows.verify()
