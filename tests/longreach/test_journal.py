"""The journal keeps its word: what put() acknowledged is there, after an error, a closed run, a SIGKILL."""

import asyncio
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longreach import journal as module
from longreach.engines.base import Completion, RequestRefused
from longreach.errors import UserError
from longreach.journal import Journal


def key(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def stored(path: Path) -> int:
    """Rows that another connection sees."""
    with sqlite3.connect(path) as other:
        return int(other.execute("SELECT count(*) FROM completions").fetchone()[0])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@settings(max_examples=30)
@given(
    completion=st.builds(
        Completion,
        st.text(st.characters(blacklist_categories=["Cs"])),
        st.sampled_from(["stop", "length"]),
        *[st.integers(0, 2**40)] * 3,
    )
)
def test_a_completion_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, completion: Completion) -> None:
    path = tmp_path_factory.mktemp("journal") / "journal.sqlite"
    with Journal(path) as journal:
        asyncio.run(journal.put(key(1), completion))
        assert journal.get(key(1)) == completion
        assert journal.get(key(2)) is None
    with Journal(path) as journal:
        assert journal.get(key(1)) == completion


def test_put_returns_after_the_commit(path: Path) -> None:
    async def put() -> None:
        for number in range(5):
            await journal.put(key(number), Completion("answer"))
            assert stored(path) == number + 1

    with Journal(path) as journal:
        asyncio.run(put())


