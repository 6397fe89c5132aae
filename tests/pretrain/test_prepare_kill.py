"""Killed at any moment and started again by the same command, prepare ends with the same bytes."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics

import pytest

ROOT = Path(__file__).parents[2]
KILLS = 20
POINTS = (
    ("before", "pretrain.tokenstore:TokenStore.commit", 1),
    ("after", "pretrain.tokenstore:TokenStore.append", 2),
    ("after", "pretrain.tokenstore:TokenStore.commit", 2),
    ("before", "pretrain.prepare:write_rows", 1),
    ("after", "longreach.rows.shards:RowWriter.append", 40),
    ("after", "longreach.rows.shards:RowWriter._publish", 3),
    ("before", "longreach.rows.shards:RowWriter.finish", 2),
    ("after", "longreach.rows.shards:RowWriter.finish", 2),
    ("before", "pretrain.prepare:publish", 1),
    ("after", "pretrain.prepare:publish", 1),
    ("before", "longreach.run:RunFolder.write_manifest", 2),
    ("after", "longreach.run:RunFolder.write_manifest", 2),
)


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough text for several commits."""
    path = tmp_path_factory.mktemp("docs") / "reference.jsonl"
    texts = [text for _, text in sorted(topics.items())]
    rows = [{"text": f"{number}\n{text}"} for number in range(4) for text in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no json\n", encoding="utf-8")
    return path


def command(docs: Path, out: Path) -> list[str]:
    rows = ("--seq-len", "1024", "--shard-tokens", "50k", "--long-tokens", "1000", "--upsample-long", "2")
    code = Path(json.__file__).parent.parent / "asyncio"
    return [
        "prepare",
        "--source",
        f"ref={docs}",
        "--source",
        f"code={code}",
        *rows,
        "--workers",
        "1",
        "--out",
        str(out),
    ]


def run(arguments: list[str]) -> subprocess.Popen[bytes]:
    whole = [sys.executable, "-m", "pretrain", *arguments]
    return subprocess.Popen(whole, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def digests(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.json", ".lock", "lengths.png")
    }


@pytest.fixture(scope="module")
def clean(docs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """The files of a run that nothing disturbed, and how long it took."""
    out = tmp_path_factory.mktemp("clean") / "rows"
    begun = time.monotonic()
    assert run(command(docs, out)).wait() == 0
    found = digests(out)
    assert sum(name.endswith(".bin") for name in found) > 5
    return found, time.monotonic() - begun


def test_killed_at_random_moments(docs: Path, clean: tuple[dict[str, str], float], tmp_path: Path) -> None:
    files, seconds = clean
    moments = random.Random(3)
    kills, tries = 0, 0
    while kills < KILLS:
        out = tmp_path / f"try{tries}"
        tries += 1
        for _ in range(3):  # the same folder up to three times, then to its end
            process = run(command(docs, out))
            try:
                process.wait(moments.uniform(0.3, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        assert run(command(docs, out)).wait() == 0
        assert digests(out) == files


@pytest.mark.parametrize(("moment", "place", "nth"), POINTS)
def test_killed_at_a_named_point(
    docs: Path, clean: tuple[dict[str, str], float], tmp_path: Path, moment: str, place: str, nth: int
) -> None:
    killed = [sys.executable, str(ROOT / "tests/killed.py"), "pretrain", moment, place, str(nth)]
    done = subprocess.run([*killed, *command(docs, tmp_path)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert run(command(docs, tmp_path)).wait() == 0
    assert digests(tmp_path) == clean[0]
