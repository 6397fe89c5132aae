"""`selfinstruct generate` with real vLLM on the CPU, on a tiny random Llama: only its text is noise."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest

from tinyllama import make_tiny_llama

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm")

ROOT = Path(__file__).parents[2]
CPU = {"kv_cache_memory_bytes": 1 << 28, "enforce_eager": True, "dtype": "float32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), window=4096)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs") / "topics.jsonl"
    rows = [{"id": name, "text": text} for name, text in sorted(topics.items())[:10]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def arguments(docs: Path, out: Path, model: Path) -> list[str]:
    return [
        *("generate", "--docs", str(docs), "--out", str(out), "--tokenizer", str(model), "--context-tokens", "4k"),
        *(
            "--chunk-tokens",
            "512",
            "--chunks-per-doc",
            "2",
            "--checks",
            "duplicates,leak,critique",
            "--structured",
            "--json",
        ),
    ]


def test_generate_in_process_runs_and_resumes(model: Path, docs: Path, tmp_path: Path) -> None:
    command = [*arguments(docs, tmp_path / "run", model), "--model", str(model), "--engine-args", json.dumps(CPU)]
    first = figures([*command, "--engine", "vllm"])
    check_balance(first)
    assert first["usage"]["cached_tokens"] > 0
    again = figures([*command, "--engine", "vllm"])
    assert again["usage"]["asked"] == 0
    assert again["requests"] == first["requests"]


def test_generate_from_a_served_model(model: Path, docs: Path, tmp_path: Path) -> None:
    with served(model) as url:
        check_balance(figures([*arguments(docs, tmp_path / "run", model), "--base-url", url]))


def check_balance(found: dict[str, dict[str, int]]) -> None:
    requests: dict[str, Any] = found["requests"]
    assert found["documents"]["read"] == 10
    assert requests["failed"] == 0
    assert requests["planned"] == requests["kept"] + sum(requests["rejected"].values()) > 30
    assert found["usage"]["asked"] > requests["planned"]  # the judge was asked as well


@contextmanager
def served(model: Path) -> Iterator[str]:
    """The model behind vLLM's OpenAI-compatible server, on a free port of this machine alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(1 << 28)]
    command += ["--no-enable-chunked-prefill"]  # a CPU's random generators cannot be set back, as it needs with seeds
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def wait_until_up(url: str, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise TimeoutError(url)


def figures(arguments: list[str]) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-m", "selfinstruct", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
