"""`selfinstruct generate` with real vLLM on the CPU, on a tiny random Llama: only its text is noise."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinyllama import make_tiny_llama
from topicrows import write_topics
from vllmserver import VllmServer

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm")

ROOT = Path(__file__).parents[2]
CPU = {"kv_cache_memory_bytes": 1 << 28, "enforce_eager": True, "dtype": "float32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), window=4096)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_topics(tmp_path_factory.mktemp("docs") / "topics.jsonl", 10)


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
    server = VllmServer(model).start()
    try:
        check_balance(figures([*arguments(docs, tmp_path / "run", model), "--base-url", server.wait().url]))
    finally:
        server.stop()


def check_balance(found: dict[str, dict[str, int]]) -> None:
    requests: dict[str, Any] = found["requests"]
    assert found["documents"]["read"] == 10
    assert requests["failed"] == 0
    assert requests["planned"] == requests["kept"] + sum(requests["rejected"].values()) > 30
    assert found["usage"]["asked"] > requests["planned"]  # the judge was asked as well


def figures(arguments: list[str]) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-m", "selfinstruct", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
