"""Memory of a GPU: held against what our trainer took on an H100, and against sums by hand."""

from dataclasses import replace

import pytest

from longreach.model.aliases import aliases
from longreach.model.flops import parameters, shape_of
from longreach.model.parallel.mode import SHARD_GRAD_OP
from longreach.plan.layout import (
    ACTIVATIONS,
    BUCKET,
    DDP,
    FSDP,
    LORA,
    MODES,
    OPTIMIZER,
    QLORA,
    ZERO1,
    ZERO2,
    ZERO3,
    Layout,
    problems,
)
from longreach.plan.memory import memory
from longreach.plan.moments import ATTENTION, LOSS, MLP, REDUCTION, STEP, WRITING, blocks_of_a_bucket, moments
from longreach.plan.pieces import gathered_bytes, loss_bytes, recomputed_bytes, standing_buffers
from longreach.plan.states import adapter_parameters

BILLION = shape_of(
    {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 2_048,
        "intermediate_size": 5_632,
        "num_hidden_layers": 22,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
    }
)
SEVEN = shape_of(aliases()["llama2-7b"].config)
ALONE = Layout(mode=DDP, gpus=1, seq_len=32_768, checkpointing=True)


@pytest.mark.parametrize(
    ("seq_len", "rows", "checkpointing", "gigabytes"),
    [
        (4_096, 2, True, 22.4),
        (4_096, 8, True, 28.3),
        (4_096, 2, False, 40.5),
        (16_384, 1, True, 24.2),
        (16_384, 2, True, 28.3),
        (32_768, 1, True, 28.3),
    ],
)
def test_what_an_h100_held(seq_len: int, rows: int, checkpointing: bool, gigabytes: float) -> None:
    """docs/gpu.md: peak memory of `pretrain scratch`, 1.1 billion parameters."""
    layout = Layout(mode=DDP, gpus=1, seq_len=seq_len, rows=rows, checkpointing=checkpointing)
    assert memory(BILLION, layout).total == pytest.approx(gigabytes, rel=0.05)


def test_the_states_are_16_bytes_a_parameter() -> None:
    found = memory(SEVEN, ALONE)
    assert found.weights + found.gradients + found.optimizer == pytest.approx(16 * 6.738415616)


@pytest.mark.parametrize("mode", MODES)
def test_pieces_are_all_there_is(mode: str) -> None:
    found = memory(SEVEN, replace(ALONE, mode=mode, gpus=8, lora=16 if "lora" in mode else 0))
    pieces = (found.weights, found.gradients, found.optimizer, found.activations, found.logits, found.buffers)
    assert found.total == pytest.approx(sum(pieces))
    assert min(pieces) > 0


@pytest.mark.parametrize(
    ("mode", "offload", "gigabytes"),
    [
        (DDP, frozenset(), 25.14),
        (FSDP, frozenset(), 22.02),
        (ZERO2, frozenset(), 25.65),
        (ZERO3, frozenset(), 26.00),
        (ZERO3, frozenset({OPTIMIZER}), 8.03),
    ],
)
def test_what_an_h200_held(mode: str, offload: frozenset[str], gigabytes: float) -> None:
    """docs/plan.md: the same model by every engine, one process, with the buckets of recipes/deepspeed-*.json."""
    how = {"seq_len": 16_384, "gpus": 1, "checkpointing": True, "bucket": 500_000_000}
    layout = Layout(mode=mode, offload=offload, **how)  # type: ignore[arg-type]
    assert memory(BILLION, layout).total == pytest.approx(gigabytes, rel=0.08)


def test_the_fullest_moment_counts() -> None:
    """A short row is fullest in its loss, which does not shrink with it; a long one where a block is computed again."""
    grouped = replace(ALONE, mode=ZERO3, gpus=8)
    assert memory(SEVEN, replace(ALONE, seq_len=1_024)).peak == LOSS
    assert memory(SEVEN, grouped).peak == MLP
    assert memory(SEVEN, replace(grouped, tiled_mlp=True, seq_len=262_144)).peak == ATTENTION
    assert memory(SEVEN, replace(grouped, gpus=1, seq_len=1_024)).peak == STEP
    many = replace(grouped, bucket=2_000_000_000, seq_len=1_024)
    assert memory(SEVEN, many).peak == REDUCTION


