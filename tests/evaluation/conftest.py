"""A server that judges, on a thread of its own, since commands bring their own event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from faultserver import FaultServer


@pytest.fixture
def server_of() -> Iterator[Callable[..., FaultServer]]:
    """server_of(answer, kind, **more) -> a running server that answers by this function of what was asked."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    servers: list[FaultServer] = []

    def start(answer: Callable[[dict[str, Any]], str], kind: Any = FaultServer, **more: Any) -> FaultServer:
        servers.append(kind(answer=answer, **more))
        asyncio.run_coroutine_threadsafe(servers[-1].start(), loop).result()
        return servers[-1]

    yield start
    for server in servers:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
