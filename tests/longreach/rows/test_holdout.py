"""A fair draw by what the texts are: repeats stay together, the order of the documents does not matter."""

import numpy as np
import pytest

from longreach.rows.holdout import held_out

RANDOM = np.random.default_rng(7)
LENGTHS = np.concatenate([RANDOM.integers(10, 900, 4_000), RANDOM.integers(1_000, 20_000, 400)])
KEYS = RANDOM.integers(0, 1 << 63, len(LENGTHS)).astype(np.uint64)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_about_the_share_of_the_short_and_of_the_long_tokens(share: float) -> None:
    mask = held_out(LENGTHS, KEYS, 1_000, share)
    for kind in (LENGTHS < 1_000, LENGTHS >= 1_000):
        assert LENGTHS[mask & kind].sum() / LENGTHS[kind].sum() == pytest.approx(share, abs=0.01)


def test_the_order_of_the_documents_does_not_matter() -> None:
    order = RANDOM.permutation(len(LENGTHS))
    assert (held_out(LENGTHS[order], KEYS[order], 1_000, 0.05) == held_out(LENGTHS, KEYS, 1_000, 0.05)[order]).all()


def test_texts_that_repeat_are_on_the_same_side() -> None:
    twice = held_out(np.tile(LENGTHS, 2), np.tile(KEYS, 2), 1_000, 0.05)
    assert (twice[: len(LENGTHS)] == twice[len(LENGTHS) :]).all()
    assert twice.any()


def test_at_least_one_of_ten_and_none_of_few_or_when_none_is_asked_for() -> None:
    few, ten = np.full(9, 50), np.full(10, 50)
    assert held_out(ten, np.arange(10, dtype=np.uint64), 1_000, 0.001).sum() == 1
    assert not held_out(few, np.arange(9, dtype=np.uint64), 1_000, 0.001).any()
    assert not held_out(ten, np.arange(10, dtype=np.uint64), 1_000, 0.0).any()
    assert not held_out(np.empty(0, np.int64), np.empty(0, np.uint64), 1_000, 0.1).any()


@pytest.mark.parametrize(
    "keys", [KEYS >> np.uint64(40), KEYS | np.uint64(3 << 62), np.full(len(KEYS), (1 << 64) - 1, np.uint64)]
)
@pytest.mark.parametrize("share", [0.0001, 0.2, 0.7, 1.0])
def test_what_is_taken_is_what_a_sort_of_all_keys_takes(keys: np.ndarray, share: float) -> None:
    expected = np.zeros(len(LENGTHS), bool)
    for kind in (LENGTHS < 1_000, LENGTHS >= 1_000):
        ranked = np.flatnonzero(kind)[np.argsort(keys[kind], kind="stable")]
        within = np.searchsorted(np.cumsum(LENGTHS[ranked]), share * LENGTHS[ranked].sum(), side="right")
        expected |= kind & (keys <= keys[ranked[max(1, within) - 1]])
    assert (held_out(LENGTHS, keys, 1_000, share) == expected).all()
