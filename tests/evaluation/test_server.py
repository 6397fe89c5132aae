"""A server that goes away, refuses or wants a key: nothing is concluded, the same command goes on, no key is told."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import evaluation.subject
from evaluation.cli import main
from evaluation.results import PREDICTIONS, RESULTS
from faultserver import ANSWER, GARBAGE, HANG_UP, NULL_CONTENT, Act, FaultServer, always, answering, status
from longreach.engines.access import api_key
from longreach.engines.backoff import Backoff
from longreach.engines.http import HttpEngine

DOCUMENTS = Path(__file__).parents[1] / "data/heldout_documents.jsonl"
WORDS = (
    f"retrieval --docs {DOCUMENTS} --task passkey,niah-single --lengths 300,500 --samples 2 --depths 0,1 --model tiny"
)
KEY = "sk-never-to-be-told"


@pytest.fixture
def server(server_of: Callable[..., FaultServer], monkeypatch: pytest.MonkeyPatch) -> FaultServer:
    """It answers everything; the engine is quick to give up."""

    def impatient(model: str, urls: Any, key_env: str, *, concurrency: int, timeout: float) -> HttpEngine:
        given: dict[str, Any] = {"concurrency": concurrency or 8, "timeout": timeout, "api_key": api_key(key_env)}
        return HttpEngine(model=model, base_urls=urls, **given, attempts=2, backoff=Backoff(0.01, 0.02))

    monkeypatch.setattr(evaluation.subject, "http_engine", impatient)
    return server_of(lambda asked: f"It is {len(asked['messages'][0]['content'])}.")


@pytest.fixture
def evaluate(server: FaultServer, tmp_path: Path) -> Callable[..., Result]:
    """evaluate(out, ...) -> what came of the command."""

    def run(out: str = "out", *more: str) -> Result:
        asked = ["--base-url", server.url, "--concurrency", "2", "--out", str(tmp_path / out)]
        return CliRunner().invoke(main, [*WORDS.split(), *asked, *more])

    return run


def after(answers: int, act: Act) -> Callable[[str, int], Act]:
    """So many are answered, then every arrival meets this."""
    came: Counter[str] = Counter()

    def plan(digest: str, arrivals: int) -> Act:
        came["all"] += 1
        return ANSWER if came["all"] <= answers else act

    return plan


@pytest.mark.parametrize("act", [HANG_UP, status(500), GARBAGE, NULL_CONTENT], ids=lambda act: act.kind)
def test_a_server_that_goes_away_half_way_ends_in_3_and_the_rest_is_asked_later(
    server: FaultServer, evaluate: Callable[..., Result], tmp_path: Path, act: Act
) -> None:
    server.plan = after(5, act)
    broken = evaluate()
    assert broken.exit_code == 3, broken.output
    assert "11 of 16 requests got no answer" in broken.stderr and "run the same command again" in broken.stderr
    assert broken.stdout == ""
    assert not (tmp_path / "out" / RESULTS).exists() and not (tmp_path / "out" / PREDICTIONS).exists()
    server.plan = answering
    assert evaluate().exit_code == 0
    assert set(server.answered.values()) == {1} and len(server.answered) == 16
    assert evaluate("whole").exit_code == 0
    assert (tmp_path / "out" / PREDICTIONS).read_bytes() == (tmp_path / "whole" / PREDICTIONS).read_bytes()


@pytest.mark.parametrize(("code", "said"), [(401, "refuses the API key"), (404, "does not have that model")])
def test_a_server_that_refuses_everything_stops_the_run_at_once(
    server: FaultServer, evaluate: Callable[..., Result], code: int, said: str
) -> None:
    server.plan = after(5, status(code))
    refused = evaluate()
    assert refused.exit_code == 1
    assert said in refused.stderr and "hint:" in refused.stderr
    assert len(server.seen) < 16
    server.plan = answering
    assert evaluate().exit_code == 0
    assert set(server.answered.values()) == {1}


def test_prompts_that_a_server_finds_too_long_are_counted_and_none_at_all_is_an_error(
    server: FaultServer, evaluate: Callable[..., Result]
) -> None:
    server.plan = after(5, status(400, "This model's maximum context length is 300 tokens"))
    some = evaluate()
    assert some.exit_code == 0, some.output
    assert "11 of 16 prompts were refused (prompt too long: This model's maximum context" in some.stdout
    server.plan = always(status(400, "This model's maximum context length is 3 tokens"))
    none = evaluate("none")
    assert none.exit_code == 1
    assert "no prompt was answered" in none.stderr


def test_a_mistake_before_the_first_answer_binds_the_folder_to_nothing(
    server: FaultServer, evaluate: Callable[..., Result]
) -> None:
    server.plan = always(status(404))
    assert evaluate("out", "--lengths", "350").exit_code == 1
    server.plan = answering
    assert evaluate("out", "--lengths", "400").exit_code == 0
    other = evaluate("out", "--lengths", "450")
    assert other.exit_code == 1 and "lengths: was [400], now [450]" in other.stderr


def test_a_key_is_sent_and_never_told(
    server: FaultServer, evaluate: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    named = partial(evaluate, "out", "--api-key-env", "THE_KEY")
    server.key = "another"
    refused = named()  # the server repeats the key that it refuses
    assert refused.exit_code == 1 and "refuses the API key" in refused.stderr
    server.key = KEY
    found = named()
    assert found.exit_code == 0
    assert all(each.headers["authorization"] == f"Bearer {KEY}" for each in server.seen)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in refused.output + found.output
    monkeypatch.delenv("THE_KEY")
    assert "THE_KEY, named for a key, is not set" in named().stderr
