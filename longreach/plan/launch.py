"""How the run that was planned is started: the command, and the settings of what shards it."""

import shlex
from collections.abc import Sequence
from typing import Any

from longreach.model.aliases import LARGE
from longreach.plan.layout import ADAPTERS, FSDP, OPTIMIZER, QLORA, WEIGHTS, ZERO1, ZERO2, ZERO3, Layout
from longreach.plan.memory import AHEAD, BUCKET
from longreach.plan.plan import Plan, Run

STAGES = {ZERO1: 1, ZERO2: 2, ZERO3: 3}
RECIPE, LARGE_RECIPE = "recipes/llama2-7b-32k.sh", "recipes/llama2-70b-16k.sh"


def recipe(plan: Plan) -> str:
    """The whole story, from base model to measured chat model, that this run is a part of."""
    return LARGE_RECIPE if plan.parameters >= LARGE else RECIPE


def command(run: Run, layout: Layout, per_node: int, stages: str = "") -> str:
    """The line that trains; on several nodes it is started on each, with NODE_RANK and MASTER_ADDR set."""
    words = [*_launcher(layout.gpus, per_node), *_program(run), "--base", shlex.quote(run.name)]
    words += ["--stages", stages] if stages else ["--seq-len", str(run.seq_len)]
    words += ["--steps", str(run.steps), "--batch-tokens", str(run.batch_tokens), *_rows_at_once(run, layout)]
    words += ["--gradient-checkpointing"] * layout.checkpointing
    words += ["--lora", str(layout.lora)] if layout.mode in ADAPTERS else []
    return " ".join([*words, *(["--qlora"] if layout.mode == QLORA else [])])


def _launcher(gpus: int, per_node: int) -> list[str]:
    if gpus == 1:
        return ["python"]
    if gpus <= per_node:
        return ["torchrun", "--nproc-per-node", str(gpus)]
    nodes = ["--nnodes", str(-(-gpus // per_node)), "--node-rank", '"$NODE_RANK"', "--master-addr", '"$MASTER_ADDR"']
    return ["torchrun", *nodes, "--nproc-per-node", str(per_node)]


def _program(run: Run) -> list[str]:
    if run.program == "pretrain":
        return ["-m", "pretrain", "continue", "--data", "ROWS"]
    return ["-m", "finetune", "sft", "--long", "RECORDS"]


def _rows_at_once(run: Run, layout: Layout) -> list[str]:
    if run.program == "pretrain":
        return ["--micro-batch", str(layout.rows)]
    return ["--micro-batch-tokens", str(layout.rows * layout.seq_len)]


def deepspeed(run: Run, layout: Layout, hidden: int, block: int) -> dict[str, Any]:
    """The JSON of ZeRO; `block` are the parameters of one, of which AHEAD are on a GPU at once."""
    zero: dict[str, Any] = {
        "stage": STAGES[layout.mode],
        "overlap_comm": True,
        "contiguous_gradients": True,
        "reduce_bucket_size": BUCKET,
        "allgather_bucket_size": BUCKET,
    }
    if layout.mode == ZERO3:
        zero |= {
            "stage3_max_live_parameters": AHEAD * block,
            "stage3_prefetch_bucket_size": block,
            "stage3_param_persistence_threshold": 10 * hidden,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    for what, name in ((OPTIMIZER, "offload_optimizer"), (WEIGHTS, "offload_param")):
        if what in layout.offload:
            zero[name] = {"device": "cpu", "pin_memory": True}
    sharers = layout.gpus // layout.sequence_parallel
    return {
        "bf16": {"enabled": True},
        "zero_optimization": zero,
        "gradient_clipping": 1.0,
        "train_micro_batch_size_per_gpu": layout.rows,
        "gradient_accumulation_steps": max(1, run.batch_tokens // (run.seq_len * layout.rows * sharers)),
        **({"sequence_parallel_size": layout.sequence_parallel} if layout.sequence_parallel > 1 else {}),
    }


def fsdp(layout: Layout) -> dict[str, Any]:
    """The settings of PyTorch's fully sharded data parallel, in accelerate's words."""
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_reshard_after_forward": True,
        "fsdp_offload_params": bool({OPTIMIZER, WEIGHTS} & layout.offload),
        "fsdp_activation_checkpointing": layout.checkpointing,
        "mixed_precision": "bf16",
    }


def shard_settings(plan: Plan, layout: Layout) -> tuple[str, dict[str, Any]] | None:
    """The name of the file of settings and what it holds; None where nothing is sharded."""
    if layout.mode == FSDP:
        return "fsdp.json", fsdp(layout)
    if layout.mode in STAGES:
        return "deepspeed.json", deepspeed(plan.run, layout, plan.shape.hidden, plan.shape.block_matrices)
    return None


def script(plan: Plan, layout: Layout, stages: str = "") -> Sequence[str]:
    """The lines of launch.sh; one that longreach cannot run yet says so and ends."""
    run, line = plan.run, command(plan.run, layout, plan.node.gpus, stages)
    lines = ["#!/usr/bin/env bash", f"# {run.name}, rows of {run.seq_len:,} tokens, {layout.gpus} GPUs: {layout.name}"]
    lines += [f"# The whole story: {recipe(plan)}", "set -euo pipefail"]
    if not layout.runs_in(run.program):
        lines += [
            f"echo 'a plan only: {run.program} does not train with {layout.name} yet' >&2; exit 1",
            "# with the settings beside this file it will be:",
        ]
    return [*lines, line]
