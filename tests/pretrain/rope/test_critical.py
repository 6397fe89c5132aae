"""Critical dimension and its bound, for Llama 2 as arXiv:2310.05209 has it."""

import pytest

from pretrain.rope.critical import critical_dimension, extrapolation_limit, least_base


def test_llama2() -> None:
    assert critical_dimension(128, 10_000, 4_096) == 92
    assert extrapolation_limit(128, 92, 500_000) == pytest.approx(78_400, rel=1e-3)
    assert least_base(128, 92, 32_768) == pytest.approx(1.485e5, rel=1e-3)


def test_the_two_are_inverse() -> None:
    assert extrapolation_limit(64, 40, least_base(64, 40, 100_000)) == pytest.approx(100_000)


def test_a_window_that_turns_every_pair() -> None:
    assert critical_dimension(64, 100, 1_000_000) == 64
    assert critical_dimension(64, 10_000, 4) == 2
