"""recipes/demo.sh, its numbers made small: killed in the middle it goes on, and ends with a page that tells the story."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from markupsafe import escape

from longreach.jsonl import read_lines
from recipes.demo.report import records

ROOT = Path(__file__).parents[2]
SMALLER = {  # the same lines with less to do
    r"--rows 64=\S+ --rows 512=\S+": "--rows 64=20k --rows 512=20k",
    r"--chats \d+": "--chats 200",
    r"--steps \d+": "--steps 3",
    r"--warmup-steps \d+": "--warmup-steps 1",
    r"--samples 10 ": "--samples 1 ",
    r"--samples [12]00": "--samples 6",
    r"--chunks-per-doc all": "--chunks-per-doc 1",
}
LAST = "report"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A copy of the recipe with what it needs beside it."""
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "recipes" / "demo.sh"
    text = path.read_text("utf-8")
    for pattern, smaller in SMALLER.items():
        text, found = re.subn(pattern, smaller, text)
        assert found, pattern
    path.write_text(text)
    return path


def started(script: Path) -> subprocess.Popen[str]:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [script, "run"],
        cwd=script.parents[1],
        env={**os.environ, "PATH": programs, "PYTHONPATH": f"{script.parents[1]}{os.pathsep}{ROOT}"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.timeout(900)
def test_killed_and_started_again_it_ends_with_its_page(script: Path) -> None:
    out = script.parents[1] / "run"
    first = started(script)
    while not (out / "rows-512" / "manifest.json").exists():
        assert first.poll() is None, first.communicate()
        time.sleep(0.2)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    base = (out / "base" / "model.safetensors").stat().st_mtime_ns

    second = started(script)
    said, stages = second.communicate()
    assert second.returncode == 0, stages
    assert said.splitlines()[-1] == "the report: run/report.html"
    number, of = map(int, re.findall(r"(\d+)/(\d+)", stages.splitlines()[-1])[0])
    assert number == of == stages.count("\n")
    assert LAST in stages.splitlines()[-1]
    assert (out / "base" / "model.safetensors").stat().st_mtime_ns == base  # not trained again

    page = (out / "report.html").read_text("utf-8")
    rows = list(read_lines(out / "records" / "records.jsonl"))
    assert page.count("<mark>") == 3
    assert str(escape(rows[0]["evidence"][0]["text"])) in page
    mix = json.loads((out / "chat" / "longreach.json").read_text())["mix"]
    assert all(f"{100 * source['realised_share']:.2f} %" in page for source in mix)
    assert page.count("data:image/png;base64,") == 5  # curves, two heat maps, two histograms
    assert "recipes/llama2-7b-32k.sh" in page
    assert "first sentence of 512 tokens" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:)", page)


def test_a_stage_that_fails_says_where_to_look(script: Path) -> None:
    script.write_text(script.read_text("utf-8").replace("--rows 64=20k", "--rows 64=twenty"))
    failed = started(script)
    said, stages = failed.communicate()
    assert failed.returncode == 1
    assert not said
    assert "training text ... failed" in stages
    assert "all of it: run/logs/02.log" in stages


def test_text_is_no_markup(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>"
    messages = [{"content": f"before {hostile} after {hostile}"}, {"content": "42"}]
    row = {"document": {"id": "d"}, "messages": messages, "evidence": [{"text": hostile}]}
    (tmp_path / "records.jsonl").write_text(json.dumps(row))
    [shown] = records(tmp_path / "records.jsonl")
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert shown.prompt == f"before <mark>{escaped}</mark> after {escaped}"
