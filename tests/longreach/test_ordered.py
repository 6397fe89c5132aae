"""Results in order, a bounded window, items drawn as they are needed, and an end to all at the first error."""

import asyncio
import threading
from collections.abc import AsyncIterator, Generator, Iterable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.ordered import in_order


def each(items: Iterable[Any]) -> Generator[Any, None, None]:
    """As a generator."""
    yield from items


async def collect(results: AsyncIterator[Any]) -> list[Any]:
    return [result async for result in results]


@given(delays=st.lists(st.integers(0, 5), max_size=30), window=st.integers(1, 8))
def test_results_come_in_the_order_of_the_items(delays: list[int], window: int) -> None:
    async def work(item: tuple[int, int]) -> int:
        for _ in range(item[1]):
            await asyncio.sleep(0)
        return item[0]

    assert asyncio.run(collect(in_order(work, each(enumerate(delays)), window))) == list(range(len(delays)))


@pytest.mark.parametrize("window", [1, 4, 16])
def test_the_window_is_filled_and_never_exceeded(window: int) -> None:
    at_once = most = 0
    full = asyncio.Event()

    async def work(item: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == window:
            full.set()
        await asyncio.wait_for(full.wait(), 20)
        at_once -= 1

    asyncio.run(collect(in_order(work, each(range(4 * window)), window)))
    assert most == window


def test_items_are_drawn_as_they_are_needed() -> None:
    drawn = ended = 0
    ahead: list[int] = []

    def items() -> Generator[int, None, None]:
        nonlocal drawn
        for item in range(60):
            drawn += 1
            yield item

    async def work(item: int) -> int:
        await asyncio.sleep(0)
        return item

    async def run() -> None:
        nonlocal ended
        async for _ in in_order(work, items(), window=5):
            ended += 1
            ahead.append(drawn - ended)

    asyncio.run(run())
    assert ended == 60
    assert max(ahead) <= 6  # the window, and one that was drawn to see whether there is more


def test_a_slow_first_item_holds_the_memory_bound() -> None:
    drawn: list[int] = []
    release = threading.Event()

    def items() -> Generator[int, None, None]:
        for item in range(1_000):
            drawn.append(item)
            yield item

    async def work(item: int) -> int:
        if item == 0:
            await asyncio.to_thread(release.wait)
        return item

    async def run() -> None:
        running = asyncio.ensure_future(collect(in_order(work, items(), window=5)))
        await asyncio.wait([running], timeout=0.1)
        assert len(drawn) <= 6
        release.set()
        assert await running == list(range(1_000))

    asyncio.run(run())


def test_items_are_drawn_beside_the_event_loop() -> None:
    threads: set[int] = set()

    def items() -> Generator[int, None, None]:
        threads.add(threading.get_ident())
        yield 1

    async def work(item: int) -> int:
        return item

    asyncio.run(collect(in_order(work, items(), window=1)))
    assert threading.get_ident() not in threads


def test_the_first_error_is_raised_and_stops_the_rest() -> None:
    stopped: list[int] = []
    got: list[int] = []

    async def work(item: int) -> int:
        if item == 2:
            raise LookupError("the third")
        if item > 2:
            try:
                await asyncio.sleep(20)
            except asyncio.CancelledError:
                stopped.append(item)
                raise
        return item

    async def run() -> None:
        async for result in in_order(work, each(range(10)), window=6):
            got.append(result)

    with pytest.raises(LookupError, match="the third"):
        asyncio.run(run())
    assert got == [0, 1]
    assert stopped == [3, 4, 5, 6, 7]


def test_an_error_among_the_items_is_raised_and_stops_the_work() -> None:
    stopped: list[int] = []

    def items() -> Generator[int, None, None]:
        yield 0
        raise LookupError("unreadable")

    async def work(item: int) -> None:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            stopped.append(item)
            raise

    with pytest.raises(LookupError, match="unreadable"):
        asyncio.run(collect(in_order(work, items(), window=4)))
    assert stopped in ([0], [])  # it may not have begun


def test_who_stops_listening_stops_the_work() -> None:
    under_way: set[int] = set()

    async def work(item: int) -> int:
        under_way.add(item)
        try:
            await asyncio.sleep(0 if item == 0 else 20)
        finally:
            under_way.discard(item)
        return item

    async def run() -> None:
        async with aclosing(in_order(work, each(range(5)), window=3)) as results:
            async for _ in results:
                break
        assert not under_way

    asyncio.run(run())


def test_the_items_are_closed_in_the_end() -> None:
    closed: list[int] = []

    def items() -> Generator[int, None, None]:
        try:
            yield from range(10)
        finally:
            closed.append(threading.get_ident())

    async def work(item: int) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(collect(in_order(work, items(), window=2)))
    assert len(closed) == 1
    assert threading.get_ident() not in closed  # where they were read: a file is not closed under its reader


def test_no_items_give_no_results() -> None:
    async def work(item: int) -> int:
        return item

    assert asyncio.run(collect(in_order(work, each(()), window=3))) == []
