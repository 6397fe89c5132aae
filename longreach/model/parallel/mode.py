"""How a run is laid out over its processes, as the user says it: DDP, FSDP or DeepSpeed's ZeRO, and GPUs to a row.

What is offered was proven to give the gradients of one process (docs/parallel.md). A DeepSpeed configuration is taken
where it says how ZeRO shards; what longreach decides itself, and what would change the numbers, is refused by name.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from longreach.errors import UserError, missing_extra

DDP, FSDP, ZERO = "ddp", "fsdp", "zero"
FULL_SHARD, SHARD_GRAD_OP = FSDP_WAYS = ("full_shard", "shard_grad_op")  # weights gathered twice a step, or once

AUTO = "auto"
OWN = {  # what longreach fills in
    "bf16": "--dtype",
    "gradient_clipping": "--clip",
    "train_batch_size": "--batch-tokens",
    "train_micro_batch_size_per_gpu": "the size of micro-batches",
    "gradient_accumulation_steps": "--batch-tokens",
}
REFUSED = {
    "fp16": "float16 would need its losses scaled: use --dtype bfloat16",
    "optimizer": "the optimizer is longreach's AdamW",
    "scheduler": "the learning rate is longreach's, by --schedule",
    "sequence_parallel_size": "stock Ulysses multiplies the gradients of ZeRO 2 by its degree and lets the "
    "documents of a row see each other: use --sequence-parallel",
}
STAGES = (1, 2, 3)
OFFLOADS = {"offload_optimizer": 2, "offload_param": 3}  # the stage from which on each is taken
OFFLOAD_TAKEN = frozenset({"device", "pin_memory"})
TAKEN = frozenset({"zero_optimization", "steps_per_print", "wall_clock_breakdown"})
ZERO_TAKEN = frozenset(
    {
        "stage",
        "overlap_comm",
        "contiguous_gradients",
        "reduce_bucket_size",
        "allgather_bucket_size",
        "sub_group_size",
        *OFFLOADS,
        "stage3_max_live_parameters",
        "stage3_max_reuse_distance",
        "stage3_prefetch_bucket_size",
        "stage3_param_persistence_threshold",
        "stage3_gather_16bit_weights_on_model_save",
    }
)


@dataclass(frozen=True)
class Mode:
    """`sequence` processes share each row; `zero` is DeepSpeed's section "zero_optimization"."""

    kind: str = DDP
    sequence: int = 1
    reshard: bool = True  # FSDP: weights are given away after the forward pass, too
    zero: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shards(self) -> bool:
        """Whether a process holds but a part; then all make the same number of passes, in which they meet."""
        return self.kind != DDP

    @property
    def name(self) -> str:
        """ "zero3, 4 to a row"."""
        kind = f"{self.kind}{self.zero['stage']}" if self.kind == ZERO else self.kind
        return kind + (f", {self.sequence} to a row" if self.sequence > 1 else "")


def read_mode(fsdp: str, deepspeed: str, sequence: int) -> Mode:
    """What --fsdp, --deepspeed and --sequence-parallel say together."""
    if sequence < 1:
        raise UserError(f"--sequence-parallel {sequence}: at least one process reads a row")
    if fsdp and deepspeed:
        raise UserError("--fsdp and --deepspeed both shard the model", "choose one of them")
    if deepspeed:
        return Mode(ZERO, sequence, zero=zero_section(Path(deepspeed)))
    return Mode(FSDP, sequence, reshard=fsdp == FULL_SHARD) if fsdp else Mode(DDP, sequence)


def check_mode(mode: Mode, *, four_bit: bool = False) -> None:
    """UserError, before anything is read, where it cannot be here; `four_bit`: the base lies in 4 bits."""
    if four_bit and (mode.kind != DDP or mode.sequence > 1):
        raise UserError(
            "--qlora holds the base in 4 bits, which were tried neither sharded nor with shared rows",
            "--lora without it has both",
        )
    if mode.kind == ZERO and not find_spec("deepspeed"):
        raise missing_extra("deepspeed", "--deepspeed", "deepspeed")


def zero_section(path: Path) -> dict[str, Any]:
    """The section "zero_optimization" of a DeepSpeed configuration, without what is "auto"; all problems at once."""
    try:
        given = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "--deepspeed takes a JSON file") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    section = given.get("zero_optimization") if isinstance(given, dict) else None
    if not isinstance(section, dict):
        raise UserError(f"{path} has no section zero_optimization", "recipes/deepspeed-zero3.json is an example")
    problems = [*_top_problems(given), *_zero_problems(section)]
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return {name: value for name, value in section.items() if value != AUTO}


def _top_problems(given: Mapping[str, Any]) -> Iterator[str]:
    for name, value in given.items():
        if name in OWN and value not in (AUTO, {"enabled": AUTO}):
            yield f"{name} is longreach's to set, by {OWN[name]}: leave it out"
        elif name in REFUSED:
            yield f"{name} is refused: {REFUSED[name]}"
        elif name not in OWN and name not in TAKEN:
            yield f"{name} was not tried, so whether it changes the numbers is not known: leave it out"


def _zero_problems(section: Mapping[str, Any]) -> Iterator[str]:
    if type(section.get("stage")) is not int or section["stage"] not in STAGES:
        yield f"stage is {section.get('stage')!r}: 1, 2 and 3 are offered (0 is DDP, which goes without --deepspeed)"
    yield from _untried(section.keys() - ZERO_TAKEN, "zero_optimization")
    for name in OFFLOADS:
        if section.get(name) not in (None, AUTO):
            yield from _offload_problems(name, section[name], section.get("stage"))


def _offload_problems(name: str, given: object, stage: object) -> Iterator[str]:
    if not isinstance(given, dict):
        yield f'{name} is {given!r}: {{"device": "cpu"}} is meant'
        return
    device = given.get("device", "none")
    if device not in ("cpu", "none"):
        yield f"{name} to {device} was not tried: the host (cpu) was"
    if device == "cpu" and stage in STAGES and stage < (least := OFFLOADS[name]):
        yield f"{name} is of stage {least} on: ZeRO {stage} keeps on the GPU what would go with it"
    yield from _untried(given.keys() - OFFLOAD_TAKEN, name)


def _untried(names: Iterable[str], where: str) -> Iterator[str]:
    for name in sorted(names):
        yield f"{where}.{name} was not tried, so whether it changes the numbers is not known: leave it out"
