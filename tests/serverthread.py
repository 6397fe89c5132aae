"""An event loop in a thread beside the test, for chat servers of code that runs a loop of its own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

Start = Callable[[Coroutine[Any, Any, None]], Future[None]]


@contextmanager
def beside() -> Iterator[Start]:
    """Gives start(coroutine) -> a future."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
