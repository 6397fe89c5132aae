"""The order of rows: every epoch a permutation, the same for ever, another for another seed or epoch."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.rows.order import RowOrder

sizes = st.one_of(st.integers(1, 20), st.integers(1, 3_000))
seeds = st.integers(0, 2**70)


@given(sizes, seeds, st.integers(0, 10**9))
def test_an_epoch_holds_every_row_once(rows: int, seed: int, epoch: int) -> None:
    order = RowOrder(rows, seed).take(np.arange(epoch * rows, (epoch + 1) * rows))
    assert sorted(order.tolist()) == list(range(rows))


@given(sizes, seeds, st.lists(st.integers(0, 2**60), min_size=1, max_size=20))
def test_one_position_and_many_agree(rows: int, seed: int, positions: list[int]) -> None:
    order = RowOrder(rows, seed)
    assert [order[position] for position in positions] == order.take(positions).tolist()
    assert order.take(positions).dtype == np.int64


FIRST = [3, 2, 7, 9, 1, 5, 6, 4, 8, 0, 2, 8, 0, 6, 3, 9, 1, 7, 5, 4]
LARGE = [123234866, 653802019, 629214265, 507431361, 820249799]


def test_it_never_changes() -> None:
    """Rows of a run that goes on next year, on another machine: these numbers are for ever."""
    assert RowOrder(10, 0).take(np.arange(20)).tolist() == FIRST
    assert RowOrder(10**9, 7).take([0, 1, 2, 10**9, 10**15]).tolist() == LARGE


@pytest.mark.parametrize("rows", [20, 1_000])
def test_seeds_and_epochs_differ(rows: int) -> None:
    orders = [tuple(RowOrder(rows, seed).take(np.arange(rows))) for seed in range(50)]
    epochs = np.array_split(RowOrder(rows, 3).take(np.arange(50 * rows)), 50)
    assert len({*orders, *map(tuple, epochs)}) == 99  # epoch 0 of seed 3 is there twice


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_every_order_of_a_few_rows_is_as_likely(rows: int) -> None:
    epochs = RowOrder(rows, 1).take(np.arange(6_000 * rows)).reshape(-1, rows)
    counts = Counter(map(tuple, epochs.tolist()))
    expected = 6_000 / np.prod(range(1, rows + 1))
    assert len(counts) == np.prod(range(1, rows + 1))
    assert max(abs(count - expected) for count in counts.values()) < 5 * expected**0.5


def test_neighbours_are_strangers() -> None:
    order = RowOrder(10_007, 5).take(np.arange(10_007))
    assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.05
    assert abs(np.corrcoef(order, np.arange(10_007))[0, 1]) < 0.05


def test_what_is_no_position_or_no_rows() -> None:
    with pytest.raises(IndexError):
        RowOrder(5, 0)[-1]
    with pytest.raises(ValueError, match="no order of 0 rows"):
        RowOrder(0, 0)
