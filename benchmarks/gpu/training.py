"""Speed, MFU and memory of the trainer on a Llama of 1.1 billion parameters, and of a 7B model without optimizer."""

import json
import logging
import os
import socket
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.kernels import force
from benchmarks.gpu.place import DEVICE, Report, free, made_there, out_of_memory, peak_gb, seconds
from longreach.model import course as courses
from longreach.model import kernels
from longreach.model.attention import register
from longreach.model.causal import causal_loss
from longreach.model.configjson import config_of
from longreach.model.flops import document_flops, parameters, shape_of
from longreach.model.load import new_model
from longreach.model.meter import peak_flops
from longreach.model.rope import Rope
from pretrain.basemodel import fresh_model
from pretrain.config import ScratchSettings
from pretrain.continual import run_course
from pretrain.course import open_rows, plan_course

STEP_TOKENS = 65_536
WARM_UP, MEASURED = 1, 3  # steps
BILLION = {
    "model_type": "llama",
    "vocab_size": 32_000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


class Enough(Exception):
    """The steps that were wanted are over."""


def speed(report: Report, work: Path, tiny: bool) -> None:
    """The trainer on rows of one long document, of short documents, and of these attending across each other."""
    config = written_config(work, tiny)
    lengths = (256, 512) if tiny else (4_096, 16_384, 32_768)
    for length in lengths:
        measure(report, work, f"rows of {length}, one document each", config, "long", length)
    longest = lengths[-1]
    measure(report, work, f"rows of {longest}, documents of 1k", config, "short", longest)
    measure(
        report, work, f"rows of {longest}, 1k, not kept apart", config, "short", longest, attend_across_documents=True
    )
    measure(report, work, "rows of 4k, no checkpointing", config, "long", lengths[0], gradient_checkpointing=False)


def more(report: Report, work: Path, tiny: bool) -> None:
    """The same tokens in each micro-batch at every length; then flex attention, which takes everything."""
    config = written_config(work, tiny)
    short, middle, longest = (256, 512, 512) if tiny else (4_096, 16_384, 32_768)
    for length in (short, middle):
        rows = longest // length
        measure(report, work, f"rows of {length}, {rows} at once", config, "long", length, micro_batch=rows)
    force(kernels.FLEX)
    measure(report, work, f"rows of {longest}, documents of 1k, flex", config, "short", longest)
    measure(report, work, f"rows of {longest}, one document each, flex", config, "long", longest)


ENGINES = {
    "DDP": {},
    "FSDP": {"fsdp": "full_shard"},
    "ZeRO 2": {"deepspeed": "recipes/deepspeed-zero2.json"},
    "ZeRO 3": {"deepspeed": "recipes/deepspeed-zero3.json"},
    "ZeRO 3, offload": {"deepspeed": "recipes/deepspeed-zero3-offload.json"},
}


def whole(report: Report, work: Path, tiny: bool) -> None:
    """What the engines below are held against."""
    engine(report, work, tiny, "DDP")


def fsdp(report: Report, work: Path, tiny: bool) -> None:
    """The same by FSDP, which on one GPU shards nothing but computes in bfloat16 weights."""
    engine(report, work, tiny, "FSDP")


def zero2(report: Report, work: Path, tiny: bool) -> None:
    """By DeepSpeed."""
    engine(report, work, tiny, "ZeRO 2")


def zero3(report: Report, work: Path, tiny: bool) -> None:
    """By DeepSpeed, weights too."""
    engine(report, work, tiny, "ZeRO 3")


def offload(report: Report, work: Path, tiny: bool) -> None:
    """By DeepSpeed, moments on the host."""
    engine(report, work, tiny, "ZeRO 3, offload")


def engine(report: Report, work: Path, tiny: bool, name: str) -> None:
    """One process as torchrun starts it, rows of 16,384 tokens."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    with socket.socket() as free_port:
        free_port.bind(("127.0.0.1", 0))
        port = str(free_port.getsockname()[1])
    os.environ.update(alone, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    length = 512 if tiny else 16_384
    measure(report, work, f"rows of {length}, {name}", written_config(work, tiny), "long", length, **ENGINES[name])


def written_config(work: Path, tiny: bool) -> Path:
    """The model's config.json."""
    path = work / "billion.json"
    path.write_text(json.dumps(BILLION if not tiny else BILLION | {"hidden_size": 64, "intermediate_size": 128}))
    return path


def measure(report: Report, work: Path, what: str, config: Path, rows: str, seq_len: int, **further: Any) -> None:
    """A few steps of `pretrain scratch`, whose model is made on the GPU to save the time of a CPU."""
    settings = ScratchSettings(
        **{"gradient_checkpointing": True, **further},
        config=str(config),
        data=(str(work / rows),),
        seq_len=seq_len,
        rope="abf:500000",
        steps=1_000,
        batch_tokens=max(STEP_TOKENS if DEVICE.type == "cuda" else seq_len, seq_len),
        save_every=1_000,
        validate_every=1_000,
        learning_rate=1e-5,
    )
    lines: list[dict[str, Any]] = []
    free()
    if out_of_memory(lambda: train(settings, work / "speed" / what.replace(" ", "-"), lines)):
        report(what, result="does not fit")
        free()
        return
    figures = [line["time"] for line in lines[WARM_UP:]]
    mean = {name: statistics.median(each[name] for each in figures) for name in figures[0]}
    report(
        what,
        tokens_s=mean["tokens_per_second"],
        mfu=mean.get("mfu", 0.0),
        peak_gb=peak_gb(),
        loss=[line["loss"] for line in lines],
        first_step_s=lines[0]["time"]["seconds"],
    )
    free()


def train(settings: ScratchSettings, out: Path, lines: list[dict[str, Any]]) -> None:
    """Until there are enough steps."""
    data = open_rows(settings.data)
    base = fresh_model(settings, data)
    course = plan_course(settings, base, data)
    record = courses.Course._record

    def recorded(self: courses.Course) -> None:
        record(self)
        lines.append(json.loads((out / "metrics.jsonl").read_bytes().splitlines()[-1]))
        if len(lines) == WARM_UP + MEASURED:
            raise Enough

    courses.Course._record = recorded  # type: ignore[method-assign]
    try:
        run_course(settings, replace(base, load=there(base.load)), course, data, out)
    except Enough:
        pass
    finally:
        courses.Course._record = record  # type: ignore[method-assign]


def there(load: Callable[[Rope, int], Any]) -> Callable[[Rope, int], Any]:
    """The same, but made where it computes."""

    return lambda rope, seq_len: made_there(lambda: load(rope, seq_len))


def seven(report: Report, work: Path, tiny: bool) -> None:
    """Llama 2 7B of random weights in bfloat16: a forward pass, and forward and backward with checkpointing."""
    logging.getLogger("longreach").setLevel(logging.INFO)
    config = config_of("llama2-7b")
    if tiny:
        config |= {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
        config |= {"num_key_value_heads": 4}
    how = {"dtype": "bfloat16", "attention": register(), "settings": config}
    model = causal_loss(made_there(lambda: new_model("7b", Rope("abf", 5e5), 32_768, 0, **how)))
    shape, peak = shape_of(config), peak_flops(DEVICE) or float("nan")
    report("the model", parameters=parameters(shape))
    model.gradient_checkpointing_enable({"use_reentrant": False})
    for tokens in (128, 256) if tiny else (4_096, 16_384, 32_768):
        for count in (1,) if tokens < 32_768 else (1, 32):
            pass_through(report, model, tokens, count, document_flops(shape, [tokens // count] * count).total, peak)


def pass_through(report: Report, model: Any, tokens: int, count: int, flops: float, peak: float) -> None:
    """One row of `count` documents."""
    row = torch.randint(0, 32_000, (1, tokens), device=DEVICE)
    at = (torch.arange(tokens, device=DEVICE) % (tokens // count))[None]
    weights = (at > 0).float()

    def forward() -> Any:
        return model(input_ids=row, position_ids=at, weights=weights).loss

    def both() -> None:
        model.zero_grad(set_to_none=True)
        forward().backward()

    what = f"{count} x {tokens // count} tokens"
    for name, share, training, work in (("forward", 3, False, forward), ("forward and backward", 1, True, both)):
        model.train(training)
        free()
        with torch.set_grad_enabled(training):
            if out_of_memory(work):
                report(f"{what}, {name}", result="does not fit")
                continue
            took = seconds(work, rounds=2, warm_up=0)
        report(f"{what}, {name}", tokens_s=tokens / took, mfu=flops / share / took / peak, peak_gb=peak_gb())
    model.zero_grad(set_to_none=True)
