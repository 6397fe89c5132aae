"""Killed at any moment and started again by the same command, a run ends with the same bytes and asks nothing twice."""

import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from topicrows import write_topics

ROOT = Path(__file__).parents[2]
KILLS = 25
POINTS = (
    ("before", "longreach.journal:Journal._commit_waiting", 1),
    ("after", "longreach.journal:Journal._commit_waiting", 3),
    ("before", "longreach.jsonl:LineWriter.publish", 1),
    ("after", "longreach.jsonl:LineWriter.publish", 1),
    ("before", "longreach.jsonl:LineWriter.publish", 4),
    ("after", "longreach.jsonl:LineWriter.publish", 4),
    ("before", "selfinstruct.generate:write_card", 1),
    ("before", "longreach.run:RunFolder.write_manifest", 1),
    ("after", "longreach.run:RunFolder.write_manifest", 1),
    ("before", "longreach.run:RunFolder.write_manifest", 2),
    ("after", "selfinstruct.pipeline:Sorter.sort", 7),
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A chat server in a process of its own; its answers are a function of the request."""
    command = [sys.executable, str(ROOT / "tests/faultserver.py"), "--port", "0", "--answer", "pair"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = process.stdout.readline().strip()
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_topics(tmp_path_factory.mktemp("docs") / "reference.jsonl")


def command(docs: Path, server: str, out: Path) -> list[str]:
    return ["generate", "--docs", str(docs), "--base-url", server, "--out", str(out), "--concurrency", "8"]


def run(arguments: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "selfinstruct", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def digests(out: Path) -> dict[str, str]:
    names = ("records.jsonl", "rejected.jsonl", "skipped.jsonl", "failed.jsonl")
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def clean(docs: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """The files of a run that nothing disturbed, and how long it took."""
    out = tmp_path_factory.mktemp("clean") / "run"
    begun = time.monotonic()
    assert run(command(docs, server, out)).wait() == 0
    assert (out / "records.jsonl").stat().st_size > 100_000
    return digests(out), time.monotonic() - begun


def test_random_kills(docs: Path, server: str, clean: tuple[dict[str, str], float], tmp_path: Path) -> None:
    expected, seconds = clean
    draw = random.Random(7)
    killed = 0
    for _ in range(4 * KILLS):
        out = tmp_path / f"run{killed // 5}"  # five kills a folder, so that most are killed again after they resumed
        process = run(command(docs, server, out))
        time.sleep(draw.uniform(0.2, seconds))
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed += 1
        if killed == KILLS:
            break
    assert killed == KILLS
    for folder in range(KILLS // 5):
        out = tmp_path / f"run{folder}"
        assert run(command(docs, server, out)).wait() == 0
        assert digests(out) == expected
        assert not list(out.glob("*.partial"))


@pytest.mark.parametrize(("moment", "place", "nth"), POINTS)
def test_named_points(
    moment: str, place: str, nth: int, docs: Path, server: str, clean: tuple[dict[str, str], float], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = command(docs, server, out)
    killed = subprocess.run(
        [sys.executable, str(ROOT / "tests/killed.py"), "selfinstruct", moment, place, str(nth), *arguments],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-500:]
    before = completions(out)
    assert run(arguments).wait() == 0
    assert digests(out) == clean[0]
    usage = json.loads((out / "run.json").read_text())["usage"]
    assert usage["asked"] + before == completions(out), "what the journal held was asked again"


def completions(out: Path) -> int:
    path = out / "journal.sqlite"
    if not path.exists():
        return 0
    with sqlite3.connect(path) as journal:
        tables = journal.execute("SELECT count(*) FROM sqlite_master WHERE name = 'completions'").fetchone()[0]
        return int(journal.execute("SELECT count(*) FROM completions").fetchone()[0]) if tables else 0
