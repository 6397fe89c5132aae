"""GPU hours of requests by hand, and which way each of them must move."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.model.aliases import aliases
from longreach.model.flops import Flops, Shape, reading_flops, shape_of, stage_flops
from longreach.plan.gpus import GPUS
from longreach.plan.serving import (
    BEST,
    USUAL,
    WORST,
    Load,
    Reached,
    Server,
    best_server,
    cache_tokens,
    gpu_hours,
    reading,
    server,
    token_bytes,
)

SHAPE = Shape(layers=2, hidden=8, heads=2, kv_heads=2, head_dim=4, intermediate=16, vocabulary=50)
BLOCK = 2 * 8 * (8 + 8) + 3 * 8 * 16  # attention, and an MLP of three matrices
H100 = GPUS["h100"]


def shape(alias: str) -> Shape:
    return shape_of(aliases()[alias].config)


def load(*requests: tuple[int, int, int]) -> Load:
    """Of (prompt, cached, reply)."""
    found = Load()
    for request in requests:
        found.add(*request)
    return found


def test_the_sums_of_two_requests() -> None:
    assert load((100, 60, 10), (50, 0, 4)) == Load(
        requests=2,
        prompt_tokens=150,
        cached_tokens=60,
        positions=100 * 100 + 50 * 50,
        cached_positions=60 * 100,
        reply_tokens=14,
        reply_positions=(100 * 10 + 50) + (50 * 4 + 8),
        longest=110,
    )
    assert load((100, 60, 10)).held == 105  # between 100 and 110


def test_reading_is_a_third_of_training_but_for_the_head() -> None:
    trained = stage_flops(SHAPE, [(64, 64)])
    read = reading_flops(SHAPE, tokens=64, positions=64 * 64, ends=64)
    assert read == Flops(trained.dense / 3, trained.attention / 3)


def test_operations_by_hand() -> None:
    one = load((100, 60, 10))
    head = 50 * 8
    assert reading(SHAPE, one, cached=False) == Flops(2 * (2 * BLOCK * 100 + head), 4 * 2 * 8 * 100 * 100)
    assert reading(SHAPE, one, cached=True) == Flops(2 * (2 * BLOCK * 40 + head), 4 * 2 * 8 * 40 * 100)


def test_a_prompt_that_is_cached_to_the_last_token_costs_the_head_alone() -> None:
    assert reading(SHAPE, load((100, 100, 1)), cached=True) == Flops(2 * 50 * 8, 0)


def test_hours_by_hand() -> None:
    """Ten steps of five sequences' batch each are two reads of the matrices for one sequence."""
    at, one = Server(gpus=1, cache_tokens=1_000, batch=5), load((100, 60, 10))
    hours = gpu_hours(SHAPE, H100, at, one, Reached(peak=0.5, bandwidth=0.25), cached=False)
    matrices = (2 * BLOCK + 50 * 8) * 2
    keys_and_values = 1_050 * (2 * 2 * 2 * 4 * 2)
    assert hours.writing * 3600 == pytest.approx((10 / 5 * matrices + keys_and_values) / (0.25 * 3.35e12))
    assert hours.reading * 3600 == pytest.approx(reading(SHAPE, one, cached=False).total / (0.5 * 989e12))
    assert hours.total == hours.reading + hours.writing


def test_a_batch_too_large_for_the_bandwidth_is_bound_by_operations() -> None:
    at, one = Server(gpus=1, cache_tokens=1_000, batch=10_000), load((1, 0, 1_000_000))
    one = replace(one, reply_positions=0)
    hours = gpu_hours(SHAPE, H100, at, one, Reached(peak=0.5, bandwidth=0.5), cached=True)
    assert hours.writing * 3600 == pytest.approx(2 * (2 * BLOCK + 50 * 8) * 1e6 / (0.5 * 989e12))


def test_keys_and_values_of_known_models() -> None:
    assert token_bytes(shape("llama2-7b")) == 524_288  # half a MB
    assert token_bytes(shape("llama3.1-8b")) == 131_072  # 8 heads of 32
    assert token_bytes(shape("llama3.1-8b"), 16) == 2 * 131_072  # each head twice


def test_what_the_cache_holds() -> None:
    """0.9 x 85.5 GB, less 2 GB and 16.06 GB of weights, in pieces of 131,072 bytes."""
    assert cache_tokens(shape("llama3.1-8b"), H100, 1) == pytest.approx((76.95 - 2 - 16.0605) * 1e9 / 131_072, rel=1e-4)
    assert cache_tokens(shape("llama3.1-70b"), H100, 1) == 0


def test_a_batch_is_what_fits_what_is_asked_and_what_there_is() -> None:
    many = load(*[(1_000, 0, 200)] * 2_000)
    room = cache_tokens(shape("llama2-13b"), H100, 1)
    assert server(shape("llama2-13b"), H100, 1, many, 256) == Server(1, room, room // 1_100)
    assert server(shape("llama2-13b"), H100, 1, many, 8) == Server(1, room, 8)
    assert server(shape("llama2-13b"), H100, 1, load((1_000, 0, 200)), 256) == Server(1, room, 1)


def test_a_server_is_as_large_as_is_worth_it() -> None:
    many = load(*[(2_000, 1_500, 200)] * 2_000)
    small = best_server(shape("llama3.1-8b"), H100, 8, many, 64)
    large = best_server(shape("llama3.1-70b"), H100, 8, many, 256)
    assert small is not None and small.gpus == 1
    assert large is not None and large.gpus == 4  # two hold the weights, but few requests
    assert best_server(shape("llama3.1-70b"), H100, 1, many, 256) is None
    assert server(shape("llama3.1-8b"), H100, 1, load((10_000_000, 0, 1)), 8) is None


@given(
    prompt=st.integers(1, 20_000),
    known=st.floats(0, 1),
    reply=st.integers(1, 2_000),
    batch=st.integers(1, 512),
    more=st.integers(1, 512),
)
def test_which_way_hours_move(prompt: int, known: float, reply: int, batch: int, more: int) -> None:
    model, at = shape("llama3.1-8b"), Server(1, 400_000, batch)
    one = load((prompt, int(prompt * known), reply))

    def hours(at: Server, of: Load, reached: Reached = USUAL, *, cached: bool = True) -> float:
        return gpu_hours(model, H100, at, of, reached, cached=cached).total

    assert hours(at, one) <= hours(at, one, cached=False)
    assert hours(replace(at, batch=batch + more), one) <= hours(at, one)
    assert hours(at, load((prompt, int(prompt * known), reply + more))) > hours(at, one)
    assert hours(at, load((prompt + more, int(prompt * known), reply))) > hours(at, one)
    assert hours(at, one, BEST) < hours(at, one) < hours(at, one, WORST)
