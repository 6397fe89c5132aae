"""What is checked before the first step, so that nothing is found out after an hour. Every problem is said at once."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from shutil import disk_usage
from typing import Any

import numpy as np
import torch
from accelerate.utils import is_peft_model

from longreach.errors import UserError
from longreach.model.batches import Batches, TrainRow, called
from longreach.model.isolation import check_isolation
from longreach.model.parallel.mode import DDP, Mode
from longreach.model.processes import team
from longreach.model.rotary import check_rope
from longreach.model.stages import Leg, Stage
from longreach.ranks import started, world

FIRST_ROWS = 64  # of each stage are read and looked at
STATE_BYTES = 12  # of a trained parameter in a checkpoint: itself and the two moments of AdamW, in fp32


def check_processes(mode: Mode) -> None:
    """One process per GPU, in whole teams."""
    if torch.cuda.device_count() > 1 and world() == 1:
        raise UserError(
            f"{torch.cuda.device_count()} GPUs are visible to one process",
            "start it by `torchrun --nproc-per-node=gpu -m ...`, or show it one: CUDA_VISIBLE_DEVICES=0",
        )
    if mode.kind != DDP and not started():
        raise UserError(
            f"{mode.name} lies over the processes that torchrun starts, and this one was started alone",
            "torchrun --nproc-per-node=gpu -m ...",
        )
    if world() % mode.sequence:
        raise UserError(
            f"{world()} processes are no whole number of teams of {mode.sequence} that share rows",
            "start a multiple of --sequence-parallel",
        )


def check_model(model: Any, leg: Leg) -> None:
    """The model of a stage: its RoPE is in effect, its window holds the rows, and it keeps their documents apart."""
    check_rope(model.get_base_model() if is_peft_model(model) else model)
    config, seq_len = model.config.get_text_config(), leg.stage.batches.seq_len
    if seq_len > config.max_position_embeddings:
        raise UserError(
            f"rows of {seq_len} tokens are longer than the model's window of {config.max_position_embeddings}"
        )
    if getattr(config, "router_aux_loss_coef", None):
        raise UserError(
            f"{config.model_type} is a mixture of experts, which need a balancing loss that longreach does not have",
            "choose a dense model",
        )
    check_heads(config, team().degree)
    uneven = not leg.stage.batches.rows_per_step  # then rows may stand end to end
    if uneven or any(len(row.lengths) > 1 for _, row in _first_rows(leg.stage)):
        check_isolation(model)


def check_heads(config: Any, degree: int) -> None:
    """Processes that share rows share out the heads of attention."""
    if config.num_attention_heads % degree:
        fitting = ", ".join(str(count) for count in range(1, 129) if config.num_attention_heads % count == 0)
        raise UserError(
            f"{degree} processes cannot share {config.num_attention_heads} heads of attention", f"{fitting} could"
        )


def check_batches(legs: Sequence[Leg], vocabulary: int) -> None:
    """The batches of all stages, so that the last one does not fail after days."""
    problems = []
    for leg in legs:
        batches = leg.stage.batches
        found = [*_foreign(batches, vocabulary), *_uneven(batches)] or list(islice(_of_rows(leg.stage, vocabulary), 3))
        problems += [f"stage {leg.number}: {problem}" for problem in found]
    if problems:
        raise UserError("\n".join(problems))


def _foreign(batches: Batches, vocabulary: int) -> list[str]:
    words = batches.vocab_size
    return [f"rows of {words} words, the model has {vocabulary}: another tokenizer"] if words > vocabulary else []


def _uneven(batches: Batches) -> list[str]:
    """No process may wait for the others in every step."""
    rows, teams = batches.rows_per_step, team().count
    if not rows % teams:
        return []
    fitting = ", ".join(str(count) for count in range(1, min(rows, 2 * teams) + 1) if rows % count == 0)
    more = -(-rows // teams) * teams * batches.seq_len
    sharers = "processes" if team().degree == 1 else f"teams of {team().degree} processes"
    return [
        f"a step has {rows} rows of {batches.seq_len} tokens, which {teams} {sharers} cannot share evenly: "
        f"{fitting} could, or a batch of {more} tokens"
    ]


def _of_rows(stage: Stage, vocabulary: int) -> Iterator[str]:
    """What is wrong with the first rows. One of padding and single tokens is odd but harmless."""
    for item, row in _first_rows(stage):
        name = called(item)
        if int(row.tokens.max()) >= vocabulary:
            yield f"row {name} holds token {int(row.tokens.max())}, the model knows {vocabulary}"
        if not row.weights.any() and row.lengths.max(initial=0) > 1:
            yield f"row {name} has no token to train on"
        if not (row.weights >= 0).all() or not np.isfinite(row.weights).all():
            yield f"row {name} has weights below 0, or that are no numbers"
        ends = np.cumsum(row.lengths)
        if row.weights[ends - row.lengths].any() or row.weights[row.lengths.sum() :].any():
            yield f"row {name} has a weight on padding, or on the first token of a document, which nothing precedes"


def _first_rows(stage: Stage) -> Iterator[tuple[Any, TrainRow]]:
    items = (item for step in range(stage.steps) for item in stage.batches.plan(step))
    return ((item, stage.batches.row(item)) for item in islice(items, FIRST_ROWS))


def check_room(model: Any, folder: Path) -> None:
    """Refuse where not even one checkpoint fits on the disk."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    needed, free = trained * STATE_BYTES, disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"a checkpoint takes {needed / 1e9:.1f} GB, {folder} has room for {free / 1e9:.1f} GB",
            "free some space, or choose another --out",
        )
