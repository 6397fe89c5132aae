"""The paper's four curves come back from their points, with intervals that hold what they say."""

import math
import re

import numpy as np
import pytest

from evaluation.powerlaw import NoFit, PowerLaw, fit

PAPER = {"7B": (25.4, 0.45, 1.56), "13B": (19.5, 0.48, 1.45), "34B": (17.7, 0.5, 1.41), "70B": (17.9, 0.51, 1.35)}
GRIDS = {"powers of two": 2.0 ** np.arange(9, 16), "13 lengths": np.geomspace(256, 32_768, 13)}
DRAWS, NOISE = 100, 1e-3

curves = pytest.mark.parametrize("truth", PAPER.values(), ids=PAPER)
grids = pytest.mark.parametrize("lengths", GRIDS.values(), ids=GRIDS)


def curve(truth, lengths):
    alpha, beta, gamma = truth
    return (alpha / np.asarray(lengths)) ** beta + gamma


def fitted(lengths, losses) -> PowerLaw:
    law = fit(lengths, losses)
    assert isinstance(law, PowerLaw), law
    return law


@grids
@curves
def test_clean_points(truth, lengths):
    law = fitted(lengths, curve(truth, lengths))
    for found, wanted in zip((law.alpha, law.beta, law.gamma), truth, strict=True):
        assert found.value == pytest.approx(wanted, rel=1e-3)
        assert found.high - found.low < 1e-6
    assert law.at(1_000_000).value == pytest.approx(curve(truth, 1_000_000), rel=1e-6)
    assert law.condition < 250  # 2,100 in the plain parameters


@grids
@curves
def test_noisy_points(truth, lengths):
    clean = curve(truth, lengths)
    covered = np.zeros(3)
    errors, told = [], []
    for seed in range(DRAWS):
        law = fitted(lengths, clean * (1 + NOISE * np.random.default_rng(seed).standard_normal(len(lengths))))
        covered += [
            each.low <= true <= each.high for each, true in zip((law.alpha, law.beta, law.gamma), truth, strict=True)
        ]
        predicted = [law.at(length) for length in lengths]
        errors.append(np.array([each.value for each in predicted]) / clean - 1)
        told.append([each.low <= true <= each.high for each, true in zip(predicted, clean, strict=True)])
        assert law.scatter < 3 * NOISE
        assert 0.9 < law.correlation < 1
    assert (covered >= 90).all(), covered
    assert (covered <= 99).all(), covered  # nor are they wider than need be
    within = np.sqrt(np.square(errors).mean(axis=1)) < 1e-3  # over the lengths of a draw
    assert within.sum() >= 90
    assert np.abs(errors).mean() < 6e-4
    assert 0.9 <= np.mean(told) <= 0.99


@curves
def test_many_points_hold_every_predicted_loss(truth):
    """Of a few points the outermost pull the curve along; from about a hundred on no noise of 0.1 % moves it so far."""
    lengths = np.geomspace(256, 32_768, 100)
    clean = curve(truth, lengths)
    for seed in range(DRAWS):
        law = fitted(lengths, clean * (1 + NOISE * np.random.default_rng(seed).standard_normal(len(lengths))))
        assert max(abs(law.at(length).value / true - 1) for length, true in zip(lengths, clean, strict=True)) < 1e-3


C = 2.0 ** np.arange(7, 16)
SCATTER = 1 + 0.01 * np.random.default_rng(0).standard_normal(len(C))


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        (np.full(len(C), 2.0), "does not fall"),
        (1 + 0.1 * np.log(C), "does not fall"),
        (2 / SCATTER, "no more than its scatter"),
        (curve(PAPER["7B"], C) * SCATTER**9, "leave alpha open"),
        ((50 / C) ** 0.3 * SCATTER, "leave the parameters open"),
        (4 - 0.1 * np.log(C), "leave the parameters open"),
        (3 - 0.001 * np.log(C) ** 3, "leave the parameters open"),
    ],
    ids=["flat", "rising", "noise", "too much noise", "no floor", "falls evenly", "falls ever faster"],
)
def test_no_power_law(losses, reason):
    law = fit(C, losses)
    assert isinstance(law, NoFit)
    assert re.search(reason, law.reason), law.reason


def test_too_few_lengths():
    truth = PAPER["7B"]
    assert isinstance(fit(C[:4], curve(truth, C[:4])), PowerLaw)
    law = fit(C[:3], curve(truth, C[:3]))
    assert isinstance(law, NoFit)
    assert "at least 4 lengths" in law.reason


@pytest.mark.filterwarnings("error")
def test_odd_points_raise_nothing():
    for losses in (
        [5, 2, 2, 2, 2],
        [3, 3, 2, 2, 2],
        [2, 3, 2, 3, 2],
        [9, 1, 1e-6, 1, 9],
        [3.318, 3.182, 3.146, 3.295, 3.345],
    ):
        assert isinstance(fit(C[:5], losses), PowerLaw | NoFit)


def test_as_json():
    law = fitted(C, curve(PAPER["70B"], C) * SCATTER**0.1)
    found = law.as_json()
    for name in ("alpha", "beta", "gamma"):
        low, high = found["intervals"][name]
        assert low < found[name] < high
    assert "correlated" in found["note"]
    assert all(math.isfinite(found[name]) for name in ("correlation", "condition", "scatter"))