def test_the_loss_by_hand() -> None:
    """A chunk of 2^28 logits; its hidden states in two widths; tiles of 4,096 words; gradients of head and row."""
    chunk = 2**28 // 32_000
    rows = chunk * 4_096 * (2 + 4)
    tiles = 2 * 4_096 * (chunk + 4_096)
    expected = 4 * chunk * 32_000 + rows + tiles + 4 * 32_000 * 4_096 + 4 * 32_768 * 4_096
    assert loss_bytes(SEVEN, ALONE) == expected
    assert expected / 1e9 == pytest.approx(2.3, rel=0.1)  # docs/gpu.md measured that much


def test_the_loss_hardly_grows_with_the_row() -> None:
    double = loss_bytes(SEVEN, replace(ALONE, seq_len=65_536)) - loss_bytes(SEVEN, ALONE)
    assert double == 4 * 32_768 * 4_096  # the gradient of the hidden states, no logits
    full = replace(ALONE, full_logits=True)
    assert loss_bytes(SEVEN, full) == 12 * 32_768 * 32_000


def test_a_frozen_head_has_no_gradient() -> None:
    adapter = replace(ALONE, mode=LORA, lora=16)
    assert loss_bytes(SEVEN, ALONE) - loss_bytes(SEVEN, adapter) == 4 * 32_000 * 4_096
    tied = replace(SEVEN, tied=True)
    assert loss_bytes(tied, ALONE) == loss_bytes(tied, adapter)


def test_checkpoints_by_hand() -> None:
    """32 float32 inputs of blocks, and the angles' cosines and sines; the last norm keeps three more at the loss."""
    at_loss = moments(SEVEN, ALONE)[0]
    assert at_loss.activations == 32_768 * (32 * 4 * 4_096 + 2 * 128 * 4 + 4_096 * 12)
    assert at_loss.buffers == 2 * 32 * SEVEN.block_matrices  # autocast keeps every rounded matrix until then


def test_what_is_computed_again_by_hand() -> None:
    """A block's 26h + 4a + 4k + 8f and its small sums, without its float32 input, which is the checkpoint."""
    block = (26 + 8) * 4_096 + 8 * 11_008 + 4 * 32 + 2 * 4
    assert recomputed_bytes(SEVEN, ALONE) == block - 4 * 4_096
    assert recomputed_bytes(SEVEN, replace(ALONE, mode=ZERO3, gpus=8)) == block - 10 * 4_096
    assert recomputed_bytes(SEVEN, replace(ALONE, checkpointing=False)) == 0


def test_activations_on_the_host_leave_two_blocks_here() -> None:
    here = replace(ALONE, mode=ZERO3, gpus=8)
    there = replace(here, offload=frozenset({ACTIVATIONS}))
    moved = memory(SEVEN, here).activations - memory(SEVEN, there).activations
    assert moved * 1e9 == pytest.approx(30 * 2 * 4_096 * 32_768)
    assert memory(SEVEN, there).host * 1e9 == 32 * 2 * 4_096 * 32_768


def test_gpus_that_share_a_row_hold_a_part_of_it() -> None:
    shared = Layout(mode=ZERO3, gpus=8, seq_len=65_536, checkpointing=True)
    whole, eighth = (replace(shared, sequence_parallel=degree) for degree in (1, 8))
    assert (whole.tokens, eighth.tokens) == (65_536, 8_192)
    assert moments(SEVEN, eighth)[0].activations * 8 == moments(SEVEN, whole)[0].activations


def test_shared_keys_and_the_sent_output_are_kept_too() -> None:
    """8 GPUs to a row of 4 heads of keys hold 8; attention's output is there before and after it is sent."""
    alone = Layout(mode=FSDP, gpus=8, seq_len=65_536)
    eight = replace(alone, sequence_parallel=8)
    more = moments(BILLION, eight)[0].activations * 8 - moments(BILLION, alone)[0].activations
    assert more == 65_536 * 22 * 2 * (2 * 4 * 128 + 16 * 128)


