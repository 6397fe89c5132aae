"""All that a plan says of a training run, as one value: computed here, shown and written elsewhere."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from longreach.errors import UserError
from longreach.model.aliases import find_alias
from longreach.model.flops import EXACT, Flops, Shape, paper_shape, parameters, shape_of, stage_flops
from longreach.model.options import MICRO_BATCH_TOKENS
from longreach.model.parallel.mode import SHARD_GRAD_OP
from longreach.plan.effort import Effort, effort, run_flops
from longreach.plan.gpus import Node, find_node
from longreach.plan.host import Host, host
from longreach.plan.layout import (
    ACTIVATIONS,
    ADAPTERS,
    DDP,
    FSDP,
    LORA,
    MODES,
    OPTIMIZER,
    QLORA,
    SHARDING,
    WEIGHTS,
    WHOLE,
    ZERO1,
    ZERO2,
    ZERO3,
    Layout,
    problems,
)
from longreach.plan.memory import Memory, memory
from longreach.plan.options import AUTO, PlanOptions
from longreach.plan.search import Change, adapter_instead, fewest_gpus, fits, least_change, longest_rows

RANK = 16  # of adapters, where nobody says
CONFIGURATION = ".json"  # enough for a plan
NOT_OFFLOADED = {
    **dict.fromkeys((FSDP, SHARD_GRAD_OP, ZERO1), frozenset({OPTIMIZER, WEIGHTS})),
    ZERO2: frozenset({WEIGHTS}),
}


@dataclass(frozen=True)
class Run:
    """What is to be trained: the program that does it, the model, and (length, tokens) of each stage."""

    program: str
    name: str
    config: Mapping[str, Any]
    stages: Sequence[tuple[int, int]]
    batch_tokens: int
    qlora: bool = False

    @property
    def seq_len(self) -> int:
        """Of the longest rows."""
        return max(length for length, _ in self.stages)

    @property
    def tokens(self) -> int:
        """Of all stages."""
        return sum(tokens for _, tokens in self.stages)

    @property
    def steps(self) -> int:
        """Whole steps."""
        return max(1, self.tokens // self.batch_tokens)


@dataclass(frozen=True)
class Laid:
    """A layout, what a GPU and a node need, whether that fits, and the longest rows that would."""

    layout: Layout
    memory: Memory
    host: Host
    fits: bool
    longest: int


@dataclass(frozen=True)
class Plan:
    """Figures and advice. `recommended` is a key of `laid`, None where nothing fits on so many GPUs."""

    run: Run
    shape: Shape
    node: Node
    gpus: int
    laid: Mapping[str, Laid]
    recommended: str | None
    changes: tuple[Change, ...]
    fewest_gpus: int | None
    adapter: Layout | None
    effort: Effort
    paper: Flops
    notes: tuple[str, ...]

    @property
    def chosen(self) -> Layout | None:
        """The layout recommended."""
        return self.laid[self.recommended].layout if self.recommended else None

    @property
    def parameters(self) -> int:
        """Of the whole model."""
        return parameters(self.shape)


def make_plan(run: Run, options: PlanOptions) -> Plan:
    """Everything; UserError for what cannot be."""
    shape, node = shape_of(run.config), find_node(options.gpu)
    asked = asked_layout(run, options)
    wrong = [*problems(asked, shape), *_broken_nodes(options.gpus, node)]
    if wrong:
        raise UserError("\n".join(wrong), f"{run.program} plan --help")
    laid = {key: lay(shape, layout, node) for key, layout in usual_layouts(asked)}
    found = least_change(shape, asked, node)
    name = _key(laid, found[0]) if found else None
    if found and name not in laid:
        laid[found[0].name] = lay(shape, found[0], node)
    runnable = bool(found and found[0].runs_in(run.program))
    return Plan(
        run=run,
        shape=shape,
        node=node,
        gpus=options.gpus,
        laid=laid,
        recommended=name,
        changes=found[1] if found else (),
        fewest_gpus=options.gpus if found else fewest_gpus(shape, asked, node),
        adapter=None if runnable else adapter_instead(shape, asked, node, options.lora or RANK),
        effort=effort(
            run_flops(shape, run.stages, adapter=asked.adapter),
            node.gpu,
            options.gpus,
            options.mfu or 0,
            options.price or 0,
        ),
        paper=stage_flops(paper_shape(shape.layers, shape.hidden), run.stages),
        notes=(*_notes(run, found[0] if found else asked, node), *_fewer_rows(options, asked)),
    )


def asked_layout(run: Run, options: PlanOptions) -> Layout:
    """As the user has it; without a mode, as longreach trains."""
    mode = asked_mode(run, options)
    return Layout(
        mode=mode,
        gpus=options.gpus,
        seq_len=run.seq_len,
        rows=_rows_at_once(run, options),
        checkpointing=options.gradient_checkpointing,
        sequence_parallel=options.sequence_parallel,
        offload=frozenset(options.offload),
        lora=options.lora or (RANK if mode in ADAPTERS else 0),
    )


def _rows_at_once(run: Run, options: PlanOptions) -> int:
    """As many as asked for, or as hold 8,192 tokens; no more than a step has for those that share a row."""
    of_a_step = run.batch_tokens * options.sequence_parallel // (run.seq_len * options.gpus)
    return max(1, min(options.micro_batch or MICRO_BATCH_TOKENS // run.seq_len, of_a_step))


def asked_mode(run: Run, options: PlanOptions) -> str:
    """Without one DDP, unless what is asked for needs ZeRO; of an adapter DDP is a mode of its own."""
    if run.qlora:
        return QLORA
    mode = options.mode
    if mode == AUTO:
        mode = ZERO3 if options.offload else DDP
    return LORA if mode == DDP and options.lora else mode


def usual_layouts(asked: Layout) -> Iterator[tuple[str, Layout]]:
    """Every mode with and without checkpointing, and what else was asked for where the mode has it.

    Where an adapter was asked for, it is also laid on what shards.
    """
    layouts = [as_mode(asked, mode) for mode in MODES]
    if asked.adapter:
        layouts += [replace(as_mode(asked, mode), lora=asked.lora) for mode in SHARDING]
    for layout in layouts:
        yield layout.what, replace(layout, checkpointing=False, offload=layout.offload - {ACTIVATIONS})
        yield f"{layout.what}+checkpointing", replace(layout, checkpointing=True)


def _key(laid: Mapping[str, Laid], layout: Layout) -> str:
    """Its place in the table, or its own name."""
    return next((key for key, each in laid.items() if each.layout == layout), layout.name)


def as_mode(layout: Layout, mode: str) -> Layout:
    """The same in another mode, without what that does not have."""
    offload = frozenset() if mode in WHOLE else layout.offload - NOT_OFFLOADED.get(mode, frozenset())
    return replace(
        layout,
        mode=mode,
        lora=(layout.lora or RANK) if mode in ADAPTERS else 0,
        sequence_parallel=1 if mode == QLORA else layout.sequence_parallel,
        offload=offload,
    )


def lay(shape: Shape, layout: Layout, node: Node) -> Laid:
    """What a layout comes to."""
    needs = memory(shape, layout), host(shape, layout, node)
    return Laid(layout, *needs, fits(shape, layout, node), longest_rows(shape, layout, node))


def _broken_nodes(gpus: int, node: Node) -> list[str]:
    if gpus <= node.gpus or gpus % node.gpus == 0:
        return []
    return [f"--gpus {gpus} is no whole number of nodes of {node.gpus}"]


def _notes(run: Run, layout: Layout, node: Node) -> Iterator[str]:
    """What is odd about it."""
    kind = str(run.config.get("model_type", ""))
    if kind not in EXACT:
        yield f"{kind or 'this model'} is counted as a Llama: {', '.join(sorted(EXACT))} are exact"
    if run.name.endswith(CONFIGURATION):
        yield f"{run.name} holds no weights to start from: give their folder, or see `pretrain scratch --help`"
    alias = find_alias(run.name)
    if alias and not alias.hub:
        yield f"{alias.name} has no weights to start from: {alias.note}"
    window = int(run.config.get("max_position_embeddings") or run.seq_len)
    if run.program == "finetune" and run.seq_len > window:
        yield f"{run.name} was made for {window:,} tokens: make it longer first by `pretrain continue`"
    if layout.sequence_parallel > node.gpus:
        yield (
            f"{layout.sequence_parallel} GPUs to a row are more than the {node.gpus} of a node: all they send each "
            "other, twice a block, goes between nodes"
        )
    if run.program == "pretrain":  # the examples of `finetune sft` fill rows of their own
        yield from _refused_steps(run, layout)


def _fewer_rows(options: PlanOptions, asked: Layout) -> Iterator[str]:
    if options.micro_batch > asked.rows:
        yield f"--micro-batch {options.micro_batch} is planned as {asked.rows}: a step has no more rows for a GPU"


def _refused_steps(run: Run, layout: Layout) -> Iterator[str]:
    """What `pretrain continue` will not begin with, and what it would; nobody may wait for others in every step."""
    sharers, each = layout.gpus // layout.sequence_parallel, layout.sequence_parallel
    whole = math.lcm(*(length for length, _ in run.stages)) * sharers
    would = f"--batch-tokens {math.ceil(run.batch_tokens / whole) * whole} would do"
    groups = f"{sharers:,} GPUs" if each == 1 else f"{sharers:,} times {each} GPUs"
    for length in sorted({length for length, _ in run.stages}):
        rows = run.batch_tokens / length
        refused = f"training refuses a step of {run.batch_tokens:,} tokens, {rows:g} rows of {length:,}"
        if run.batch_tokens % length:
            yield f"{refused}: {would}"
        elif rows % sharers:
            shares = "the hours are of even shares"
            yield f"{refused}, which {groups} cannot share evenly: {would}, or other --gpus; {shares}"
