"""An engine behind its journal: asked once, counted once, bounded; what failed is asked again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from longreach.engines.base import Completion, Message, Request, RequestFailed, RequestRefused, Sampling
from longreach.engines.journalled import Journalled, Usage
from longreach.errors import UserError
from longreach.journal import Journal


def request(content: str = "why?", **more: Any) -> Request:
    return Request((Message("user", content),), Sampling(16), **more)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work()

    return asyncio.run(main())


def test_what_was_answered_is_not_asked_again(journal: Journal, scripted: Any) -> None:
    engine = scripted([Completion("because", "length", 7, 3, 5)])

    async def work() -> None:
        first = Journalled(engine, journal)
        assert await first.complete(request()) == Completion("because", "length", 7, 3, 5)
        assert await first.complete(request()) == Completion("because", "length", 7, 3, 5)
        assert vars(first.usage) == {
            "asked": 1, "replayed": 1, "prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 5,
        }  # fmt: skip
        second = Journalled(engine, journal)  # another process
        await second.complete(request())
        assert (second.usage.asked, second.usage.replayed) == (0, 1)

    run(work)
    assert len(engine.asked) == 1


def test_a_refusal_is_noted_and_asked_again(journal: Journal, scripted: Any) -> None:
    """A server may have been given a longer window since."""
    engine = scripted([RequestRefused("prompt too long", "5000 tokens"), Completion("because")])

    async def work() -> None:
        journalled = Journalled(engine, journal)
        with pytest.raises(RequestRefused):
            await journalled.complete(request())
        refusal = journal.refusal(request().key("script"))
        assert refusal
        assert str(refusal) == "prompt too long: 5000 tokens"
        assert await journalled.complete(request()) == Completion("because")

    run(work)


def test_the_same_request_under_way_is_asked_once(journal: Journal, scripted: Any) -> None:
    engine = scripted(lambda request: "because")

    async def work() -> None:
        journalled = Journalled(engine, journal)
        answers = await asyncio.gather(*(journalled.complete(request(affinity=str(n))) for n in range(10)))
        assert answers == [Completion("because")] * 10
        assert journalled.usage.asked == 1

    run(work)
    assert len(engine.asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        request("why not?"),
        request(schema={"type": "object"}),
        Request((Message("system", "why?"),), Sampling(16)),
        Request((Message("user", "why?"), Message("user", "")), Sampling(16)),
        Request((Message("user", "why?"),), Sampling(17)),
        Request((Message("user", "why?"),), Sampling(16, temperature=0.5)),
        Request((Message("user", "why?"),), Sampling(16, top_p=0.5)),
        Request((Message("user", "why?"),), Sampling(16, seed=1)),
    ],
)
def test_another_request_is_another_question(other: Request) -> None:
    assert other.key("m") != request().key("m")


def test_the_key_is_of_what_decides_the_answer() -> None:
    assert request().key("m") == request(affinity="a", task="b", source="c").key("m")
    assert request().key("m") != request().key("n")
    assert request(schema={"a": 1, "b": 2}).key("m") == request(schema={"b": 2, "a": 1}).key("m")
    assert len(request().key("m")) == 32


@pytest.mark.parametrize("error", [RequestFailed("timeout"), UserError("wrong key")])
def test_a_failure_reaches_all_who_asked_and_is_not_journalled(
    journal: Journal, scripted: Any, error: Exception
) -> None:
    engine = scripted([error, "because"])

    async def work() -> None:
        journalled = Journalled(engine, journal)
        both = await asyncio.gather(*(journalled.complete(request()) for _ in range(2)), return_exceptions=True)
        assert both == [error, error]
        assert len(journal) == 0
        assert journalled.usage.asked == 0
        assert await journalled.complete(request()) == Completion("because")  # asking again may succeed

    run(work)
    assert len(engine.asked) == 2


def test_a_completion_is_handed_on_after_it_is_on_disk(journal: Journal, scripted: Any) -> None:
    async def work() -> None:
        await Journalled(scripted(["because"]), journal).complete(request())
        assert journal.get(request().key("script")) == Completion("because")

    run(work)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_are_under_way_than_the_engine_wants(journal: Journal, scripted: Any, concurrency: int) -> None:
    engine = scripted(lambda request: "because", concurrency=concurrency)

    async def work() -> None:
        journalled = Journalled(engine, journal)
        await asyncio.gather(*(journalled.complete(request(str(number))) for number in range(20)))

    run(work)
    assert len(engine.asked) == 20
    assert engine.most_at_once == concurrency


def test_a_failure_gives_its_room_back(journal: Journal, scripted: Any) -> None:
    engine = scripted([RequestFailed("timeout")] * 5 + ["because"], concurrency=1)

    async def work() -> None:
        journalled = Journalled(engine, journal)
        for number in range(5):
            with pytest.raises(RequestFailed):
                await journalled.complete(request(str(number)))
        await journalled.complete(request())

    run(work)


def test_two_engines_of_a_run_may_share_their_counts(journal: Journal, scripted: Any) -> None:
    usage = Usage()

    async def work() -> None:
        for content in ("why?", "how?"):
            await Journalled(scripted([Completion("so", prompt_tokens=5)]), journal, usage).complete(request(content))

    run(work)
    assert (usage.asked, usage.prompt_tokens) == (2, 10)


def test_who_stops_waiting_does_not_stop_the_others(journal: Journal, scripted: Any) -> None:
    async def work() -> None:
        release = asyncio.Event()

        async def answer(request: Request) -> str:
            await release.wait()
            return "because"

        journalled = Journalled(scripted(answer), journal)
        impatient, patient = (asyncio.ensure_future(journalled.complete(request())) for _ in range(2))
        await asyncio.sleep(0)
        impatient.cancel()
        release.set()
        assert await patient == Completion("because")
        assert impatient.cancelled()

    run(work)


def test_close_stops_what_is_under_way(journal: Journal, scripted: Any) -> None:
    async def work() -> None:
        stopped = asyncio.Event()

        async def answer(request: Request) -> str:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                stopped.set()
                raise
            return "never"

        journalled = Journalled(scripted(answer), journal)
        asking = asyncio.ensure_future(journalled.complete(request()))
        await asyncio.sleep(0.01)
        await journalled.close()
        assert stopped.is_set()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(work)
    assert len(journal) == 0