def test_nothing_is_acknowledged_before_the_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_SECONDS", 3_600)

    async def put() -> None:
        waiting = asyncio.ensure_future(journal.put(key(1), Completion("answer")))
        done, _ = await asyncio.wait([waiting], timeout=0.05)
        assert not done
        assert stored(path) == 0
        waiting.cancel()

    with Journal(path) as journal:
        asyncio.run(put())


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What connections that are opened from here on execute."""
    seen: list[str] = []
    connect = sqlite3.connect

    def traced(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(seen.append)
        return connection

    monkeypatch.setattr(module.sqlite3, "connect", traced)
    return seen


def test_completions_that_come_together_share_a_commit(path: Path, statements: list[str]) -> None:
    async def put() -> None:
        await asyncio.gather(*(journal.put(key(number), Completion(str(number))) for number in range(100)))

    with Journal(path) as journal:
        asyncio.run(put())
        assert statements.count("COMMIT") == 1
        assert len(journal) == 100
        assert all(journal.get(key(number)) == Completion(str(number)) for number in range(100))


def test_a_second_answer_to_a_request_takes_the_place_of_the_first(path: Path) -> None:
    async def put() -> None:
        await journal.put(key(1), Completion("old"))
        await journal.put(key(1), Completion("new"))

    with Journal(path) as journal:
        asyncio.run(put())
        assert journal.get(key(1)) == Completion("new")
        assert len(journal) == 1


def test_a_refusal_comes_back_and_is_no_completion(path: Path) -> None:
    with Journal(path) as journal:
        journal.refuse(key("long"), RequestRefused("http 400", "no"))
        journal.refuse(key("long"), RequestRefused("prompt too long", "5000 tokens"))
    with Journal(path) as journal:
        refusal = journal.refusal(key("long"))
        assert refusal
        assert (refusal.reason, refusal.detail) == ("prompt too long", "5000 tokens")
        assert journal.refusal(key("short")) is None
        assert journal.get(key("long")) is None


def filled(path: Path, **answers: str) -> Path:
    async def story() -> None:
        with Journal(path) as journal:
            for name, answer in answers.items():
                await journal.put(key(name), Completion(answer))
                journal.refuse(key(f"not {name}"), RequestRefused(answer))

    asyncio.run(story())
    return path


def test_what_another_journal_holds_is_taken_over_and_nothing_replaced(path: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "other.sqlite", shared="other", theirs="theirs")
    with Journal(filled(path, shared="own", ours="ours")) as journal:
        journal.adopt(other)
        journal.adopt(other)
        assert len(journal) == 3
        for name, answer in {"shared": "own", "ours": "ours", "theirs": "theirs"}.items():
            assert journal.get(key(name)) == Completion(answer)
            refusal = journal.refusal(key(f"not {name}"))
            assert refusal
            assert refusal.reason == answer
    assert stored(other) == 2


def test_a_journal_is_taken_over_as_a_whole_or_not_at_all(path: Path, tmp_path: Path) -> None:
    other = filled(tmp_path / "other.sqlite", theirs="theirs")
    with sqlite3.connect(other) as broken:
        broken.execute("DROP TABLE refusals")
    with Journal(filled(path, ours="ours")) as journal, pytest.raises(UserError, match="refusals"):
        journal.adopt(other)
    assert stored(path) == 1


@pytest.mark.parametrize("content", [b"", b"SQLite format 3", bytes(range(256)) * 40])
def test_another_journal_that_is_damaged_is_named(path: Path, tmp_path: Path, content: bytes) -> None:
    other = tmp_path / "other.sqlite"
    other.write_bytes(content)
    with Journal(filled(path, ours="ours")) as journal, pytest.raises(UserError, match=r"other\.sqlite cannot be read"):
        journal.adopt(other)
    assert stored(path) == 1
    assert other.read_bytes() == content


def test_another_journal_is_left_as_it_is(path: Path, tmp_path: Path) -> None:
    """Nothing is made beside it: its folder may be read-only. Names are not taken for parts of a URI."""
    (tmp_path / "a ?#%41").mkdir()
    other = filled(tmp_path / "a ?#%41" / "other.sqlite", theirs="theirs")
    before = other.read_bytes()
    with Journal(path) as journal:
        journal.adopt(other)
        assert len(journal) == 1
        assert [each.name for each in other.parent.iterdir()] == ["other.sqlite"]
    assert other.read_bytes() == before


def test_an_error_reaches_every_waiter_and_the_journal_goes_on(path: Path) -> None:
    async def put() -> list[Any]:
        return await asyncio.gather(
            *(journal.put(key(number), Completion("answer")) for number in range(3)), return_exceptions=True
        )

    with Journal(path) as journal, sqlite3.connect(path) as other:
        other.execute("ALTER TABLE completions RENAME TO hidden")
        other.commit()
        failed = asyncio.run(put())
        assert [type(error) for error in failed] == [sqlite3.OperationalError] * 3
        other.execute("ALTER TABLE hidden RENAME TO completions")
        other.commit()
        assert asyncio.run(put()) == [None] * 3
        assert len(journal) == 3


def test_what_cannot_be_stored_fails_alone(path: Path) -> None:
    async def put() -> list[Any]:
        puts = (journal.put(key(len(text)), Completion(text)) for text in ("fine", "half a pair: \ud83d", "fine too"))
        return await asyncio.gather(*puts, return_exceptions=True)

    with Journal(path) as journal:
        assert [type(result) for result in asyncio.run(put())] == [type(None), TypeError, type(None)]
        assert len(journal) == 2


def test_what_waits_when_the_run_is_stopped_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMIT_SECONDS", 3_600)

    async def stop() -> None:
        waiting = asyncio.ensure_future(journal.put(key(1), Completion("answer")))
        await asyncio.sleep(0)
        waiting.cancel()

    with Journal(path) as journal:
        asyncio.run(stop())
    assert stored(path) == 1


def test_a_cancelled_waiter_takes_nothing_from_the_others(path: Path) -> None:
    async def put() -> None:
        first = asyncio.ensure_future(journal.put(key(1), Completion("one")))
        second = asyncio.ensure_future(journal.put(key(2), Completion("two")))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert first.cancelled()

    with Journal(path) as journal:
        asyncio.run(put())
        assert len(journal) == 2


PUTS_FOREVER = """
import asyncio, hashlib, os, sys
from pathlib import Path
from longreach.engines.base import Completion
from longreach.journal import Journal

async def put(number):
    await journal.put(hashlib.sha256(str(number).encode()).digest(), Completion(f"answer {number}" * 50))
    os.write(1, f"{number}\\n".encode())

async def main():
    for start in range(0, 10**9, 20):
        await asyncio.gather(*(put(number) for number in range(start, start + 20)))

with Journal(Path(sys.argv[1])) as journal:
    asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 137, 1_000])
def test_a_sigkill_loses_nothing_that_was_acknowledged(path: Path, acknowledged: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PUTS_FOREVER, str(path)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        told = [child.stdout.readline() for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        told += child.stdout.readlines()
    with Journal(path) as journal:
        for line in told:
            if line.endswith(b"\n"):
                number = int(line)
                assert journal.get(key(number)) == Completion(f"answer {number}" * 50)
        assert len(journal) >= acknowledged
