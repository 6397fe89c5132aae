"""evaluate loss at 32k and 128k tokens, and evaluate retrieval by transformers, on a model of random weights."""

import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.place import Report, free, made_there, peak_gb, wait
from benchmarks.gpu.training import BILLION
from evaluation import told
from evaluation.config import LossSettings, RetrievalSettings
from evaluation.loss import measure_loss
from evaluation.retrieval import measure_retrieval
from longreach.engines import chatmodel
from longreach.model.attention import register
from longreach.model.load import new_model
from longreach.model.rope import Rope
from longreach.model.vocabulary import named_tokenizer

WINDOW = 131_072


def checkpoint(work: Path, tiny: bool) -> str:
    """The model of 1.1 billion parameters in bfloat16 with the shipped tokenizer, on disk."""
    folder = work / "billion"
    if not (folder / "config.json").exists():
        config = BILLION | ({"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2} if tiny else {})
        how = {"dtype": "bfloat16", "attention": register(), "settings": config}
        model = made_there(lambda: new_model("1b", Rope("abf", 5e5), WINDOW, 0, **how))
        model.save_pretrained(folder)
        named_tokenizer("", WINDOW).save_pretrained(folder)
        del model
        free()
    return str(folder)


def loss(report: Report, work: Path, tiny: bool) -> None:
    """The same windows at two lengths."""
    model, lengths = checkpoint(work, tiny), (2_048, 8_192) if tiny else (32_768, WINDOW)
    passes: dict[int, list[float]] = {length: [] for length in lengths}
    measured = told._token_losses

    def timed(model: Any, rows: Any, count: int) -> Any:
        free()
        begun = time.perf_counter()
        found = measured(model, rows, count)
        wait()
        passes[rows.shape[1]].append(time.perf_counter() - begun)
        peaks[rows.shape[1]] = peak_gb()
        return found

    peaks: dict[int, float] = {}
    told._token_losses = timed
    settings = {"docs": (str(work / "huge.jsonl"),), "lengths": lengths, "samples": 2 if tiny else 3}
    begun = time.perf_counter()
    results = measure_loss(LossSettings(model=model, out=str(work / "loss"), **settings))
    whole = time.perf_counter() - begun
    means = {score.length: score.value for score in results.scores if score.metric == "loss"}
    for length in lengths:
        took = min(passes[length])
        report(f"evaluate loss, {length} tokens", tokens_s=length / took, peak_gb=peaks[length], loss=means[length])
    report("evaluate loss, the whole command", seconds=whole)


def retrieval(report: Report, work: Path, tiny: bool) -> None:
    """Passkeys at five depths in the same two texts, the beginning read once or with every prompt."""
    model = checkpoint(work, tiny)
    answer, spent = chatmodel.ChatModel.answer, [0.0]

    def timed(self: Any, *given: Any) -> Any:
        begun = time.perf_counter()
        found = answer(self, *given)
        spent[0] += time.perf_counter() - begun
        return found

    chatmodel.ChatModel.answer = timed  # type: ignore[method-assign]
    shareable = chatmodel.shareable
    for length in (1_024,) if tiny else (4_096, 16_384, 32_768):
        took = {}
        for name, way in (("shared", shareable), ("each", lambda _: False)):
            chatmodel.shareable = way
            spent[0] = 0.0
            free()
            settings = {"docs": (str(work / "huge.jsonl"),), "task": ("passkey",), "lengths": (length,), "samples": 2}
            out = str(work / f"retrieval-{length}-{name}")
            measure_retrieval(RetrievalSettings(model=model, engine="transformers", out=out, **settings))
            took[name] = spent[0]
            took[f"{name}_gb"] = peak_gb()
        report(f"evaluate retrieval, {length} tokens, 10 prompts", **took, ratio=took["each"] / took["shared"])
