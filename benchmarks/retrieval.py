"""`evaluate retrieval` beside one `generate` call a sample, in one run on the same prompts; a Markdown table on stdout.

    python -m benchmarks.retrieval [--task all] [--lengths 256,512,1000,2000] [--samples 1] [--hidden 512] [--quick]

Every task at every length and depth, asked greedily. Ours is the command itself: prompts that begin alike are read once
and answered in batches; journal, scores and pictures are counted. The peer is given each prompt's tokens and asks
transformers' `generate` for them alone, at its best setting: sdpa, a cache, no padding, and our way to look for stop
strings, since its own goes through the whole vocabulary at every call. Each way runs in a process of its own and on one
thread. Without --model a random Llama of 4 layers is made, without --docs the text is what every Python installation
holds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OURS, PEER = "evaluate retrieval", "one generate call a sample"
FASTER = 3.0  # what must hold
DEPTHS = "0,0.25,0.5,0.75,1"
VLLM = {"enforce_eager": True, "kv_cache_memory_bytes": 1 << 30}  # on a CPU


def main() -> None:
    """Print the table, or in a child ask in one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="")
    parser.add_argument("--docs", nargs="+", default=[])
    parser.add_argument("--task", default="all")
    parser.add_argument("--hidden", type=int, default=512, help="width of the random model")
    parser.add_argument("--lengths", default="256,512,1000,2000")
    parser.add_argument("--samples", type=int, default=1, help="of each task, length and depth")
    parser.add_argument("--quick", action="store_true", help="two short lengths")
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers", help="ours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--way", choices=(OURS, PEER), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.lengths = "256,512"
    if given.way:
        print(json.dumps(asked(given)))
    else:
        compare(given)


def compare(given: argparse.Namespace) -> None:
    """Both ways, and whether they say the same."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, docs = given.model or make_model(folder, given.hidden), given.docs or make_docs(folder)
        found = {way: child(way, folder, model, docs, given) for way in (OURS, PEER)}
    ours, peer = found[OURS], found[PEER]
    same = sum(ours["outputs"][each] == peer["outputs"][each] for each in peer["outputs"])
    how = f"--engine {given.engine} --task {given.task} --lengths {given.lengths} --samples {given.samples}"
    print(f"{len(peer['outputs']):,} prompts, {how}\n")
    print("| | seconds | CPU seconds | prompt tokens read | ours is faster, in seconds | in CPU seconds |")
    print("|---|---:|---:|---:|---:|---:|")
    for way, each in found.items():
        ratios = f"{each['wall'] / ours['wall']:.2f} | {each['cpu'] / ours['cpu']:.2f}"
        print(f"| {way} | {each['wall']:.1f} | {each['cpu']:.1f} | {each['read']:,} | {ratios} |")
    held = peer["wall"] / ours["wall"] >= FASTER
    print(f"\nthe same answers: {same:,} of {len(peer['outputs']):,}")
    print(f"at least {FASTER:g} times as fast: {'held' if held else 'NOT HELD'}")


def child(way: str, folder: Path, model: str, docs: Sequence[str], given: argparse.Namespace) -> Any:
    """What a process of its own found."""
    what = ["--engine", given.engine, "--way", way, "--folder", str(folder), "--model", model, "--docs", *docs]
    how = [
        "--task",
        given.task,
        "--lengths",
        given.lengths,
        "--samples",
        str(given.samples),
        "--threads",
        str(given.threads),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.retrieval", *what, *how],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": str(given.threads), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def make_docs(folder: Path) -> list[str]:
    """The demonstration's text."""
    subprocess.run([sys.executable, "-m", "recipes.corpus", str(folder / "docs")], cwd=ROOT, check=True)
    return [str(folder / "docs")]


def make_model(folder: Path, hidden: int) -> str:
    """A random Llama with the tokenizer that ships."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from longreach.text.tokenize import SHIPPED

    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(SHIPPED), bos_token="<s>", eos_token="</s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=4,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 256),
        max_position_embeddings=8_192,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,  # so that its greedy answers differ
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return str(folder / "model")


def asked(given: argparse.Namespace) -> dict[str, Any]:
    """Outputs by sample, and what they cost; loading is counted on both sides."""
    import torch

    from evaluation.config import RetrievalSettings, shares, sizes

    torch.set_num_threads(given.threads)
    settings = RetrievalSettings(
        model=given.model,
        task=tuple(given.task.split(",")),
        engine=given.engine if given.way == OURS else "transformers",
        dtype="float32",
        engine_args=json.dumps(VLLM) if (given.way, given.engine) == (OURS, "vllm") else "",
        docs=tuple(given.docs),
        lengths=sizes(given.lengths),
        depths=shares(DEPTHS),
        samples=given.samples,
        out=str(given.folder / "results"),
    )
    wall, cpu = time.monotonic(), processor_seconds()
    outputs, read = (ours if given.way == OURS else peer)(settings)
    return {"outputs": outputs, "read": read, "wall": time.monotonic() - wall, "cpu": processor_seconds() - cpu}


def processor_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def ours(settings: Any) -> tuple[dict[str, str], int]:
    """As the command asks."""
    from evaluation.results import PREDICTIONS
    from evaluation.retrieval import measure_retrieval
    from longreach.engines import journalled
    from longreach.jsonl import read_lines

    read, whole = [], journalled.Usage.add

    def counted(self: Any, completion: Any) -> None:
        read.append(completion.prompt_tokens - completion.cached_tokens)
        whole(self, completion)

    journalled.Usage.add = counted
    measure_retrieval(settings)
    lines = read_lines(settings.folder / PREDICTIONS)
    return {line["id"]: line["output"] for line in lines}, sum(read)


def peer(settings: Any) -> tuple[dict[str, str], int]:
    """One call a sample."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from evaluation.retrieval import _haystack, _tasks, plan
    from evaluation.subject import open_subject
    from longreach.engines.ends import Ends
    from longreach.engines.plaintext import PlainText
    from longreach.engines.stop import cut

    subject = open_subject(settings)
    if subject.chat:
        raise SystemExit("give a base model: chats go through its template")
    samples = list(plan(_tasks(settings.task), settings, subject, _haystack(settings, subject)))
    tokenizer, plain = AutoTokenizer.from_pretrained(settings.model), PlainText(settings.model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AutoModelForCausalLM.from_pretrained(settings.model, dtype="auto", attn_implementation="sdpa").to(device)
    outputs, read, never, stops = {}, 0, threading.Event(), frozenset({tokenizer.eos_token_id})
    for sample in samples:
        ids = torch.tensor([plain.ids(sample.text)], device=device)
        ends = Ends(tokenizer, stops, ids.shape[1], [sample.max_tokens], [sample.stop], never, enough=1)
        with torch.no_grad():
            row = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=sample.max_tokens,
                do_sample=False,
                stopping_criteria=[ends],
                pad_token_id=tokenizer.eos_token_id,
            )
        text = tokenizer.decode(row[0, ids.shape[1] :], skip_special_tokens=True)
        before = cut(text, sample.stop)
        outputs[sample.id] = (text.rstrip("\ufffd") if before is None else before).strip()
        read += ids.shape[1]
    return outputs, read


if __name__ == "__main__":
    main()
