"""The whole of it at its quickest, with the real commands: killed in the middle, gone on with, refused when changed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.paper_small.claims import CLAIMS
from recipes.paper_small.commands import Setting
from recipes.paper_small.experiments import EXPERIMENTS, SETTINGS, jobs_of
from recipes.paper_small.gather import gather
from recipes.paper_small.scales import LAPTOP, QUICK
from recipes.paper_small.text import INSTALLED

ROOT = Path(__file__).parents[2]


def start(out: Path, *more: str, scale: str = "quick") -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "recipes.paper_small", f"--scale={scale}", f"--out={out}", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(out: Path) -> dict[str, int]:
    """When each job that is done was done."""
    marks = [path for path in (out / "jobs").rglob("*.json") if json.loads(path.read_bytes())["finished"]]
    return {str(path.relative_to(out / "jobs")): path.stat().st_mtime_ns for path in marks}


@pytest.mark.timeout(600)
def test_killed_gone_on_with_and_reported(tmp_path: Path) -> None:
    process = start(tmp_path)
    while len(finished(tmp_path)) < 14:
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.2)
    process.kill()
    process.communicate()
    time.sleep(0.5)  # its children are killed by the kernel
    before = finished(tmp_path)

    process = start(tmp_path)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    after = finished(tmp_path)
    assert before.items() <= after.items()  # nothing is done twice
    run = Setting(tmp_path, QUICK, tuple(INSTALLED))
    assert len(after) == len(jobs_of(run, 1, list(EXPERIMENTS)))
    assert f"{len(before)} of {len(after)} jobs are done already" in said

    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results["claims"]) == len(CLAIMS)
    missing = {each["name"] for each in results["claims"] if each["verdict"] == "not measured"}
    assert missing <= {"jump at the switch"}  # five steps have none
    assert (tmp_path / "report.html").stat().st_size > 100_000
    figures = gather(run, 1)
    assert figures.of("mix/d", "loss", 512) == figures.of("rope/ABF", "loss", 512) != {}
    assert len({figures.of(f"mix/{mix}", "loss", 512)[0] for mix in "abcd"}) == 4  # no mix is another
    assert all(figures.of(f"instruct/{name}", "short_answer") for name in SETTINGS)
    measured = figures.at("rope/xPos-ABF", "passkey")  # 64 tokens have room where the machine's text makes it one
    assert measured[-6:] == list(QUICK.lengths)[1:]
    assert set(measured) <= set(QUICK.lengths)
    assert figures.of("curriculum/80", "FLOPs")[0] < figures.of("curriculum/0", "FLOPs")[0]
    by_source = [name for _, name, *_ in figures if name.startswith("loss of ") and name != "loss of positions"]
    assert set(by_source) <= {f"loss of {name}" for name in INSTALLED} != set()

    refused = start(tmp_path, scale="laptop")
    said, _ = refused.communicate()
    assert refused.returncode == 1
    assert "was made with other settings" in said
    assert finished(tmp_path) == after


def test_dry_run_lists_everything_and_does_nothing(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "--dry-run", scale="laptop")
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert "seed-2/curriculum/80.retrieval" in said
    jobs = jobs_of(Setting(tmp_path, LAPTOP, tuple(INSTALLED)), 3, list(EXPERIMENTS))
    assert f"{len(jobs)} jobs, {sum(job.trained for job in jobs):,} tokens of training" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [(("--only=rpoe",), "no experiment rpoe"), (("--docs", "one=a"), "two sources"), (("--seeds=0",), "at least 1")],
)
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    process = start(tmp_path, *words)
    said, _ = process.communicate()
    assert process.returncode == 2
    assert problem in said
