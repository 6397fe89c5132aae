"""The least change that fits: in its order, nothing superfluous; and the longest rows."""

from dataclasses import replace

import pytest

from longreach.model.aliases import aliases
from longreach.model.flops import shape_of
from longreach.model.parallel.mode import SHARD_GRAD_OP
from longreach.plan.gpus import GPUS, Node, find_node
from longreach.plan.host import host
from longreach.plan.layout import ACTIVATIONS, DDP, FSDP, LORA, OPTIMIZER, QLORA, SHARDING, ZERO1, ZERO2, ZERO3, Layout
from longreach.plan.search import (
    GRAIN,
    adapter_instead,
    applied,
    changes,
    fewest_gpus,
    fits,
    least_change,
    longest_rows,
)

H100 = find_node("h100")
SHAPES = {name: shape_of(alias.config) for name, alias in aliases().items()}


def layout(seq_len: int = 32_768, gpus: int = 8, **how: object) -> Layout:
    return Layout(**({"mode": DDP, "gpus": gpus, "seq_len": seq_len} | how))  # type: ignore[arg-type]


def names(model: str, asked: Layout, node: Node = H100) -> list[str] | None:
    found = least_change(SHAPES[model], asked, node)
    return [change.name for change in found[1]] if found else None


def test_what_fits_is_left_alone() -> None:
    asked = layout(2_048)
    assert least_change(SHAPES["qwen2.5-0.5b"], asked, H100) == (asked, ())


def test_less_trouble_goes_first() -> None:
    rows = layout(2_048, rows=64)
    assert names("qwen2.5-0.5b", rows) == ["one row at once"]
    assert names("llama3.2-1b", layout()) == ["gradient checkpointing"]
    assert names("llama2-7b", layout()) == ["gradient checkpointing", "fsdp"]
    assert names("llama2-7b", layout(mode=ZERO2, gpus=4)) == ["gradient checkpointing"]
    assert names("llama2-7b", layout(mode=ZERO1)) == ["gradient checkpointing"]
    assert names("llama2-70b", layout(16_384, 128, mode=ZERO1)) == ["gradient checkpointing", "zero3"]
    assert names("llama2-70b", layout(16_384, 128)) == ["gradient checkpointing", "fsdp"]
    assert names("llama2-70b", layout(16_384)) == ["gradient checkpointing", "optimizer on the host"]
    assert names("llama2-7b", layout(524_288)) == ["gradient checkpointing", "fsdp", "8 GPUs to a row"]
    assert names("llama2-70b", layout(16_384, 128, mode=SHARD_GRAD_OP)) == ["gradient checkpointing", "fsdp"]


@pytest.mark.parametrize("program", ["pretrain", "finetune"])
def test_all_that_is_offered_runs_today(program: str) -> None:
    for asked in (layout(), *(layout(mode=mode, lora=rank) for mode in SHARDING for rank in (0, 16))):
        offered = list(changes(SHAPES["llama2-7b"], asked, H100))
        for count in range(1, len(offered) + 1):
            assert applied(asked, offered[:count]).runs_in(program)


def test_only_degrees_that_divide_the_heads_are_offered() -> None:
    """14 heads: 2 GPUs, but not 4 or 8."""
    offered = changes(SHAPES["qwen2.5-0.5b"], layout(), H100)
    assert [change.values["sequence_parallel"] for change in offered if "sequence_parallel" in change.values] == [2]


def test_what_was_asked_for_is_not_taken_back() -> None:
    asked = layout(524_288, 8, mode=ZERO3, sequence_parallel=4)
    offered = list(changes(SHAPES["llama2-7b"], asked, H100))
    assert {change.values.get("mode", ZERO3) for change in offered} == {ZERO3}
    assert [change.values["sequence_parallel"] for change in offered if "sequence_parallel" in change.values] == [8]
    found = least_change(SHAPES["llama2-7b"], asked, H100)
    assert found and (found[0].mode, found[0].sequence_parallel) == (ZERO3, 8)
    assert not any("mode" in change.values for change in changes(SHAPES["llama2-7b"], layout(mode=FSDP), H100))


def test_what_an_adapter_can_do() -> None:
    assert names("llama2-7b", layout(4_096, mode=LORA, lora=16)) == []
    assert names("llama2-13b", layout(16_384, mode=LORA, lora=16)) == ["gradient checkpointing"]
    asked = layout(4_096, mode=LORA, lora=16)
    assert names("llama2-70b", asked) == ["gradient checkpointing", "fsdp"]
    assert names("llama2-70b", replace(asked, gpus=1)) == ["gradient checkpointing", "a base of 4 bits"]
    assert [change.values for change in changes(SHAPES["llama2-70b"], asked, H100)][-1]["mode"] == QLORA