def test_buffers_by_hand() -> None:
    block, words = SEVEN.block_matrices, 32_000 * 4_096
    ways = {mode: Layout(mode=mode, gpus=8, seq_len=1) for mode in (DDP, ZERO1, ZERO2, ZERO3, FSDP)}
    assert {mode: standing_buffers(way) for mode, way in ways.items()} == {
        DDP: 0,
        ZERO1: 0,
        ZERO2: 0,
        ZERO3: 2 * BUCKET,
        FSDP: 0,
    }
    assert {mode: gathered_bytes(SEVEN, way) for mode, way in ways.items()} == {
        DDP: 0,
        ZERO1: (2 + 4) * 4_096 * 11_008,  # in half precision its sums take each gradient as it comes
        ZERO2: 2 * 2 * BUCKET,  # made for each backward pass
        ZERO3: 2 * (3 * block + words),
        FSDP: 2 * (3 * block + 2 * words + words) + 6 * block,  # gradients of head and block, and its sum in float32
    }
    kept = replace(ways[FSDP], mode=SHARD_GRAD_OP)  # all 32 blocks, and none on its way
    assert gathered_bytes(SEVEN, kept) - gathered_bytes(SEVEN, ways[FSDP]) == 2 * (32 - 3) * block
    at_loss = {mode: moments(SEVEN, replace(kept, mode=mode))[0].buffers for mode in (FSDP, SHARD_GRAD_OP)}
    assert at_loss == {FSDP: 2 * 2 * words, SHARD_GRAD_OP: 2 * (2 * words + 32 * block)}
    assert gathered_bytes(SEVEN, replace(ways[ZERO3], gpus=1)) == 0
    assert gathered_bytes(SEVEN, replace(ways[FSDP], on_gpu=False)) > 1.5 * gathered_bytes(SEVEN, ways[FSDP])


def test_what_an_adapter_gathers_and_sends() -> None:
    """FSDP gathers both embeddings; a frozen head has no gradient, and of a block only the adapter's is sent."""
    block, words, rank = SEVEN.block_matrices, 32_000 * 4_096, 16
    adapter = rank * (4 * (4_096 + 4_096) + 3 * (4_096 + 11_008)) + 2 * 4_096
    way = Layout(mode=FSDP, gpus=8, seq_len=1, lora=rank)
    assert gathered_bytes(SEVEN, way) == 2 * (3 * block + 3 * words) + (2 + 4) * adapter
    assert moments(SEVEN, way)[-1].buffers == 2 * 3 * words + (2 + 4 + 4 / 8) * words
    assert gathered_bytes(SEVEN, replace(way, mode=ZERO3)) == gathered_bytes(SEVEN, replace(way, mode=ZERO3, lora=0))
    zero = replace(way, mode=ZERO3)
    learning = adapter_parameters(SEVEN, rank)
    found = {each.name: each.buffers for each in moments(SEVEN, zero)}
    assert found[REDUCTION] == (2 + 4 / 8) * learning  # less than a bucket
    assert found[STEP] == 4 * learning / 8
    assert blocks_of_a_bucket(SEVEN, zero) == 31
    tied = replace(SEVEN, tied=True)
    assert gathered_bytes(tied, way) == gathered_bytes(SEVEN, way)  # for the matrix that it lacks it has a gradient
    assert moments(tied, way)[-1].buffers == 2 * 2 * words + (2 + 4 + 4 / 8) * words


def test_reductions_by_hand() -> None:
    """The first bucket holds the head and less than a block's 202 M; ZeRO 3 steps its part of 6.7 B at once."""
    zero = replace(ALONE, mode=ZERO3, gpus=8)
    assert blocks_of_a_bucket(SEVEN, zero) == 0
    assert (
        blocks_of_a_bucket(SEVEN, replace(zero, bucket=10**9)) == (10**9 - 32_000 * 4_096) // SEVEN.block_matrices == 4
    )
    found = {each.name: each.buffers for each in moments(SEVEN, zero)}
    assert found[REDUCTION] == 2 * BUCKET + 4 * BUCKET / 8
    assert found[STEP] == 4 * parameters(SEVEN) / 8
    host = replace(zero, offload=frozenset({OPTIMIZER}))
    assert STEP not in {each.name for each in moments(SEVEN, host)}
    assert moments(SEVEN, replace(zero, mode=FSDP))[-1].buffers == 2 * 32_000 * 4_096 * (2 * 2 + 4 + 4 / 8)


