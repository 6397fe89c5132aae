"""Text to packed rows: `pretrain prepare` beside `datasets.map` and TRL's packing, on the same text in one run.

    python -m benchmarks.tokenize_and_pack [--docs corpus.jsonl.gz] [--mb 100] [--seq-len 16384]
    python -m benchmarks.tokenize_and_pack --memory    peak memory of prepare over the text once and ten times

Without --docs the text is the Python sources of this installation, as JSON lines. Each way runs in a process of its own
and is charged all its CPU seconds, imports included; both write rows to the disk. The peer's tokenizer is the same one,
through transformers; tokens are lost where TRL's default packing cuts a document off at the end of its row.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from longreach.text.corpus import Corpus
from longreach.text.document import Document
from longreach.text.tokenize import SHIPPED

ROOT = Path(__file__).parents[1]
STRATEGIES = ("bfd", "bfd_split", "wrapped")


def texts(docs: str, mb: float) -> Iterator[str]:
    """Texts until there are enough."""
    left = mb * 1e6
    for text in _rows(docs) if docs else _sources():
        if left <= 0:
            return
        left -= len(text.encode())
        yield text


def _rows(docs: str) -> Iterator[str]:
    yield from (item.text for item in Corpus([docs], min_chars=1) if isinstance(item, Document))


def _sources() -> Iterator[str]:
    paths = sysconfig.get_paths()
    for folder in (paths["stdlib"], paths["purelib"]):
        for path in sorted(Path(folder).rglob("*.py")):
            try:
                text = path.read_text(encoding="utf-8")
            except (UnicodeDecodeError, OSError):
                continue
            if text.strip() and "\0" not in text:
                yield text


def peer(docs: Path, out: Path, seq_len: int, strategy: str) -> dict[str, Any]:
    """Rows as most people make them; runs in a process of its own."""
    from datasets import load_dataset
    from transformers import PreTrainedTokenizerFast
    from trl import pack_dataset

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), bos_token="<s>", eos_token="</s>")

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        ids = tokenizer(batch["text"], add_special_tokens=False)["input_ids"]
        return {"input_ids": [[*each, tokenizer.eos_token_id] for each in ids]}

    rows = load_dataset("json", data_files=str(docs), split="train", cache_dir=str(out / "cache"))
    encoded = rows.map(encode, batched=True, remove_columns=rows.column_names)
    tokens = sum(map(len, encoded["input_ids"]))
    packed = pack_dataset(encoded, seq_len, strategy)
    packed.save_to_disk(str(out / "rows"))
    kept = sum(map(len, packed["input_ids"]))
    return {"tokens": tokens, "kept": kept, "rows": len(packed), "padding": 1 - kept / (len(packed) * seq_len)}


def ours(docs: Path, out: Path, seq_len: int) -> dict[str, Any]:
    """The command; its own process is charged."""
    command = [sys.executable, "-m", "pretrain", "prepare", "--source", f"text={docs}", "--seq-len", str(seq_len)]
    more = ["--out", str(out / "rows"), "--workers", "1", "--validation", "0", "--json"]
    done = subprocess.run([*command, *more], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    manifest = json.loads(done.stdout)
    kept = manifest["tokens"]
    return {
        "tokens": kept + manifest["lost_tokens"],
        "kept": kept,
        "rows": manifest["rows"],
        "padding": manifest["padding_share"],
    }


def measured(way: str, docs: Path, seq_len: int) -> dict[str, Any]:
    """One way in a fresh process, with the CPU seconds of all its processes."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "benchmarks.tokenize_and_pack", "--way", way, "--seq-len", str(seq_len)]
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [*command, "--docs", str(docs), "--out", folder],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout.splitlines()[-1]) | {"seconds": seconds}


def write(path: Path, docs: str, mb: float, copies: int) -> int:
    """The text as JSON lines, each copy a little different; returns its bytes."""
    size = 0
    with path.open("w", encoding="utf-8") as file:
        for copy in range(copies):
            for text in texts(docs, mb):
                size += len(text.encode())
                file.write(json.dumps({"text": f"{copy}\n{text}"}) + "\n")
    return size


def memory(docs: str, mb: float, seq_len: int) -> None:
    """Peak memory of the command; the largest child so far is what the system tells, so once comes first."""
    print("| copies of the text | MB of text | peak MB |\n|---|---|---|")
    for copies in (1, 10):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text.jsonl"
            size = write(path, docs, mb, copies)
            ours(path, Path(folder), seq_len)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"| {copies} | {size / 1e6:.0f} | {peak / 1e3:.0f} |")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--docs", default="")
    arguments.add_argument("--mb", type=float, default=100)
    arguments.add_argument("--seq-len", type=int, default=16_384)
    arguments.add_argument("--memory", action="store_true")
    arguments.add_argument("--way", choices=("ours", *STRATEGIES))
    arguments.add_argument("--out", type=Path)
    given = arguments.parse_args()
    if given.way:
        way = ours(Path(given.docs), given.out, given.seq_len) if given.way == "ours" else None
        print(json.dumps(way or peer(Path(given.docs), given.out, given.seq_len, given.way)))
        return
    if given.memory:
        memory(given.docs, given.mb, given.seq_len)
        return
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / "text.jsonl"
        size = write(docs, given.docs, given.mb, 1)
        found = {way: measured(way, docs, given.seq_len) for way in ("ours", *STRATEGIES)}
    print(f"{size / 1e6:.0f} MB of text, rows of {given.seq_len:,} tokens\n")
    print("| way | MB per CPU-second | ours is | tokens lost | padding | rows |\n|---|---|---|---|---|---|")
    for way, figures in found.items():
        name = "pretrain prepare" if way == "ours" else f"datasets.map + TRL {way}"
        lost = 1 - figures["kept"] / figures["tokens"]
        ratio = figures["seconds"] / found["ours"]["seconds"]
        print(
            f"| {name} | {size / 1e6 / figures['seconds']:.2f} | {ratio:.1f} times | {lost:.2%} | "
            f"{figures['padding']:.3%} | {figures['rows']:,} |"
        )


if __name__ == "__main__":
    main()
