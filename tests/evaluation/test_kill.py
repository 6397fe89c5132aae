"""Killed while it asks and started again by the same command, a run ends with the same bytes and asks nothing twice."""

import hashlib
import json
import multiprocessing
import runpy
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from evaluation.asking import JOURNAL, PROMPTS
from evaluation.cli import main
from evaluation.results import PREDICTIONS, RESULTS
from faultserver import FaultServer
from selfinstruct.cli import main as selfinstruct

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "tests/data/heldout_documents.jsonl"
AT_ONCE = 3
COMMIT, PUBLISH = "longreach.journal:Journal._commit_waiting", "longreach.jsonl:LineWriter.publish"
POINTS = (
    ("retrieval", "before", COMMIT, 1),
    ("retrieval", "after", COMMIT, 4),
    ("retrieval", "after", PUBLISH, 1),
    ("qa", "after", COMMIT, 3),
    ("qa", "before", "evaluation.results:Results.write", 1),
    ("red-team", "after", COMMIT, 5),
    ("red-team", "before", "evaluation.redteam:refusal", 2),
    ("red-team", "after", PUBLISH, 3),  # predictions.jsonl with what the judge said
)


def answer(asked: dict[str, Any]) -> str:
    """A function of what is asked, for judges too."""
    prompt = str(asked["messages"][-1]["content"])
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    return f"Verdict: {'yes' if digest < '8' else 'no'}" if "Verdict: yes" in prompt else f"{digest[:6]} KESTREL"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("records") / "run"
    words = "--engine extractive --tasks short_answer,summary --context-tokens 1400 --chunk-tokens 300 --limit 9"
    ended = CliRunner().invoke(selfinstruct, ["generate", "--docs", str(DOCUMENTS), "--out", str(out), *words.split()])
    assert ended.exit_code == 0, ended.output
    return out


@pytest.fixture
def command(tmp_path: Path, records: Path, server_of: Callable[..., FaultServer]) -> Callable[[str], list[str]]:
    """command(name) -> its words, but for --out; all of them ask one server, `command.server`."""
    server = server_of(answer)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"Tell me {n}.", "area": "illicit"}) + "\n" for n in range(5)))
    asked = f"--base-url {server.url} --model tiny --concurrency {AT_ONCE}"
    words = {
        "retrieval": f"--docs {DOCUMENTS} --task passkey,first-sentence --lengths 300,500 --samples 2 --depths 0,1",
        "qa": f"--records {records} --max-tokens 9",
        "red-team": f"--docs {DOCUMENTS} --prompts {prompts} --lengths 400 --depths 0.5 --max-tokens 9 "
        f"--judge-url {server.url} --judge-model tiny",
    }

    def of(name: str) -> list[str]:
        return [name, *words[name].split(), *asked.split()]

    of.server = server  # type: ignore[attr-defined]
    return of


def arrived(command: Any) -> list[str]:
    """What came to the server since this was asked last."""
    found = [each.digest for each in command.server.seen]
    command.server.seen.clear()
    return found


def run(arguments: list[str], out: Path) -> None:
    ended = CliRunner().invoke(main, [*arguments, "--out", str(out)])
    assert ended.exit_code == 0, ended.output


@pytest.fixture(scope="module")
def processes() -> Any:
    """New ones have the measures loaded already, which takes longer than all that they do."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["evaluation.qa", "evaluation.redteam", "evaluation.retrieval"])
    return context


@pytest.fixture
def kill(processes: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """kill(arguments, out, moment, place, nth): runs the command until it is killed there."""

    def run_until(arguments: list[str], out: Path, *where: Any) -> None:
        script = str(ROOT / "tests/killed.py")
        words = [script, "evaluation", *map(str, where), *arguments, "--out", str(out)]
        monkeypatch.setattr(sys, "argv", words)  # a new process takes it over
        process = processes.Process(target=runpy.run_path, args=(script,), kwargs={"run_name": "__main__"})
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    return run_until


def kept(out: Path) -> int:
    """Answers in the journal."""
    with sqlite3.connect(out / JOURNAL) as journal:
        return int(journal.execute("SELECT count(*) FROM completions").fetchone()[0])


@pytest.mark.parametrize(("name", "moment", "place", "nth"), POINTS)
def test_a_kill_costs_nothing_that_was_answered(
    command: Any, kill: Any, tmp_path: Path, name: str, moment: str, place: str, nth: int
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(command(name), whole)
    total = arrived(command)
    assert len(total) == len(set(total)) == kept(whole) > 2 * AT_ONCE
    kill(command(name), killed, moment, place, nth)
    assert not (killed / RESULTS).exists()
    before, first = kept(killed), arrived(command)
    run(command(name), killed)
    second = arrived(command)
    assert before + len(second) == len(total), "what the journal held was asked again"
    assert len(set(first) & set(second)) <= 2 * AT_ONCE  # on their way, or waiting for a commit
    for file in (PREDICTIONS, PROMPTS):
        assert (killed / file).read_bytes() == (whole / file).read_bytes()
    assert not list(killed.glob("*.partial"))
    figures = [json.loads((out / RESULTS).read_text()) for out in (whole, killed)]
    assert figures[0]["scores"] == figures[1]["scores"] and figures[0]["headline"] == figures[1]["headline"]
