"""generate on real text, end to end: what is kept, whether evidence is verbatim, and peak memory at 1x and 10x.

python benchmarks/real_text.py --docs corpus.jsonl.gz               with the built-in engine
python benchmarks/real_text.py --docs corpus.jsonl.gz --vllm        with vLLM on a tiny random Llama, on the CPU
python benchmarks/real_text.py --docs corpus.jsonl.gz --memory      peak memory over 1 and 10 copies of the text
"""

import argparse
import gzip
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CPU = {"kv_cache_memory_bytes": 1 << 28, "enforce_eager": True, "dtype": "float32"}


def generate(docs: Path, out: Path, *more: str) -> tuple[dict[str, Any], int]:
    """The figures of a run and its peak memory in kB; the largest of all runs so far."""
    command = [
        sys.executable,
        "-m",
        "selfinstruct",
        "generate",
        "--docs",
        str(docs),
        "--out",
        str(out),
        "--json",
        *more,
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def texts(docs: Path) -> dict[str, str]:
    """Texts by sha256, as the records name them."""
    from longreach.text.corpus import Corpus
    from longreach.text.document import Document

    return {item.sha256: item.text for item in Corpus([str(docs)]) if isinstance(item, Document)}


def verbatim(docs: Path, out: Path) -> tuple[int, int]:
    """(evidence spans that equal their document's slice inside the context, all)."""
    known = texts(docs)
    equal = total = 0
    with (out / "records.jsonl").open(encoding="utf-8") as file:
        for record in map(json.loads, file):
            text, context = known[record["document"]["sha256"]], record["context"]
            for span in record["evidence"]:
                total += 1
                inside = context["start"] <= span["start"] and span["end"] <= context["end"]
                equal += inside and text[span["start"] : span["end"]] == span["text"]
    return equal, total


def table(figures: dict[str, Any]) -> None:
    documents, requests = figures["documents"], figures["requests"]
    rejected = sum(requests["rejected"].values())
    balanced = (
        documents["found"] == documents["read"] + documents["skipped"]
        and requests["planned"] == requests["kept"] + rejected + requests["failed"]
    )
    print("| | |\n|---|---:|")
    print(f"| documents found / read / skipped | {documents['found']} / {documents['read']} / {documents['skipped']} |")
    print(
        f"| requests planned / kept / rejected / failed "
        f"| {requests['planned']} / {requests['kept']} / {rejected} / {requests['failed']} |"
    )
    print(f"| share kept | {requests['kept'] / requests['planned']:.1%} |")
    print(f"| counts balance | {'yes' if balanced else 'NO'} |")


def on_vllm(docs: Path, folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    from tinyllama import make_tiny_llama

    model = make_tiny_llama(folder / "model", window=8192)
    more = [
        "--engine",
        "vllm",
        "--model",
        str(model),
        "--tokenizer",
        str(model),
        "--structured",
        "--context-tokens",
        "8k",
    ]
    more += ["--context-tokens", "8k", "--tasks", "short_answer", "--chunks-per-doc", "1"]  # a CPU writes noise slowly
    figures, _ = generate(docs, folder / "run", *more, "--engine-args", json.dumps(CPU))
    table(figures)
    print(f"| asked of vLLM, prompt tokens from its prefix cache | {figures['usage']['asked']}, ", end="")
    print(f"{figures['usage']['cached_tokens'] / figures['usage']['prompt_tokens']:.0%} |")


def memory(docs: Path, folder: Path) -> None:
    """Copies differ in a first line, so that none is a duplicate."""
    with gzip.open(docs, "rt", encoding="utf-8") as packed:
        rows = [json.loads(line) for line in packed]
    print("| copies of the text | documents | peak MB |\n|---|---:|---:|")
    for copies in (1, 10):
        path = folder / f"{copies}.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for copy in range(copies):
                file.writelines(
                    json.dumps({"text": f"Copy {copy} of {row['id']}\n\n{row['text']}"}) + "\n" for row in rows
                )
        more = ("--tasks", "short_answer", "--chunks-per-doc", "1", "--near-duplicates", "0")
        figures, peak = generate(path, folder / f"run{copies}", *more)
        print(f"| {copies} | {figures['documents']['read']} | {peak / 1000:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--vllm", action="store_true")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.vllm:
            on_vllm(options.docs, folder)
        elif options.memory:
            memory(options.docs, folder)
        else:
            figures, _ = generate(options.docs, folder / "run")
            table(figures)
            equal, total = verbatim(options.docs, folder / "run")
            print(f"| evidence spans equal to their document's slice, inside the context | {equal} of {total} |")


if __name__ == "__main__":
    main()
