"""recipes/generate_ray.py on a Ray of this machine: the bytes of the undivided run, also when a worker is killed.

Runs where Ray is installed: python -m venv --system-site-packages ENV; ENV/bin/pip install ray.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from faultserver import FaultServer, pair
from serverthread import beside

pytest.importorskip("ray")

ROOT = Path(__file__).parents[2]
FILES = ("records.jsonl", "rejected.jsonl", "skipped.jsonl", "failed.jsonl")
GENERATE = ("--docs", str(ROOT / "docs"), "--engine", "extractive")


# a Ray of its own, which asks nobody outside and is gone with the command
QUIET = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local", "PYTHONPATH": str(ROOT)}


def run(words: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, env=QUIET, capture_output=True, text=True, check=False)


def recipe(out: Path, *more: str, generate: Sequence[str] = GENERATE) -> list[str]:
    return [str(ROOT / "recipes/generate_ray.py"), "3", str(out), "--gpus-per-shard", "0", *generate, *more]


def test_shards_of_ray_make_the_undivided_run(tmp_path: Path) -> None:
    whole = run(["-m", "selfinstruct", "generate", *GENERATE, "--out", str(tmp_path / "whole")], tmp_path)
    assert whole.returncode == 0, whole.stderr
    done = run(recipe(tmp_path / "run", "--gpus", "2"), tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for index in range(3):
        settings = json.loads((tmp_path / f"run/shards/{index}/run.json").read_bytes())["settings"]
        assert settings["gpus"] == 2, "an option of generate is none of the recipe's"


def test_a_worker_that_is_killed_costs_nothing_and_nothing_is_asked_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with beside() as start:
        server = FaultServer(answer=pair, latency=0.2)
        start(server.start()).result()
        served = ("--docs", str(ROOT / "docs"), "--base-url", server.url, "--concurrency", "4")
        command = [sys.executable, *recipe(out, generate=served)]
        with (tmp_path / "said").open("wb") as said:
            process = subprocess.Popen(command, cwd=tmp_path, env=QUIET, stdout=said, stderr=said)
        try:
            while not (asking := commands_of(out / "shards/1")) or len(server.seen) < 30:
                assert process.poll() is None, (tmp_path / "said").read_text()[-2000:]
                time.sleep(0.05)
            os.kill(parent_of(asking[0]), signal.SIGKILL)
            assert process.wait(200) == 0, (tmp_path / "said").read_text()[-2000:]
        finally:
            process.kill()
        asked = len(server.seen)
        again = run(recipe(out, generate=served), tmp_path)
        assert again.returncode == 0, again.stderr[-2000:]
        assert len(server.seen) == asked
        whole = run(["-m", "selfinstruct", "generate", *served, "--out", str(tmp_path / "whole")], tmp_path)
        start(server.stop()).result()
    assert whole.returncode == 0, whole.stderr
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def commands_of(folder: Path) -> list[int]:
    """Processes that generate in that folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"selfinstruct" in words and str(folder).encode() in words:
                found.append(int(path.parent.name))
    return found


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_shard_that_fails_is_named(tmp_path: Path) -> None:
    done = run(recipe(tmp_path / "run", "--context-tokens", "100"), tmp_path)
    assert done.returncode == 1
    assert f"not finished, what is wrong stands above: {tmp_path / 'run/shards/0'}" in done.stderr
    assert not (tmp_path / "run/records.jsonl").exists()
