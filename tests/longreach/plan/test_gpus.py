"""GPUs and nodes by name."""

import pytest

from longreach.errors import UserError
from longreach.plan.gpus import GPUS, NODES, PEAKS, find_node


def test_all_that_are_promised_are_there() -> None:
    assert set(GPUS) == {"a100-40", "a100-80", "h100", "h200", "b200", "l40s", "rtx4090"}
    assert {name: round(gpu.peak / 1e12) for name, gpu in GPUS.items()} == {
        "a100-40": 312,
        "a100-80": 312,
        "h100": 989,
        "h200": 989,
        "b200": 2250,
        "l40s": 362,
        "rtx4090": 165,
    }


def test_the_h100_is_the_one_that_was_measured() -> None:
    assert GPUS["h100"].memory_gb * 1e9 == pytest.approx(81_559 * 2**20, rel=1e-3)
    assert GPUS["h100"].room_gb == pytest.approx(78.66)


def test_a_gpu_stands_in_eights_a_node_as_it_is() -> None:
    assert (find_node("H100").gpus, find_node("h100").host_gb) == (8, 0)
    node = find_node("p4d.24xlarge")
    assert (node.gpu.name, node.gpus) == ("a100-40", 8) and node.host_gb > 1_000
    assert all(node.gpu.device in PEAKS for node in NODES.values())


def test_another_name_is_met_with_those_known() -> None:
    with pytest.raises(UserError, match="did you mean 'h100'") as raised:
        find_node("h10")
    assert "rtx4090" in raised.value.hint and "p5.48xlarge" in raised.value.hint
