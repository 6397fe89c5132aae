"""What a node needs beside its GPUs, by mode: N processes of a model of P parameters."""

from dataclasses import replace

import pytest

from longreach.model.aliases import aliases
from longreach.model.flops import parameters, shape_of
from longreach.plan.gpus import find_node
from longreach.plan.host import host
from longreach.plan.layout import DDP, FSDP, LORA, OPTIMIZER, QLORA, ZERO1, ZERO2, ZERO3, Layout

SEVEN = shape_of(aliases()["llama2-7b"].config)
P, H100 = parameters(SEVEN) / 1e9, find_node("h100")
EIGHT = Layout(mode=DDP, gpus=8, seq_len=4_096)


@pytest.mark.parametrize(("mode", "bytes_each"), [(DDP, 8 * 4), (FSDP, 4), (ZERO1, 6), (ZERO2, 6), (ZERO3, 6)])
def test_every_process_loads_the_model(mode: str, bytes_each: int) -> None:
    """One after the other where it is sharded."""
    for gpus in (8, 128):
        assert host(SEVEN, replace(EIGHT, mode=mode, gpus=gpus), H100).loading == pytest.approx(bytes_each * P)
    alone = 4 if mode in (DDP, FSDP) else 6
    assert host(SEVEN, replace(EIGHT, mode=mode, gpus=1), H100).loading == pytest.approx(alone * P)


def test_a_checkpoint_is_all_weights_that_learn() -> None:
    """Their moments go into files of 4 GB."""
    needs = host(SEVEN, replace(EIGHT, mode=FSDP), H100)
    assert needs.writing == pytest.approx(4 * P) and needs.fullest == needs.training + needs.writing
    adapter = host(SEVEN, replace(EIGHT, mode=LORA, lora=16), H100)
    assert adapter.writing < 4 < adapter.loading


def test_a_base_of_4_bits_is_made_on_the_gpu() -> None:
    assert host(SEVEN, replace(EIGHT, mode=QLORA, lora=16), H100).loading == 0


def test_what_is_offloaded_stands_through_training() -> None:
    needs = host(SEVEN, replace(EIGHT, mode=ZERO3, offload=frozenset({OPTIMIZER})), H100)
    assert needs.training == pytest.approx(20 * P)
