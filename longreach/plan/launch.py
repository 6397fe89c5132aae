"""How the run that was planned is started: the command, and the settings of what shards it."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from longreach.model.aliases import LARGE
from longreach.model.parallel.mode import FULL_SHARD, SHARD_GRAD_OP
from longreach.plan.layout import FSDP, OPTIMIZER, QLORA, WEIGHTS, WHOLE, ZERO1, ZERO2, ZERO3, Layout
from longreach.plan.pieces import AHEAD, sums_whole
from longreach.plan.plan import Plan, Run

STAGES = {ZERO1: 1, ZERO2: 2, ZERO3: 3}
FSDP_WAYS = {FSDP: FULL_SHARD, SHARD_GRAD_OP: SHARD_GRAD_OP}
DEEPSPEED = "deepspeed.json"
PROGRAMS = {"pretrain": "pretrain continue", "finetune": "finetune sft"}
DATA = {"pretrain": ("--data", "ROWS"), "finetune": ("--long", "RECORDS")}  # the option, and what it takes
NODES = '"${NODE_RANK:?the number of this node, from 0}" "${MASTER_ADDR:?the address of node 0}"'
RECIPE, LARGE_RECIPE = "recipes/llama2-7b-32k.sh", "recipes/llama2-70b-16k.sh"


def recipe(plan: Plan) -> str:
    """The whole story, from base model to measured chat model, that this run is a part of."""
    return LARGE_RECIPE if plan.parameters >= LARGE else RECIPE


def command(run: Run, layout: Layout, per_node: int, stages: str = "", folder: str = "") -> str:
    """The line that trains; on several nodes it is started on each, with NODE_RANK and MASTER_ADDR set.

    `folder` is where the deepspeed.json lies that ZeRO is told by.
    """
    return _line(
        run, layout, per_node, stages, DATA[run.program][1], shlex.quote(str(Path(folder or "DIR") / DEEPSPEED))
    )


def _line(run: Run, layout: Layout, per_node: int, stages: str, data: str, settings: str) -> str:
    """`data` and the path of the `settings` of ZeRO are words of the shell."""
    option, _ = DATA[run.program]
    words = [*_launcher(layout, per_node), "-m", *PROGRAMS[run.program].split(), option, data]
    words += ["--base", shlex.quote(run.name)]
    words += ["--stages", stages] if stages else ["--seq-len", str(run.seq_len)]
    words += ["--steps", str(run.steps), "--batch-tokens", str(run.batch_tokens), *_rows_at_once(run, layout)]
    words += ["--gradient-checkpointing"] * layout.checkpointing
    words += _sharing(layout, settings)
    words += ["--lora", str(layout.lora)] if layout.adapter else []
    return " ".join([*words, *(["--qlora"] if layout.mode == QLORA else [])])


def _from_anywhere(base: str) -> str:
    """A folder by its whole path, since launch.sh is started from any; an alias or a hub id as it is."""
    return str(Path(base).absolute()) if Path(base).exists() else base


def _launcher(layout: Layout, per_node: int) -> list[str]:
    """What shards needs torchrun even for a single process, which it tells of the others."""
    gpus = layout.gpus
    if gpus == 1 and layout.mode in WHOLE:
        return ["python"]
    if gpus <= per_node:
        return ["torchrun", "--nproc-per-node", str(gpus)]
    nodes = ["--nnodes", str(-(-gpus // per_node)), "--node-rank", '"$NODE_RANK"', "--master-addr", '"$MASTER_ADDR"']
    return ["torchrun", *nodes, "--nproc-per-node", str(per_node)]


def _rows_at_once(run: Run, layout: Layout) -> list[str]:
    if run.program == "pretrain":
        return ["--micro-batch", str(layout.rows)]
    return ["--micro-batch-tokens", str(layout.rows * layout.seq_len)]


def _sharing(layout: Layout, settings: str) -> list[str]:
    words = ["--fsdp", FSDP_WAYS[layout.mode]] if layout.mode in FSDP_WAYS else []
    words += ["--deepspeed", settings] if layout.mode in STAGES else []
    if layout.sequence_parallel > 1:
        words += ["--sequence-parallel", str(layout.sequence_parallel)]
    return words


def deepspeed(layout: Layout, hidden: int, block: int) -> dict[str, Any]:
    """The JSON that --deepspeed takes; `block` are the parameters of one, of which AHEAD are on a GPU at once."""
    zero: dict[str, Any] = {"stage": STAGES[layout.mode]}
    if not sums_whole(layout):  # they know no buckets
        zero |= {
            "overlap_comm": True,
            "contiguous_gradients": True,
            "reduce_bucket_size": layout.bucket,
            "allgather_bucket_size": layout.bucket,
        }
    if layout.mode == ZERO3:
        zero |= {
            "stage3_max_live_parameters": AHEAD * block,
            "stage3_max_reuse_distance": AHEAD * block,
            "stage3_prefetch_bucket_size": block,
            "stage3_param_persistence_threshold": 10 * hidden,
        }
    for what, name in ((OPTIMIZER, "offload_optimizer"), (WEIGHTS, "offload_param")):
        if what in layout.offload:
            zero[name] = {"device": "cpu", "pin_memory": True}
    return {"zero_optimization": zero}


def shard_settings(plan: Plan, layout: Layout) -> tuple[str, dict[str, Any]] | None:
    """The name of the file of settings and what it holds; None where the command says it all."""
    if layout.mode not in STAGES:
        return None
    return DEEPSPEED, deepspeed(layout, plan.shape.hidden, plan.shape.block_matrices)


def script(plan: Plan, layout: Layout, stages: str = "") -> Sequence[str]:
    """The lines of launch.sh, which is told the data and may be told more options; one that longreach cannot run yet
    says so and ends."""
    run = replace(plan.run, name=_from_anywhere(plan.run.name))
    line = _line(run, layout, plan.node.gpus, stages, '"$1"', f'"$(dirname "$0")/{DEEPSPEED}"')
    lines = ["#!/usr/bin/env bash", f"# {run.name}, rows of {run.seq_len:,} tokens, {layout.gpus} GPUs: {layout.name}"]
    lines += [f"# The whole story: {recipe(plan)}", "set -euo pipefail"]
    if not layout.runs_in(run.program):
        lines += [f"echo 'a plan only: {run.program} does not train with {layout.name} yet' >&2; exit 1"]
    taken = f"{DATA[run.program][1]} [OPTIONS of {PROGRAMS[run.program]}, as --out]"
    lines += [f'(($#)) || {{ echo "usage: $0 {taken}" >&2; exit 2; }}']
    lines += [f": {NODES}"] if layout.gpus > plan.node.gpus else []
    return [*lines, f'{line} "${{@:2}}"']
