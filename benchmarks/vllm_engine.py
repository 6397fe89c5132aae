"""What the vllm engine costs beside vLLM alone, and what asking after the document gains; a Markdown table on stdout.

    python -m benchmarks.vllm_engine [--model M] [--prompts 96] [--rounds 5]

One run, one model, rounds in alternating order, an empty prefix cache before each. Without --model a tiny random Llama
is made: its arithmetic is next to nothing, so what is measured is mostly overhead, the hard case for the first table.
On a CPU set OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vllm import LLM, SamplingParams

from longreach.engines.base import Completion, Message, Request, Sampling
from longreach.engines.vllm import VllmEngine
from tests.tinyllama import SYLLABLES, make_tiny_llama

KV_CACHE_BYTES = 1 << 29
QUESTIONS = 16
DOCUMENTS = 4
Round = Callable[[], tuple[float, list[str]]]  # seconds, and the answers


def words(chance: random.Random, count: int) -> str:
    """Random text of about two tokens a word."""
    return " ".join("".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) for _ in range(count))


def long_prompts(count: int) -> list[Request]:
    """Prompts of 1,000 to 3,000 tokens, answers of 16 to 64."""
    chance = random.Random(0)
    return [
        Request((Message("user", words(chance, chance.randint(600, 1600))),), Sampling(chance.randint(16, 64)))
        for _ in range(count)
    ]


def questions(document_first: bool) -> list[Request]:
    """Sixteen questions on each of a few documents of some 3,000 tokens."""
    chance = random.Random(1)
    documents = [words(chance, 1700) for _ in range(DOCUMENTS)]
    pairs = [(document, words(chance, 12)) for document in documents for _ in range(QUESTIONS)]
    texts = [f"{document}\n{question}" if document_first else f"{question}\n{document}" for document, question in pairs]
    return [Request((Message("user", text),), Sampling(32)) for text in texts]


class Ours:
    """The engine of longreach, asked as the pipeline asks it: everything at once, up to its concurrency."""

    def __init__(self, engine: VllmEngine, loop: asyncio.Runner) -> None:
        self._engine = engine
        self._loop = loop

    def run(self, requests: Sequence[Request]) -> tuple[float, list[Completion]]:
        """Seconds and completions of one round from an empty prefix cache."""
        self._loop.run(self._engine.reset_prefix_cache())
        started = time.perf_counter()
        completions = self._loop.run(self._all(requests))
        return time.perf_counter() - started, completions

    async def _all(self, requests: Sequence[Request]) -> list[Completion]:
        places = asyncio.Semaphore(self._engine.concurrency)

        async def one(request: Request) -> Completion:
            async with places:
                return await self._engine.complete(request)

        return await asyncio.gather(*map(one, requests))


def bare(llm: LLM, requests: Sequence[Request]) -> tuple[float, list[str]]:
    """One round of vLLM's own offline interface."""
    conversations = [[{"role": m.role, "content": m.content} for m in request.messages] for request in requests]
    sampling = [SamplingParams(temperature=0.0, max_tokens=request.sampling.max_tokens) for request in requests]
    llm.reset_prefix_cache()
    started = time.perf_counter()
    outputs = llm.chat(conversations, sampling, use_tqdm=False)
    return time.perf_counter() - started, [output.outputs[0].text for output in outputs]


def alternate(contenders: dict[str, Round], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round by contender; the first round warms up and is not counted. All must answer alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        answers = {}
        for name in sorted(contenders, reverse=number % 2 == 1):
            spent, answers[name] = contenders[name]()
            if number:
                seconds[name].append(spent)
        first, *others = answers.values()
        if any(other != first for other in others):
            raise SystemExit("the contenders do not give the same answers")
    return seconds


def overhead_table(ours: Ours, llms: dict[str, LLM], prompts: int, rounds: int) -> None:
    """vLLM alone and through us, on the same prompts."""
    requests = long_prompts(prompts)

    def our_round() -> tuple[float, list[str]]:
        spent, completions = ours.run(requests)
        return spent, [completion.text for completion in completions]

    contenders: dict[str, Round] = {name: lambda llm=llm: bare(llm, requests) for name, llm in llms.items()}
    seconds = alternate(contenders | {"longreach --engine vllm": our_round}, rounds)
    _, completions = ours.run(requests)
    prompt_tokens = sum(completion.prompt_tokens for completion in completions)
    answer_tokens = sum(completion.completion_tokens for completion in completions)
    print(f"{prompts} prompts, {prompt_tokens:,} tokens in, {answer_tokens:,} out, {rounds} rounds\n")
    print("| | seconds (median) | fastest | requests/s | time / LLM.chat |\n|---|---|---|---|---|")
    base = seconds["LLM.chat"]
    for name, spent in seconds.items():
        ratio = statistics.median(mine / its for mine, its in zip(spent, base, strict=True))
        median = statistics.median(spent)
        print(f"| {name} | {median:.2f} | {min(spent):.2f} | {prompts / median:.1f} | {ratio:.3f} |")


def prefix_table(ours: Ours, rounds: int) -> None:
    """The same questions asked before and after their document."""
    print(f"\n{QUESTIONS} questions on each of {DOCUMENTS} documents of some 3,000 tokens\n")
    print("| question stands | seconds (median) | requests/s | prompt tokens from the cache |\n|---|---|---|---|")
    orders = {"before the document": questions(False), "after the document": questions(True)}
    seconds: dict[str, list[float]] = {name: [] for name in orders}
    cached: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, requests in orders.items():
            spent, completions = ours.run(requests)
            if number:
                seconds[name].append(spent)
            prompt_tokens = sum(completion.prompt_tokens for completion in completions)
            cached[name] = sum(completion.cached_tokens for completion in completions) / prompt_tokens
    medians = {name: statistics.median(spent) for name, spent in seconds.items()}
    for name, median in medians.items():
        print(f"| {name} | {median:.2f} | {QUESTIONS * DOCUMENTS / median:.1f} | {cached[name]:.0%} |")
    print(f"\nafter against before: {medians['before the document'] / medians['after the document']:.1f} times as fast")


def measure(model: str, dtype: str, prompts: int, rounds: int) -> None:
    """Start every contender once and print both tables."""
    small = {"kv_cache_memory_bytes": KV_CACHE_BYTES, "enforce_eager": True}
    llms = {}
    for name, in_own_process in (("LLM.chat", "1"), ("LLM.chat, model in this process", "0")):
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = in_own_process
        llms[name] = LLM(model, dtype=dtype, load_format="safetensors", **small)
    with asyncio.Runner() as loop:
        engine = VllmEngine(model, dtype=dtype, engine_args=small)
        loop.run(engine.__aenter__())
        try:
            ours = Ours(engine, loop)
            overhead_table(ours, llms, prompts, rounds)
            prefix_table(ours, rounds)
        finally:
            loop.run(engine.__aexit__(None, None, None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="a folder or hub id (default: a tiny random Llama)")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompts", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or str(make_tiny_llama(Path(folder), window=4096))
        measure(model, options.dtype, options.prompts, options.rounds)


if __name__ == "__main__":
    main()
