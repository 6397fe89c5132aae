"""`selfinstruct generate` with several servers: whatever happens to them, the run ends with the bytes of an undisturbed
one, and every request is accounted for."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from faultserver import ANSWER, Act, FaultServer, pair
from longreach.engines import fleet
from selfinstruct.cli import main
from serverthread import Start, beside
from topicrows import write_topics

FILES = ("records.jsonl", "rejected.jsonl", "skipped.jsonl", "failed.jsonl")
CONCURRENCY = 4  # at each server


@pytest.fixture
def start() -> Iterator[Start]:
    with beside() as start:
        yield start


@pytest.fixture
def servers(start: Start) -> Iterator[list[FaultServer]]:
    """Four chat servers, whose answers are a function of the request."""
    four = [FaultServer(answer=pair, latency=0.01) for _ in range(4)]
    for server in four:
        start(server.start()).result()
    yield four
    for server in four:
        start(server.stop()).result()


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_topics(tmp_path_factory.mktemp("docs") / "reference.jsonl")


def generate(docs: Path, out: Path, *servers: FaultServer) -> Result:
    urls = [word for server in servers for word in ("--base-url", server.url)]
    return CliRunner().invoke(
        main, ["generate", "--docs", str(docs), "--out", str(out), "--concurrency", str(CONCURRENCY), "--json", *urls]
    )


def paid(done: Result) -> dict[str, int]:
    """What was asked and taken; how often an answer served twice is a matter of time."""
    return {name: number for name, number in json.loads(done.stdout)["usage"].items() if name != "replayed"}


def files(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in FILES}


def after(arrivals: int, server: FaultServer, event: Callable[[], object]) -> None:
    """Something happens when that server has got so many requests."""

    def plan(digest: str, before: int) -> Act:
        if len(server.seen) == arrivals:
            event()
        return ANSWER

    server.plan = plan


def test_a_server_killed_and_restarted_changes_nothing(
    docs: Path, tmp_path: Path, servers: list[FaultServer], start: Start
) -> None:
    alone, dying, *others = servers
    undisturbed = generate(docs, tmp_path / "one", alone)
    assert undisturbed.exit_code == 0, undisturbed.stderr
    at_return: list[int] = []

    async def outage() -> None:
        await dying.stop()
        await asyncio.sleep(0.2)
        at_return.append(len(dying.seen))
        await dying.start()

    after(30, dying, lambda: start(outage()))
    done = generate(docs, tmp_path / "three", dying, *others)
    assert done.exit_code == 0, done.stderr
    assert files(tmp_path / "three") == files(tmp_path / "one")
    assert paid(done) == paid(undisturbed)
    assert len(dying.seen) > at_return[0], "the server that came back gets requests again"
    out, back = [line for line in done.stderr.splitlines() if "answer" in line]
    assert out.startswith(f"{dying.url} does not answer")
    assert back == f"{dying.url} answers again"
    accounted(alone, [dying, *others])


def accounted(alone: FaultServer, three: list[FaultServer]) -> None:
    """The three got the requests of the one: each is answered, and only what was under way at the kill is sent again."""
    arrivals = sum((server.arrivals for server in three), Counter[str]())
    assert arrivals.keys() == alone.arrivals.keys()
    assert all(server.arrivals for server in three)
    assert arrivals.total() - len(arrivals) <= CONCURRENCY + fleet.TRIP


def test_when_all_servers_stay_away_the_rest_fails_and_the_same_command_asks_it(
    docs: Path, tmp_path: Path, servers: list[FaultServer], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "GONE", 2)  # half a second of patience instead of five minutes
    alone, *both = servers[:3]
    after(60, both[0], lambda: [start(server.stop()) for server in both])
    disturbed = generate(docs, tmp_path / "run", *both)
    counts = json.loads(disturbed.stdout)["requests"]
    assert disturbed.exit_code == 3
    assert disturbed.stderr.count("no server answers any more") == 1
    assert set(counts["failed_by_reason"]) <= {"no server", "server down"}
    assert counts["failed_by_reason"]["no server"] > 0
    assert counts["planned"] == counts["kept"] + sum(counts["rejected"].values()) + counts["failed"]

    for server in both:
        start(server.start()).result()
    again = generate(docs, tmp_path / "run", *both)
    assert again.exit_code == 0, again.stderr
    assert generate(docs, tmp_path / "one", alone).exit_code == 0
    assert files(tmp_path / "run") == files(tmp_path / "one")
    assert json.loads(again.stdout)["usage"]["replayed"] > 0