def test_an_adapter_stays_one_whatever_shards_its_base() -> None:
    found = least_change(SHAPES["llama2-70b"], layout(4_096, mode=LORA, lora=16), H100)
    assert found and (found[0].name, found[0].lora) == ("fsdp+lora+checkpointing", 16)
    assert names("llama2-70b", layout(4_096, mode=ZERO2, lora=16)) == ["gradient checkpointing", "zero3"]
    offered = changes(SHAPES["llama2-70b"], layout(4_096, mode=FSDP, lora=16), H100)
    assert not any("mode" in change.values for change in offered)  # 4 bits are not sharded


@pytest.mark.parametrize("model", ["llama2-7b", "llama2-70b", "qwen3-8b"])
@pytest.mark.parametrize("length", [4_096, 32_768, 131_072])
@pytest.mark.parametrize("node", [H100, find_node("a100-40"), find_node("p5.48xlarge")])
def test_nothing_that_is_changed_is_superfluous(model: str, length: int, node: Node) -> None:
    asked = layout(length, 16)
    found = least_change(SHAPES[model], asked, node)
    if found is None:
        assert fewest_gpus(SHAPES[model], asked, node) != 16
        return
    chosen, done = found
    assert fits(SHAPES[model], chosen, node)
    for change in done:
        without: dict[str, object] = {name: getattr(asked, name) for name in change.values}
        fewer = replace(chosen, **without, offload=chosen.offload - change.offload)  # type: ignore[arg-type]
        assert not fits(SHAPES[model], fewer, node)


def test_a_host_that_is_full_does_not_help() -> None:
    asked = layout(262_144, 8, mode=ZERO3, checkpointing=True, offload=frozenset({OPTIMIZER, ACTIVATIONS}))
    needed = host(SHAPES["llama2-7b"], asked, H100).fullest
    roomy, tight = (Node("n", GPUS["h100"], 8, needed + more) for more in (1, -1))
    assert fits(SHAPES["llama2-7b"], asked, roomy)
    assert not fits(SHAPES["llama2-7b"], asked, tight)


def test_gpus_are_doubled_until_it_fits() -> None:
    asked, node = layout(16_384, 1), Node("n", GPUS["h100"], 8, 300.0)
    needed = fewest_gpus(SHAPES["llama2-70b"], asked, node)
    assert needed and needed > 1
    assert least_change(SHAPES["llama2-70b"], replace(asked, gpus=needed), node)
    assert not least_change(SHAPES["llama2-70b"], replace(asked, gpus=needed // 2), node)


def test_more_gpus_do_not_help_what_each_holds_whole() -> None:
    asked = layout(16_384, 1, mode=QLORA, lora=16)
    assert fewest_gpus(SHAPES["llama2-70b"], asked, find_node("rtx4090")) is None


def test_an_adapter_takes_the_place_of_all_weights() -> None:
    found = adapter_instead(SHAPES["llama2-7b"], layout(), H100, 16)
    assert found and (found.mode, found.lora, found.checkpointing) == (LORA, 16, True)
    found = adapter_instead(SHAPES["llama2-70b"], layout(), H100, 16)
    assert found and (found.what, found.lora) == ("fsdp+lora", 16)
    assert adapter_instead(SHAPES["llama2-70b"], layout(gpus=1), H100, 16) is None  # but in 4 bits
    assert adapter_instead(SHAPES["llama2-7b"], layout(mode=FSDP), H100, 16) is None


@pytest.mark.parametrize(
    "how", [{"mode": DDP}, {"mode": ZERO2, "checkpointing": True}, {"mode": ZERO3, "sequence_parallel": 8}]
)
def test_one_row_longer_does_not_fit(how: dict[str, object]) -> None:
    model, asked = SHAPES["llama3.2-1b"], layout(**how)
    longest = longest_rows(model, asked, H100)
    assert longest % GRAIN == 0 and longest > GRAIN
    assert fits(model, replace(asked, seq_len=longest), H100)
    assert not fits(model, replace(asked, seq_len=longest + GRAIN), H100)


def test_no_row_at_all() -> None:
    assert longest_rows(SHAPES["llama2-70b"], layout(), H100) == 0
