"""The commands as a user gives them, on a tiny model: curves on GPU and CPU, a kill and its resume, LoRA and merge."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.gpu.place import GPU, Report

TINY = "recipes/tiny-llama.json"
BATCH = ("--batch-tokens", "16384" if GPU else "4096")


def texts(report: Report, work: Path, tiny: bool) -> None:
    """Python's own sources as documents, and rows of them: long ones of one document, short ones of many."""
    found = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" not in path.parts:
            found.append(path.read_text(encoding="utf-8", errors="ignore"))
        if tiny and len(found) > 400:
            break
    chars = 150_000  # some 40,000 tokens
    text = "\n".join(each for each in found if len(each) > 500)
    write(work / "files.jsonl", [each for each in found if len(each) > 2_000])
    write(work / "long.jsonl", [text[at : at + chars] for at in range(0, len(text) - chars, chars)])
    write(work / "huge.jsonl", [text[at : at + 6 * chars] for at in range(0, len(text) - 6 * chars, 6 * chars)])
    write(work / "short.jsonl", [text[at : at + 3_300] for at in range(0, len(text), 3_300)])
    for name in ("long", "short"):
        options = ["--source", f"{name}={work / name}.jsonl", "--seq-len", "32768", "--validation", "0"]
        run(["pretrain", "prepare", *options, "--out", str(work / name)])
        manifest = json.loads((work / name / "manifest.json").read_text())
        report(f"rows of {name} documents", rows=manifest["rows"], tokens=manifest["tokens"])


def write(path: Path, documents: Sequence[str]) -> None:
    """As JSON lines."""
    with path.open("w", encoding="utf-8") as file:
        for number, text in enumerate(documents):
            file.write(json.dumps({"id": f"{path.stem}-{number}", "text": text}) + "\n")


def run(words: Sequence[str], *, gpu: bool = True) -> str:
    """What a command says on stdout; its stderr is shown where it fails."""
    environment = os.environ if gpu else {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-m", *words], env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-2_000:], done.stderr[-6_000:], flush=True)
        raise RuntimeError(f"{' '.join(words[:2])} ended with {done.returncode}")
    return done.stdout


def scratch(work: Path, out: str, *options: str) -> list[str]:
    """A tiny model on the short rows."""
    rows = str(work / "short")
    return ["scratch", "--config", TINY, "--data", rows, "--seq-len", "1024", "--out", str(work / out), *options]


def steps(folder: Path) -> list[dict[str, Any]]:
    """What was recorded of each step."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "loss" in line]


CURVES = {  # kernel, dtype, on the GPU
    "GPU, bf16, chosen kernel": ("chosen", "bfloat16", True),
    "GPU, bf16, flex": ("flex", "bfloat16", True),
    "GPU, fp32, flex": ("flex", "float32", True),
}
REFERENCE = ("chosen", "float32", False)


def curves(report: Report, work: Path, tiny: bool) -> None:
    """The losses of the same five steps, beside those of a CPU in float32."""
    with ThreadPoolExecutor() as pool:
        reference = pool.submit(curve, work, "cpu", *REFERENCE)
        tasks = {what: pool.submit(curve, work, f"curve-{n}", *how) for n, (what, how) in enumerate(CURVES.items())}
        wanted = reference.result()
        report("CPU, fp32", loss=[wanted[0], wanted[-1]])
        for what, task in tasks.items():
            found = task.result()
            worst = max(abs(one - other) / other for one, other in zip(found, wanted, strict=True))
            tolerance = 1e-4 if "fp32" in what else 5e-3
            report(what, ok=worst < tolerance, worst_from_cpu=worst, loss=[found[0], found[-1]])


def curve(work: Path, name: str, kernel: str, dtype: str, gpu: bool) -> list[float]:
    """Losses of five steps of 8 rows."""
    options = ["--steps", "5", "--batch-tokens", "8192", "--dtype", dtype, "--learning-rate", "1e-3"]
    run(["benchmarks.gpu.forced", kernel, *scratch(work, name, *options)], gpu=gpu)
    return [line["loss"] for line in steps(work / name)]


def resume(report: Report, work: Path, tiny: bool) -> None:
    """A run that is killed and goes on, beside one that is left alone."""
    options = ["--steps", "6" if tiny else "300", *BATCH, "--save-every", "2" if tiny else "20"]
    alone = scratch(work, "alone", *options)
    with ThreadPoolExecutor() as pool:
        other = pool.submit(run, ["pretrain", *alone])
        killed = scratch(work, "killed", *options)
        after = kill(killed, work / "killed", 3 if tiny else 100)
        run(["pretrain", *killed])
        other.result()
    one, two = (steps(work / name) for name in ("alone", "killed"))
    worst = max(abs(a["loss"] - b["loss"]) / a["loss"] for a, b in zip(one, two, strict=True))
    same = [line["step"] for line in one] == [line["step"] for line in two]
    report("killed and resumed", ok=same and worst < 2e-2, killed_after=after, worst_difference=worst)
    run(["pretrain", "continue", *longer(work, "alone")])
    report("continue at 4k by abf:500000", losses=[line["loss"] for line in steps(work / "continued")])


def longer(work: Path, base: str) -> list[str]:
    """A few steps on longer rows."""
    rows = ["--data", str(work / "long"), "--seq-len", "1024" if not GPU else "4096", "--steps", "3"]
    return ["--base", str(work / base), *rows, *BATCH, "--out", str(work / "continued")]


def kill(words: Sequence[str], folder: Path, step: int) -> int:
    """SIGKILL after that step; how far it was."""
    child = subprocess.Popen([sys.executable, "-m", "pretrain", *words], stderr=subprocess.DEVNULL)
    while child.poll() is None:
        if (folder / "metrics.jsonl").exists() and len(steps_so_far(folder)) >= step:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            return len(steps_so_far(folder))
        time.sleep(0.05)
    raise RuntimeError(f"it ended by itself, with {child.returncode}")


def steps_so_far(folder: Path) -> list[bytes]:
    """Whole lines of steps."""
    lines = (folder / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    return [line for line in lines if line.endswith(b"\n") and b'"gradient_norm"' in line]


def lora(report: Report, work: Path, tiny: bool) -> None:
    """records -> sft with an adapter -> merge -> a model that answers with numbers."""
    options = ["--steps", "10", *BATCH]
    run(["pretrain", *scratch(work, "base", *options)])
    docs = ["--docs", str(work / "files.jsonl"), "--limit", "30", "--context-tokens", "1536", "--chunk-tokens", "400"]
    run(["selfinstruct", "generate", *docs, "--engine", "extractive", "--out", str(work / "records")])
    how = ["--seq-len", "1024", "--steps", "5", "--batch-tokens", "8192", "--lora", "8"]
    sft = ["finetune", "sft", "--base", str(work / "base"), "--long", str(work / "records"), *how]
    run([*sft, "--out", str(work / "adapter")])
    report("sft --lora 8", losses=[line["loss"] for line in steps(work / "adapter")])
    run(["finetune", "merge", "--adapter", str(work / "adapter"), "--out", str(work / "merged")])
    report("merged model", finite=finite(work / "merged"))
    run([*sft[:-2], "--out", str(work / "whole")])
    report("sft, all weights", losses=[line["loss"] for line in steps(work / "whole")])


def finite(folder: Path) -> bool:
    """Whether transformers alone loads it and gets numbers."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).to("cuda" if GPU else "cpu")
    with torch.no_grad():
        logits = model(torch.arange(100, device=model.device)[None]).logits
    return bool(logits.isfinite().all())
