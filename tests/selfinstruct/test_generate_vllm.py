"""`selfinstruct generate` with real vLLM on the CPU, on a tiny random Llama: only its text is noise."""

import json
import os
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from tinyllama import make_tiny_llama

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm")

ROOT = Path(__file__).parents[2]
CPU = {"kv_cache_memory_bytes": 1 << 28, "enforce_eager": True, "dtype": "float32"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("model"), window=4096)


def test_generate_runs_and_resumes(model: Path, tmp_path: Path) -> None:
    docs = tmp_path / "topics.jsonl"
    rows = [{"id": name, "text": text} for name, text in sorted(topics.items())[:10]]
    docs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arguments = [
        *("generate", "--docs", str(docs), "--out", str(tmp_path / "run"), "--engine", "vllm", "--model", str(model)),
        *("--tokenizer", str(model), "--chunk-tokens", "512", "--chunks-per-doc", "2", "--context-tokens", "4k"),
        *("--checks", "duplicates,leak,critique", "--structured", "--json", "--engine-args", json.dumps(CPU)),
    ]
    first = figures(arguments)
    assert first["documents"]["read"] == 10
    requests = first["requests"]
    assert requests["failed"] == 0
    assert requests["planned"] == requests["kept"] + sum(requests["rejected"].values()) > 30
    assert first["usage"]["asked"] > requests["planned"]  # the judge was asked as well
    assert first["usage"]["cached_tokens"] > 0
    again = figures(arguments)
    assert again["usage"]["asked"] == 0
    assert again["requests"] == requests


def figures(arguments: list[str]) -> dict[str, dict[str, int]]:
    done = subprocess.run(
        [sys.executable, "-m", "selfinstruct", *arguments],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
