"""Decay over distance and granularity: the paper's Fig. 4 and App. B."""

import numpy as np
import pytest

from longreach.model.rope import Frequencies, Rope, inverse_frequencies, parse_rope
from pretrain.rope.decay import granularity, scores, smoothed, xpos_decay


def llama2(rope: str) -> Frequencies:
    return inverse_frequencies(parse_rope(rope), 128, 10_000, 4_096)


@pytest.mark.parametrize(
    ("rope", "printed"), [("none", "0.1094"), ("pi:4", "0.0290"), ("pi:8", "0.0146"), ("abf:500000", "0.0788")]
)
def test_granularity(rope: str, printed: str) -> None:
    assert f"{granularity(llama2(rope)):.4f}" == printed


def test_scores_are_those_of_rotated_ones() -> None:
    """By rotating vectors: q at 0, k at m."""
    frequencies = llama2("abf:500000")
    ones = np.ones(64) + 1j * np.ones(64)
    for distance in (0, 1, 17, 4_095):
        turned = ones * np.exp(1j * distance * np.array(frequencies.inverse))
        assert scores(frequencies, distance)[0] == pytest.approx((ones.conj() * turned).real.sum())
    assert scores(frequencies, 0)[0] == 128


def test_abf_decays_more_slowly_than_rope() -> None:
    far = np.arange(5_000, 30_000)
    plain, abf = (scores(llama2(rope), far) / 128 for rope in ("none", "abf:500000"))
    assert abs(plain.mean()) < 0.05 < 0.15 < abf.mean()
    assert plain.min() < -0.2 and abf.min() > -0.1


def test_yarn_scores_count_its_attention_factor() -> None:
    assert scores(llama2("yarn:8"), 0)[0] == pytest.approx(128 * (0.1 * np.log(8) + 1) ** 2)


def test_many_distances_are_as_few() -> None:
    far = np.arange(40_000)
    whole = scores(llama2("pi:8"), far)
    assert whole.shape == far.shape
    assert whole[[0, 20_000, 39_999]] == pytest.approx(scores(llama2("pi:8"), [0, 20_000, 39_999]))


def test_xpos_decays_as_the_model_does() -> None:
    pytest.importorskip("transformers")
    from longreach.model.xpos import DISTANCE, zetas

    assert xpos_decay(64) == pytest.approx(zetas(64).numpy(), rel=1e-6)
    frequencies = Frequencies((0.0,) * 4)
    left = scores(frequencies, [0, DISTANCE], xpos=True)
    assert left == pytest.approx([8, 2 * xpos_decay(4).sum()])


def test_smoothed() -> None:
    assert smoothed(np.array([0.0, 2.0, 4.0, 6.0]), 2).tolist() == [1, 5]
    assert smoothed(np.array([1.0, 3.0]), 5).tolist() == [1, 3]


def test_a_base_changes_granularity_by_its_logarithm_only() -> None:
    """App. B: fifty times the base costs less than a quarter of it to interpolate."""
    plain, abf = (granularity(inverse_frequencies(Rope("abf", base), 128, 1e4, 4_096)) for base in (1e4, 5e5))
    assert abf / plain == pytest.approx(np.log(1e4) / np.log(5e5), abs=0.03)
