"""evaluate panel through its command: what applies is measured, what does not is said, and compare reads it all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from evaluation.cli import main
from evaluation.results import PREDICTIONS, read_results
from selfinstruct.cli import main as selfinstruct
from tinyllama import make_tiny_llama

ROWS = Path(__file__).parent / "harness" / "data"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, documents, records on them, and the data of a suite."""
    from conftest import harbour

    folder = tmp_path_factory.mktemp("panel")
    make_tiny_llama(folder / "model", window=8192)
    (folder / "docs").mkdir()
    for number in range(6):
        (folder / "docs" / f"{number}.txt").write_text(f"Book {number} is of harbours. {harbour(20)}")
    words = ["generate", "--docs", str(folder / "docs"), "--out", str(folder / "records")]
    made = CliRunner().invoke(selfinstruct, words)
    assert made.exit_code == 0, made.stderr
    return folder


@pytest.fixture
def panel(place: Path) -> Callable[..., Result]:
    def run(out: Path, *more: str, docs: Path = place / "docs") -> Result:
        given = ["--model", str(place / "model"), "--docs", str(docs), "--lengths", "512,1024"]
        return CliRunner().invoke(main, ["panel", *given, "--samples", "2", "--out", str(out), *more])

    return run


def test_all_that_applies(panel: Any, place: Path, tmp_path: Path) -> None:
    more = ["--records", str(place / "records"), "--data-dir", str(ROWS), "--suite", "zeroscrolls", "--json"]
    found = panel(tmp_path / "out", *more)
    assert found.exit_code == 0, found.stderr
    measures = json.loads(found.stdout)
    assert list(measures) == ["loss", "retrieval", "qa", "harness"]
    for name, results in measures.items():
        on_disk = read_results(tmp_path / "out" / name)
        assert on_disk.measure == results["measure"] == name
        assert results["headline"]
        assert (tmp_path / "out" / name / PREDICTIONS).stat().st_size
        assert list((tmp_path / "out" / name).glob("*.png"))
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob(PREDICTIONS)}
    assert panel(tmp_path / "out", *more).exit_code == 0
    assert before == {path: path.read_bytes() for path in before}

    out = str(tmp_path / "out")
    compared = CliRunner().invoke(main, ["compare", out, out, "--names", "one,other", "--json"])
    assert compared.exit_code == 0, compared.stderr
    rows = json.loads(compared.stdout)["rows"]
    assert {row["measure"] for row in rows} == set(measures)
    assert {row["differences"][0]["value"] for row in rows} == {0.0}


def test_what_does_not_apply_is_said(panel: Any, tmp_path: Path) -> None:
    found = panel(tmp_path / "out", "--base-url", "http://127.0.0.1:9/v1", "--engine", "http")
    assert "loss: left out, it needs the checkpoint itself" in found.stderr
    assert found.exit_code == 1
    assert "error: retrieval: " in found.stderr and "127.0.0.1:9" in found.stderr
    found = panel(tmp_path / "other")
    assert found.exit_code == 0
    assert "qa: left out, no --records" in found.stderr
    assert "harness (short): left out, no --data-dir" in found.stderr


def test_a_measure_that_cannot_be_taken_does_not_stop_the_others(panel: Any, tmp_path: Path) -> None:
    (tmp_path / "short.jsonl").write_bytes(
        b"".join(orjson.dumps({"id": str(n), "text": f"Tale {n} is short. " * 15}) + b"\n" for n in range(40))
    )
    found = panel(tmp_path / "out", docs=tmp_path / "short.jsonl")
    assert found.exit_code == 1
    assert "loss: no document has the 1,024 tokens of the longest length" in found.stderr
    assert "the other measures are finished" in found.stderr
    assert read_results(tmp_path / "out" / "retrieval").headline
    assert not (tmp_path / "out" / "loss" / "results.json").exists()
