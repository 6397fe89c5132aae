"""Packing: no token lost or doubled, documents whole unless longer than a row, as few rows as best fit finds."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longreach.rows.packing import Packed, best_fit_decreasing, concatenate, index_dtype

Packing = Callable[[list[int], int], Packed]
both = pytest.mark.parametrize("pack", [best_fit_decreasing, concatenate])
row_lengths = st.integers(1, 40)
sizes = st.one_of(st.integers(0, 40), st.integers(0, 130))
documents = st.one_of(  # of all lengths, and of few
    st.lists(sizes, max_size=60),
    st.lists(sizes, min_size=1, max_size=4).flatmap(lambda few: st.lists(st.sampled_from(few), max_size=60)),
)


def pieces(packed: Packed) -> list[list[tuple[int, int, int]]]:
    """Each row as its pieces: item, offset, length."""
    flat = list(zip(packed.item.tolist(), packed.offset.tolist(), packed.length.tolist(), strict=True))
    return [flat[begin:end] for begin, end in zip(packed.rows[:-1], packed.rows[1:], strict=True)]


def filled(packed: Packed) -> list[int]:
    return [sum(length for *_, length in row) for row in pieces(packed)]


def best_fit_rooms(lengths: list[int], seq_len: int) -> list[int]:
    """What the textbook's algorithm leaves free in its rows: one document at a time, the longest first."""
    rooms: list[int] = []
    whole = [seq_len for length in lengths for _ in range(length // seq_len)]
    for length in sorted(whole + [length % seq_len for length in lengths if length % seq_len], reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
        rooms.append((min(fitting) if fitting else seq_len) - length)
    return sorted(rooms)


@both
@given(lengths=documents, seq_len=row_lengths)
def test_every_token_stands_in_one_place(pack: Packing, lengths: list[int], seq_len: int) -> None:
    packed = pack(lengths, seq_len)
    placed = [
        (item, token)
        for row in pieces(packed)
        for item, offset, length in row
        for token in range(offset, offset + length)
    ]
    assert sorted(placed) == [(item, token) for item, length in enumerate(lengths) for token in range(length)]


@both
@given(lengths=documents, seq_len=row_lengths)
def test_no_row_overflows_or_is_empty(pack: Packing, lengths: list[int], seq_len: int) -> None:
    packed = pack(lengths, seq_len)
    assert all(0 < tokens <= seq_len for tokens in filled(packed))
    assert all(length > 0 for row in pieces(packed) for *_, length in row)
    assert len(packed) == len(pieces(packed))
    assert packed.rows[0] == 0
    assert packed.rows.dtype == np.int64
    assert {array.dtype.kind for array in (packed.item, packed.offset, packed.length)} == {"i"}


@given(lengths=documents, seq_len=row_lengths)
def test_only_a_document_longer_than_a_row_is_cut(lengths: list[int], seq_len: int) -> None:
    packed = best_fit_decreasing(lengths, seq_len)
    for item, length in enumerate(lengths):
        mine = sorted((offset, size) for row in pieces(packed) for number, offset, size in row if number == item)
        assert [size for _, size in mine] == [seq_len] * (length // seq_len) + [length % seq_len] * bool(
            length % seq_len
        )


@given(lengths=documents, seq_len=row_lengths)
@example(lengths=[12] * 6 + [4] * 5 + [2] * 30, seq_len=20)  # more rows with equal room than the next ones need
def test_it_is_best_fit_decreasing(lengths: list[int], seq_len: int) -> None:
    packed = best_fit_decreasing(lengths, seq_len)
    assert sorted(seq_len - tokens for tokens in filled(packed)) == best_fit_rooms(lengths, seq_len)


@given(lengths=documents, seq_len=row_lengths)
def test_a_stream_fills_every_row_but_the_last(lengths: list[int], seq_len: int) -> None:
    packed = concatenate(lengths, seq_len)
    assert all(tokens == seq_len for tokens in filled(packed)[:-1])
    assert [item for row in pieces(packed) for item, *_ in row] == sorted(packed.item.tolist())


@both
@given(lengths=documents, seq_len=row_lengths)
def test_rows_walk_through_the_corpus(pack: Packing, lengths: list[int], seq_len: int) -> None:
    rows = pieces(pack(lengths, seq_len))
    assert all(row == sorted(row) for row in rows)
    assert rows == sorted(rows)


def test_long_tailed_documents_leave_next_to_no_padding() -> None:
    lengths = (40 * 1.0009 ** np.arange(8_000)).astype(int) % 60_000 + 30  # 70 to 55,000 tokens, most of them short
    packed = best_fit_decreasing(lengths, 16_384)
    assert len(packed) <= -(-int(lengths.sum()) // 16_384) + 1
    assert (np.bincount(packed.item) > 1).sum() == (lengths > 16_384).sum()


def test_many_equal_documents_share_rows() -> None:
    packed = best_fit_decreasing([3] * 10, 10)
    assert [len(row) for row in pieces(packed)] == [3, 3, 3, 1]


@both
@pytest.mark.parametrize("lengths", [[], [0], [0, 0, 0]])
def test_no_tokens_make_no_rows(pack: Packing, lengths: list[int]) -> None:
    packed = pack(lengths, 8)
    assert (len(packed), packed.rows.tolist(), packed.item.tolist()) == (0, [0], [])


@both
@pytest.mark.parametrize(("lengths", "seq_len"), [([1], 0), ([1], -4), ([3, -1], 8), ([[1, 2]], 8)])
def test_nonsense_is_refused(pack: Packing, lengths: list[int], seq_len: int) -> None:
    with pytest.raises(ValueError, match=r"a row of|lengths are"):
        pack(lengths, seq_len)


@both
def test_a_document_of_more_tokens_than_four_bytes_count(pack: Packing) -> None:
    size, row = (1 << 32) + 5, 1 << 30
    packed = pack([7, size], row)
    held = {}
    for item, offset, length in itertools.chain.from_iterable(pieces(packed)):
        held[item, offset] = length
    assert sum(held.values()) == size + 7
    assert max(offset + length for (_, offset), length in held.items()) == size


@both
def test_numbers_take_four_bytes_while_they_fit(pack: Packing) -> None:
    assert index_dtype((1 << 31) - 1) == np.int32
    assert index_dtype(1 << 31) == np.int64
    packed = pack([5, 9, 3], 8)
    assert {array.dtype for array in (packed.item, packed.offset, packed.length)} == {np.dtype(np.int32)}
