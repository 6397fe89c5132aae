"""The places of one server: how many, in which order, and what happens to those who wait."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from longreach.engines.window import Window


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_places_are_given_in_order_of_arrival() -> None:
    async def story() -> None:
        window = Window(2)
        entered: list[int] = []

        async def come(number: int) -> None:
            assert await window.enter() is not None
            entered.append(number)

        tasks = [asyncio.create_task(come(number)) for number in range(5)]
        await settle()
        assert entered == [0, 1]
        window.leave()
        tasks.append(asyncio.create_task(come(5)))
        await settle()
        assert entered == [0, 1, 2]
        for _ in range(3):
            window.leave()
            await settle()
        assert entered == [0, 1, 2, 3, 4, 5]
        assert window.active == 2

    run(story())


def test_a_round_of_failures_halves_the_limit_once_and_never_below_one() -> None:
    async def story() -> None:
        window = Window(16)
        rounds = [await window.enter() for _ in range(16)]
        for taken_in in rounds:
            assert taken_in is not None
            window.narrow(taken_in)
        assert window.limit == 8
        for _ in range(16):
            window.leave()
        for _ in range(9):
            taken_in = await window.enter()
            assert taken_in is not None
            window.narrow(taken_in)
            window.leave()
        assert window.limit == 1

    run(story())


def test_the_limit_grows_by_about_one_a_round_up_to_the_widest() -> None:
    window = Window(8)
    window.narrow(0)
    for _ in range(4):
        window.widen()
    assert 4.8 < window.limit <= 5.0
    for _ in range(100):
        window.widen()
    assert window.limit == 8


def test_a_wider_limit_lets_the_waiting_in() -> None:
    async def story() -> None:
        window = Window(2)
        window.narrow(0)
        await window.enter()
        waiting = asyncio.create_task(window.enter())
        await settle()
        assert not waiting.done()
        window.widen()
        await settle()
        assert waiting.done()

    run(story())


def test_closing_turns_away_those_who_wait_and_those_who_come() -> None:
    async def story() -> None:
        window = Window(1)
        await window.enter()
        waiting = asyncio.create_task(window.enter())
        await settle()
        window.close()
        assert await waiting is None
        assert await window.enter() is None
        assert window.active == 1
        window.leave()
        window.reopen()
        assert await window.enter() is not None

    run(story())


def test_a_window_reopens_at_half() -> None:
    window = Window(8)
    window.close()
    window.reopen()
    assert window.limit == 4


def test_nobody_enters_during_a_pause_and_the_longest_pause_counts() -> None:
    async def story() -> None:
        window = Window(4)
        window.pause(0.03)
        window.pause(1000.0)
        window.pause(0.01)
        waiting = asyncio.create_task(window.enter())
        await asyncio.sleep(0.06)
        assert not waiting.done()
        waiting.cancel()

    run(story())


def test_a_pause_ends() -> None:
    async def story() -> None:
        window = Window(4)
        window.pause(0.01)
        assert window.active == 0
        entered = await asyncio.gather(*(window.enter() for _ in range(4)))
        assert entered == [0, 0, 0, 0]

    run(story())


def test_a_place_given_to_one_who_is_cancelled_in_that_moment_goes_to_the_next() -> None:
    async def story() -> None:
        window = Window(1)
        await window.enter()
        first = asyncio.create_task(window.enter())
        second = asyncio.create_task(window.enter())
        await settle()
        window.leave()
        first.cancel()
        assert await second == 0
        assert window.active == 1

    run(story())


def test_one_who_is_cancelled_while_waiting_leaves_no_gap() -> None:
    async def story() -> None:
        window = Window(1)
        await window.enter()
        first = asyncio.create_task(window.enter())
        second = asyncio.create_task(window.enter())
        await settle()
        first.cancel()
        window.leave()
        assert await second == 0
        assert window.active == 1

    run(story())
