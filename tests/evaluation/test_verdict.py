"""What the losses say in words."""

import numpy as np
import pytest

from evaluation.powerlaw import NoFit, PowerLaw
from evaluation.verdict import EXPLODES, judge

LENGTHS = (128, 256, 512, 1024, 2048, 4096)
FALLING = (17.9 / np.array(LENGTHS)) ** 0.51 + 1.35


def losses(means, windows=40, own=0.5, noise=0.002):
    """Windows that differ by much, but alike at every length."""
    draw = np.random.default_rng(0)
    text = own * draw.standard_normal((windows, 1))
    return np.asarray(means) + text + noise * draw.standard_normal((windows, len(means)))


def said(means, window=4096, **how):
    verdict = judge(LENGTHS[: len(means)], losses(means, **how), window)
    return verdict, " ".join(verdict.sentences())


def test_falling():
    verdict, words = said(FALLING)
    assert (verdict.falls_to, verdict.holds_to) == (4096, 4096)
    assert "falls up to 4,096 tokens" in words
    assert "flat" not in words
    assert "explodes" not in words
    assert "within the window of its config, 4,096 tokens" in words
    assert isinstance(verdict.law, PowerLaw)
    assert all(change.falls for change in verdict.changes)
    assert [change.shorter for change in verdict.changes] == [128, 256, 512, 1024, 2048]


def test_the_pairs_decide_not_the_spread_of_the_texts():
    """Half a nat between texts, steps of hundredths."""
    verdict, _ = said(FALLING)
    assert all(mean.high - mean.low > 0.2 for mean in verdict.losses)
    assert all(change.difference.high - change.difference.low < 0.01 for change in verdict.changes)


def test_flat_from():
    verdict, words = said([2.0, 1.9, 1.8, 1.8, 1.8, 1.8])
    assert (verdict.falls_to, verdict.holds_to) == (512, 4096)
    assert "falls up to 512 tokens, from" in words
    assert "flat from 512 tokens on" in words
    assert "at 4,096 against 512" in words


def test_explodes_past_the_window():
    verdict, words = said([*FALLING[:3], 4.0, 5.0, 6.0], window=512)
    assert (verdict.falls_to, verdict.holds_to) == (512, 512)
    assert verdict.explodes
    assert "explodes past 512 tokens" in words
    assert "at 4,096 against 512" in words
    assert "where the window of its config, 512 tokens, ends" in words
    assert isinstance(verdict.law, NoFit)  # of three lengths


def test_the_law_is_of_what_holds():
    verdict, _ = said([*FALLING[:5], 6.0])
    assert isinstance(verdict.law, PowerLaw)
    assert verdict.law.at(4096).value == pytest.approx(FALLING[5] + losses([0.0]).mean(), abs=0.1)


@pytest.mark.parametrize(
    ("means", "window", "ending"),
    [
        ([2.0, 1.9, 3.0], 512, "short of the window of its config, 512 tokens"),
        ([2.0, 1.9, 3.0], 128, "past the window of its config, 128 tokens"),
        ([2.0, 1.9, 3.0], 256, "where the window of its config, 256 tokens, ends"),
        ([2.0, 1.9, 1.8], 256, "holds past the window of its config, 256 tokens"),
        ([2.0, 1.9, 3.0], 64, "past the window of its config, 64 tokens"),
    ],
)
def test_the_window(means, window, ending):
    assert ending in said(means, window)[1]


def test_a_small_rise_is_no_explosion():
    verdict, words = said([2.0, 1.9, 1.9 + EXPLODES / 2])
    assert not verdict.explodes
    assert "rises past 256 tokens" in words


def test_a_rise_that_is_made_good():
    verdict, words = said([2.0, 2.05, 1.9, 1.8])
    assert (verdict.falls_to, verdict.holds_to) == (1024, 1024)
    assert "rises" not in words


def test_never_falls():
    verdict, words = said([2.0, 2.0, 2.0, 2.0])
    assert verdict.falls_to == 128
    assert "does not fall with more context than 128" in words
    assert "flat from 128" in words
    assert isinstance(verdict.law, NoFit)


def test_one_length():
    verdict, _ = said([2.0])
    assert verdict.changes == ()
    assert (verdict.falls_to, verdict.holds_to) == (128, 128)
    assert "at least 4 lengths" in verdict.law.reason
