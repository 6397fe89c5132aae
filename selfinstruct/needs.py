"""--dry-run: the GPU hours of a run, with the cached prefix and without, from the model's configuration alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from longreach.engines.access import engine_args
from longreach.errors import UserError
from longreach.model.configjson import config_of, local_config
from longreach.model.flops import Shape, parameters, shape_of
from longreach.plan.gpus import Gpu, Node, find_node
from longreach.plan.serving import (
    BEST,
    USUAL,
    WORST,
    Hours,
    Load,
    Reached,
    Server,
    best_server,
    gpu_hours,
    reading,
    server,
)
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import EXTRACTIVE, at_once, engine_name


@dataclass(frozen=True)
class Needs:
    """What the generator's requests take on `servers` servers. `price` is of one GPU for an hour, 0: nobody said."""

    model: str
    shape: Shape
    gpu: Gpu
    server: Server
    servers: int
    load: Load
    price: float
    notes: tuple[str, ...]

    @property
    def gpus(self) -> int:
        """Of all servers."""
        return self.servers * self.server.gpus

    def gpu_hours(self, reached: Reached, *, cached: bool) -> Hours:
        """At those shares of the GPU's peak and bandwidth."""
        return gpu_hours(self.shape, self.gpu, self.server, self.load, reached, cached=cached)

    def as_object(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "model": self.model,
            "parameters": parameters(self.shape),
            "gpu": self.gpu.name,
            "gpus": self.gpus,
            "gpus_per_server": self.server.gpus,
            "servers": self.servers,
            "cache_tokens": self.server.cache_tokens,
            "batch": self.server.batch,
            "tokens_held": round(self.load.held),
            "reached": {name: vars(each) for name, each in (("usual", USUAL), ("worst", WORST), ("best", BEST))},
            "cached": self._column(cached=True),
            "uncached": self._column(cached=False),
            "notes": self.notes,
        }

    def _column(self, *, cached: bool) -> dict[str, Any]:
        flops, hours = reading(self.shape, self.load, cached=cached), self.gpu_hours(USUAL, cached=cached)
        return {
            "prompt_tokens": self.load.prompt_tokens - (self.load.cached_tokens if cached else 0),
            "flops_dense": float(flops.dense),
            "flops_attention": float(flops.attention),
            "gpu_hours_reading": hours.reading,
            "gpu_hours_writing": hours.writing,
            "gpu_hours": hours.total,
            "gpu_hours_range": [self.gpu_hours(reached, cached=cached).total for reached in (BEST, WORST)],
            "hours": hours.total / self.gpus,
            "cost": hours.total * self.price if self.price else None,
        }


def needs(settings: GenerateSettings, load: Load, judged: Load) -> Needs | str:
    """What `load` takes, or why that could not be computed; `judged` is what another model is asked."""
    engine, node = engine_name(settings)[0], find_node(settings.gpu)
    if engine == EXTRACTIVE:
        unread = [f"--{name}" for name in ("shape", "gpus", "price") if getattr(settings, name)]
        return f"the built-in engine needs none{_for_a_model(unread)}"
    if engine == "transformers":
        return "they are planned for vLLM, here (--engine vllm) or served (--base-url); --engine transformers is slower"
    try:
        config = _config(settings)
        shape = shape_of(config)
    except UserError as error:
        if settings.shape:
            raise
        return f"{error.problem}; --shape takes an alias, a folder, a config.json or a hub id"
    found = _server(settings, shape, node, load)
    if found is None:
        return f"the longest request, {load.longest:,} tokens, and the weights do not fit; give more GPUs or others"
    if settings.gpus and settings.gpus < found.gpus:
        return f"one server takes {found.gpus} {node.gpu.name}, --gpus gives {settings.gpus}"
    servers = settings.gpus // found.gpus if settings.gpus else max(1, len(settings.base_url))
    return Needs(
        settings.shape or settings.model,
        shape,
        node.gpu,
        found,
        servers,
        load,
        settings.price,
        tuple(_notes(settings, config, found, load.held, judged)),
    )


def _for_a_model(options: Sequence[str]) -> str:
    """That these were given for nothing."""
    return f"; {', '.join(options)}: for a model, by --engine vllm or --base-url" if options else ""


def _config(settings: GenerateSettings) -> Mapping[str, Any]:
    """Of the model, or of one like it; UserError where nothing here tells it."""
    if settings.shape:
        return config_of(settings.shape)
    if not settings.model:
        raise UserError("no --model is given")
    found = local_config(settings.model)
    if found is None:
        raise UserError(f"--model {settings.model} is no path here and no alias")
    return found


def _server(settings: GenerateSettings, shape: Shape, node: Node, load: Load) -> Server | None:
    """As large as --engine-args has it, else as large as is worth it."""
    given = engine_args(settings.engine_args).get("tensor_parallel_size")
    if isinstance(given, int) and given > 0:
        return server(shape, node.gpu, given, load, at_once(settings))
    return best_server(shape, node.gpu, node.gpus, load, at_once(settings))


def _notes(
    settings: GenerateSettings, config: Mapping[str, Any], found: Server, held: float, judged: Load
) -> list[str]:
    """What the figures leave out."""
    notes = []
    if judged.requests:
        notes.append(
            f"the judge's {judged.requests:,} requests ({judged.prompt_tokens:,} prompt tokens) are another model's "
            "and not in the hours"
        )
    if found.batch == at_once(settings) < found.cache_tokens // max(1, round(held)):
        notes.append(f"{found.batch:,} requests at once leave room in the cache: --concurrency can be more")
    if left := settings.gpus % found.gpus:
        notes.append(f"{left} of --gpus {settings.gpus} left over: a server takes {found.gpus}")
    if config.get("quantization_config"):
        notes.append("the model is quantized; its weights are counted with 2 bytes each all the same")
    if not settings.tokenizer:
        notes.append("tokens are those of the small tokenizer that ships, which makes more of them than most models'")
    if engine_name(settings)[0] == "vllm" and found.gpus > 1 and "tensor_parallel_size" not in settings.engine_args:
        notes.append(f"it takes --engine-args '{json.dumps({'tensor_parallel_size': found.gpus})}'")
    return notes
