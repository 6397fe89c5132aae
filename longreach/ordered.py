"""Work done concurrently, handed on in order: the window bounds memory, the order makes a run repeatable."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


async def in_order(
    work: Callable[[Item], Awaitable[Result]], items: Generator[Item, None, None], window: int
) -> AsyncIterator[Result]:
    """Results in the items' order, with at most `window` items under way.

    Items are drawn, and their generator closed, in one thread of its own, since reading a document may take long. The
    first error stops what is under way and is raised.
    """
    running: deque[asyncio.Future[Result]] = deque()
    nothing = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="items") as reader:
        draw = partial(asyncio.get_running_loop().run_in_executor, reader, next, items, nothing)
        try:
            drawn: object = await draw()
            while drawn is not nothing or running:
                while drawn is not nothing and len(running) < window:
                    running.append(asyncio.ensure_future(work(drawn)))  # type: ignore[arg-type]
                    drawn = await draw()
                yield await running.popleft()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            reader.submit(items.close).result()