def test_whole_sums_are_sent_once_a_step() -> None:
    """7 B as they are, 0.5 B and less in one copy; without half precision by buckets, as ZeRO 2, which they go into."""
    one = replace(ALONE, mode=ZERO1, gpus=8)
    assert {each.name: each.buffers for each in moments(SEVEN, one)}[REDUCTION] == 0
    learning = adapter_parameters(SEVEN, 16)
    assert {each.name: each.buffers for each in moments(SEVEN, replace(one, lora=16))}[REDUCTION] == 4 * learning
    sent = {
        mode: {each.name: each.buffers for each in moments(SEVEN, replace(one, mode=mode, on_gpu=False))}[REDUCTION]
        for mode in (ZERO1, ZERO2)
    }
    assert sent[ZERO2] - sent[ZERO1] == 4 * BUCKET
    assert sent[ZERO1] == 2 * 4 * BUCKET + 4 * parameters(SEVEN) / 8


def test_four_bits_need_no_rounded_copies() -> None:
    adapter, four = (memory(SEVEN, replace(ALONE, mode=mode, lora=16)) for mode in (LORA, QLORA))
    assert four.weights < adapter.weights / 4
    assert four.activations == adapter.activations
    assert four.buffers * 1e9 == 2 * 4_096 * 11_008  # the largest matrix, unpacked for its product


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"mode": DDP, "offload": frozenset({OPTIMIZER})}, "offloads nothing"),
        ({"mode": ZERO2, "offload": frozenset({"weights"})}, "offloaded by zero3"),
        ({"mode": FSDP, "offload": frozenset({OPTIMIZER})}, "by zero2 and zero3"),
        ({"mode": ZERO1, "offload": frozenset({OPTIMIZER})}, "by zero2 and zero3"),
        ({"mode": ZERO1, "offload": frozenset({"weights"})}, "offloaded by zero3"),
        ({"mode": ZERO3, "offload": frozenset({ACTIVATIONS})}, "needs gradient checkpointing"),
        ({"mode": QLORA, "sequence_parallel": 2}, "no row to several GPUs"),
        ({"mode": ZERO3, "sequence_parallel": 3}, "do not divide 8 GPUs and 32 heads"),
    ],
)
def test_what_cannot_be_is_named(how: dict[str, object], problem: str) -> None:
    found = problems(Layout(gpus=8, seq_len=1, **how), SEVEN)  # type: ignore[arg-type]
    assert len(found) == 1 and problem in found[0]


def test_a_name_says_what_learns() -> None:
    assert Layout(mode=FSDP, gpus=8, seq_len=1, lora=8).name == "fsdp+lora"
    assert Layout(mode=LORA, gpus=8, seq_len=1, lora=8).name == "lora"


def test_a_name_says_all() -> None:
    layout = Layout(
        mode=ZERO3,
        gpus=8,
        seq_len=1,
        checkpointing=True,
        sequence_parallel=8,
        offload=frozenset({ACTIVATIONS, OPTIMIZER}),
        tiled_mlp=True,
    )
    assert layout.name == "zero3+checkpointing+sequence-parallel:8+offload:optimizer+offload:activations+tiled-mlp"
    assert not layout.runs_in("pretrain")
    assert replace(layout, tiled_mlp=False, offload=frozenset({OPTIMIZER})).runs_in("pretrain")
    assert ALONE.runs_in("pretrain") and not replace(ALONE, mode=QLORA).runs_in("pretrain")
    assert replace(ALONE, mode=QLORA).runs_in("finetune")


def test_a_checkpoint_is_gathered_in_the_same_memory_where_there_is_no_gpu() -> None:
    """The moments of a small model are one file."""
    sharded = Layout(mode=ZERO3, gpus=2, seq_len=1_024, checkpointing=True)
    assert WRITING not in {each.name for each in moments(BILLION, sharded)}
    found = {each.name: each.total for each in moments(BILLION, replace(sharded, on_gpu=False))}
    assert found[WRITING] == max(4 * parameters(BILLION), min(4e9, 8 * parameters(BILLION)))
    assert WRITING not in {each.name for each in moments(BILLION, replace(sharded, mode=DDP, on_gpu=False))}
