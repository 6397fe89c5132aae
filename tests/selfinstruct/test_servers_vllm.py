"""`selfinstruct generate` over three real vLLM servers, one of which is killed and started again in the middle: the run
ends with the bytes of the run over one. The model is a tiny random Llama on the CPU."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from longreach.engines.server import servers_at
from longreach.text.document import Document
from tinyllama import make_tiny_llama
from topicrows import TOPICS, write_topics
from vllmserver import VllmServer, signal_group

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm")

ROOT = Path(__file__).parents[2]
FILES = ("records.jsonl", "rejected.jsonl", "skipped.jsonl", "failed.jsonl")
DOCUMENTS, LATE = 20, 12  # of them, those that come last
BEFORE_THE_KILL = 12  # completions
PATIENCE = 300.0  # seconds for each step
QUOTE, BRACE = 2.2, 1.8  # weights of what ends a string and an object


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return terse(make_tiny_llama(tmp_path_factory.mktemp("model"), window=4096))


def terse(folder: Path) -> Path:
    """Let the model end what it begins: one number of every hidden state is the same, and speaks for two characters.

    Strings of its JSON then have a dozen tokens instead of all that are allowed, and some pairs can be kept.
    """
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        network.model.embed_tokens.weight[:, 0] = 5.0
        for layer in network.model.layers:
            layer.self_attn.o_proj.weight[0] = layer.mlp.down_proj.weight[0] = 0.0
        network.lm_head.weight[:, 0] = 0.0
        for character, weight in (('"', QUOTE), ("}", BRACE)):
            network.lm_head.weight[tokenizer.convert_tokens_to_ids(character)] = 0.0
            network.lm_head.weight[tokenizer.convert_tokens_to_ids(character), 0] = weight
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_topics(tmp_path_factory.mktemp("docs") / "topics.jsonl", DOCUMENTS)


@pytest.fixture
def servers(model: Path) -> Iterator[list[VllmServer]]:
    """Three; the first is up, the others are starting."""
    three = [VllmServer(model) for _ in range(3)]
    try:
        three[0].start().wait()
        for server in three[1:]:
            server.start()
        yield three
    finally:
        for server in three:
            server.kill()


class Generation:
    """One run of the command; its output goes to files, so that nothing waits for a reader."""

    def __init__(self, docs: Path, out: Path, model: Path, *servers: VllmServer) -> None:
        self.out = out
        self._stdout, self._stderr = out.with_suffix(".json"), out.with_suffix(".err")
        command = [sys.executable, "-m", "selfinstruct", "generate", "--docs", str(docs), "--out", str(out), "--json"]
        command += ["--tokenizer", str(model), "--context-tokens", "4k", "--chunk-tokens", "512", "--structured"]
        command += ["--chunks-per-doc", "2", "--checks", "duplicates,critique", "--min-score", "1"]
        command += ["--concurrency", "2", *(word for server in servers for word in ("--base-url", server.url))]
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr, start_new_session=True)

    def __enter__(self) -> "Generation":
        return self

    def __exit__(self, *_: object) -> None:
        signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    @property
    def said(self) -> str:
        """On stderr, so far."""
        return self._stderr.read_text(encoding="utf-8")

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait for something while the command runs."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self._process.poll() is None, f"the run ended first: {self.said[-1000:]}"
            assert time.monotonic() < deadline, self.said[-1000:]
            time.sleep(0.1)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stopped, so that it does not end while a server starts, which takes longer than the run."""
        signal_group(self._process.pid, signal.SIGSTOP)
        yield
        signal_group(self._process.pid, signal.SIGCONT)

    def completions(self) -> int:
        """In the journal."""
        path = self.out / "journal.sqlite"
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as journal:
            try:
                return int(journal.execute("SELECT count(*) FROM completions").fetchone()[0])
            except sqlite3.OperationalError:  # its table is not there yet
                return 0

    def finish(self) -> dict[str, Any]:
        """What it printed."""
        assert self._process.wait(PATIENCE) == 0, self.said[-2000:]
        return json.loads(self._stdout.read_bytes())

    def files(self) -> dict[str, bytes]:
        return {name: (self.out / name).read_bytes() for name in FILES}


def busiest_late(servers: list[VllmServer]) -> VllmServer:
    """The one that gets most of the last documents: ports are drawn anew each time, and with them who gets what."""
    places = servers_at([server.url for server in servers], "", 1)
    late = [Document(name, name, text).sha256 for name, text in TOPICS[DOCUMENTS - LATE : DOCUMENTS]]
    owners = Counter(max(range(len(places)), key=lambda index: places[index].rank(sha256)) for sha256 in late)
    return servers[owners.most_common(1)[0][0]]


def test_a_real_server_killed_and_restarted_changes_nothing(
    docs: Path, model: Path, tmp_path: Path, servers: list[VllmServer]
) -> None:
    with Generation(docs, tmp_path / "one", model, servers[0]) as alone:
        undisturbed = alone.finish()
    for server in servers:
        server.wait()
    dying = busiest_late(servers)
    with Generation(docs, tmp_path / "three", model, *servers) as run:
        run.until(lambda: run.completions() >= BEFORE_THE_KILL)
        dying.kill()
        run.until(lambda: f"{dying.url} does not answer" in run.said)
        with run.held():
            dying.start().wait()
        run.until(lambda: f"{dying.url} answers again" in run.said)
        done = run.finish()
    assert dying.answered() > 0, "the server that came back gets requests again"
    assert run.files() == alone.files()
    assert done["requests"] == undisturbed["requests"]
    assert done["requests"]["failed"] == 0 < done["requests"]["kept"]
    for name in ("asked", "prompt_tokens", "completion_tokens"):
        assert done["usage"][name] == undisturbed["usage"][name] > 0
