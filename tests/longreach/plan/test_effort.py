"""Hours and money by hand."""

import pytest

from longreach.model.flops import Flops, Shape, stage_flops
from longreach.plan.effort import HIGHEST_MFU, LOWEST_MFU, MFU, effort, run_flops
from longreach.plan.gpus import GPUS

SHAPE = Shape(layers=2, hidden=8, heads=2, kv_heads=2, head_dim=4, intermediate=16, vocabulary=50)


def test_hours_by_hand() -> None:
    """3.6e18 operations are an hour of 1e15 a second: an H100 at its peak of 0.989e15 takes a little longer."""
    found = effort(Flops(3e18, 0.6e18), GPUS["h100"], 4, 0.5, 2.0)
    assert found.hours == pytest.approx(1 / 0.989 / 4 / 0.5)
    assert found.gpu_hours == pytest.approx(2 / 0.989)
    assert found.cost == pytest.approx(4 / 0.989)


def test_the_range_is_what_was_seen() -> None:
    found = effort(Flops(1e20, 0), GPUS["a100-80"], 8, 0, 0)
    at_peak = 1e20 / 8 / 312e12 / 3600
    assert (found.mfu, found.cost) == (MFU, None)
    assert (found.shortest, found.longest) == pytest.approx((at_peak / HIGHEST_MFU, at_peak / LOWEST_MFU))
    assert found.shortest < found.hours < found.longest


def test_an_mfu_outside_the_range_widens_it() -> None:
    found = effort(Flops(1e20, 0), GPUS["h100"], 1, 0.6, 0)
    assert found.shortest == found.hours < found.longest


def test_frozen_matrices_cost_two_passes_of_three() -> None:
    stages = [(16, 1_000)]
    whole, adapter = run_flops(SHAPE, stages), run_flops(SHAPE, stages, adapter=True)
    assert whole == stage_flops(SHAPE, stages)
    assert adapter == Flops(pytest.approx(whole.dense * 2 / 3), whole.attention)
