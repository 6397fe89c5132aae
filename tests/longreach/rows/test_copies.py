"""Copies of each document: weights honoured, tokens met, drawn alike for ever, and spread over the passes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.rows.copies import _fill, expected_copies, in_pass, numbers_of, whole_copies

LENGTHS = st.lists(st.integers(1, 5_000), min_size=1, max_size=60).map(lambda lengths: np.array(lengths, np.int64))


def lognormal(count: int, middle: float = 1_000, spread: float = 1.3, seed: int = 1) -> np.ndarray:
    return (middle * np.exp(spread * np.random.default_rng(seed).normal(size=count))).astype(np.int64) + 1


@given(LENGTHS, st.data())
def test_expected_copies_hold_the_tokens_follow_the_weights_and_keep_the_cap(
    lengths: np.ndarray, data: st.DataObject
) -> None:
    count = len(lengths)
    weights = np.array(
        data.draw(st.lists(st.floats(2**-10, 2**10, width=32), min_size=count, max_size=count)), np.float32
    )
    most = data.draw(st.floats(1, 6))
    tokens = data.draw(st.integers(1, int(lengths.sum() * most)))
    copies = expected_copies(lengths, weights, tokens, most)
    assert copies @ lengths == pytest.approx(tokens, rel=1e-6)
    assert (copies <= most).all()
    order = np.argsort(weights)
    assert (np.diff(copies[order]) >= 0).all()
    below = copies < most * (1 - 1e-6)
    scale = copies[below] / weights[below]
    assert scale == pytest.approx(scale[:1].repeat(len(scale)))


def test_a_document_at_the_cap_leaves_its_surplus_to_the_others() -> None:
    copies = expected_copies(np.array([100, 100, 100]), np.array([1.0, 100.0, 2.0]), 500, 4.0)
    assert copies == pytest.approx([1 / 3, 4, 2 / 3])
    assert expected_copies(np.array([100, 100]), np.array([1.0, 9.0]), 800, 4.0) == pytest.approx([4, 4])
    assert expected_copies(np.array([100, 300]), None, 600, 4.0).tolist() == [1.5, 1.5]


def test_a_bucket_that_is_wanted_whole_has_all_its_documents_at_the_cap() -> None:
    for seed in range(200):  # rounding may leave no document below the cap
        lengths = lognormal(20, 8_000, 3, seed)
        weights = np.random.default_rng(seed).random(20).astype(np.float32) + 0.001
        tokens = int(3.3 * lengths.sum())
        assert expected_copies(lengths, weights, tokens, 3.3) @ lengths == pytest.approx(tokens)


@given(LENGTHS, st.floats(0, 5), st.integers(0, 99))
def test_whole_copies_are_the_expected_ones_rounded_and_meet_the_tokens(
    lengths: np.ndarray, epochs: float, seed: int
) -> None:
    tokens = int(epochs * lengths.sum())
    expected = expected_copies(lengths, None, tokens, 5)
    copies = whole_copies(lengths, expected, tokens, numbers_of(f"{seed}", np.arange(len(lengths))))
    assert (copies >= np.floor(expected + 1e-9)).all()
    assert (copies <= np.ceil(expected - 1e-9)).all()
    assert abs(copies @ lengths - tokens) <= max(0.001 * tokens, lengths.max() / 2)


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_whole_epochs_take_each_document_that_often(epochs: int) -> None:
    lengths = lognormal(2_000)
    tokens = epochs * int(lengths.sum())
    for weights in (None, np.full(2_000, 0.3, np.float32)):
        copies = whole_copies(
            lengths, expected_copies(lengths, weights, tokens, 4), tokens, numbers_of("k", np.arange(2_000))
        )
        assert (copies == epochs).all()


@pytest.mark.parametrize("epochs", [0.02, 0.3, 1.0001, 2.7])
@pytest.mark.parametrize("middle", [300, 30_000])
def test_real_lengths_come_out_to_a_thousandth(epochs: float, middle: float) -> None:
    lengths = lognormal(5_000, middle)
    tokens = int(epochs * lengths.sum())
    copies = whole_copies(lengths, expected_copies(lengths, None, tokens, 4), tokens, numbers_of("k", np.arange(5_000)))
    assert abs(copies @ lengths / tokens - 1) < 0.001


def test_few_documents_are_swapped_until_they_fit() -> None:
    lengths = lognormal(40, 20_000, 0.6)
    for tenth in range(1, 10):
        tokens = int(0.1 * tenth * lengths.sum())
        expected = expected_copies(lengths, None, tokens, 4)
        copies = whole_copies(lengths, expected, tokens, numbers_of("k", np.arange(40)))
        assert abs(copies @ lengths / tokens - 1) < 0.005, tenth


@pytest.mark.parametrize(("tokens", "taken"), [(400, 0), (499, 0), (500, 1), (900, 1), (1_000, 1)])
def test_one_document_is_taken_where_that_is_as_near(tokens: int, taken: int) -> None:
    lengths = np.array([1_000])
    assert whole_copies(lengths, expected_copies(lengths, None, tokens, 4), tokens, np.array([0.5])).tolist() == [taken]


def test_one_huge_document_among_small_ones_does_not_break_the_budget() -> None:
    lengths = np.append(lognormal(3_000, 500), 50_000_000)
    tokens = int(lengths[:-1].sum()) // 2
    copies = whole_copies(lengths, expected_copies(lengths, None, tokens, 4), tokens, numbers_of("k", np.arange(3_001)))
    assert copies[-1] == 0
    assert abs(copies @ lengths / tokens - 1) < 0.001


def test_each_document_is_drawn_about_as_often_as_expected() -> None:
    lengths = lognormal(300, 500, 0.5)
    weights = np.repeat([1.0, 2.0, 3.0], 100)
    tokens = int(0.4 * lengths.sum())
    expected = expected_copies(lengths, weights, tokens, 4)
    drawn = sum(whole_copies(lengths, expected, tokens, numbers_of(f"{seed}", np.arange(300))) for seed in range(400))
    mean = (drawn / 400).reshape(3, 100).mean(axis=1)
    assert mean == pytest.approx(expected.reshape(3, 100).mean(axis=1), abs=0.01)
    assert np.abs(drawn / 400 - expected).max() < 0.12  # five standard errors


def test_numbers_never_change() -> None:
    assert numbers_of("copies/0/books", np.array([0, 1, 2**40])).tolist() == [
        0.6440216997625632,
        0.6800570285711431,
        0.15976576487641553,
    ]
    assert numbers_of("copies/0/books", np.array([1]))[0] == numbers_of("copies/0/books", np.arange(9))[1]


def test_numbers_are_spread_evenly_and_differ_by_key() -> None:
    numbers = numbers_of("a", np.arange(100_000))
    assert 0 < numbers.min() < numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx(10_000, rel=0.04)
    assert abs(np.corrcoef(numbers, numbers_of("b", np.arange(100_000)))[0, 1]) < 0.02
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02


@pytest.mark.parametrize("passes", range(1, 9))
def test_copies_are_spread_evenly_over_different_passes(passes: int) -> None:
    copies = np.repeat(np.arange(passes + 1), passes)
    numbers = np.tile((np.arange(passes) + 0.5) / passes, passes + 1)
    held = np.array([in_pass(copies, numbers, passes, number) for number in range(passes)])
    assert (held.sum(axis=0) == copies).all()
    for document in np.flatnonzero(copies > 1):
        steps = np.diff(np.flatnonzero(np.tile(held[:, document], 2)))
        assert np.ptp(steps) <= 1
    assert (held.sum(axis=1) == held.sum() / passes).all()  # first passes are spread too


def test_the_rest_is_filled_with_ever_smaller_documents() -> None:
    assert _fill(np.array([3, 5, 2, 4, 1]), 10).tolist() == [True, True, True, False, False]
    assert _fill(np.array([3, 5, 4, 9, 1]), 10).tolist() == [True, True, False, False, True]
    assert _fill(np.array([11, 12]), 10).tolist() == [False, False]
    assert _fill(np.array([10]), 10).tolist() == [True]
