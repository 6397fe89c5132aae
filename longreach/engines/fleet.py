"""The chat servers of a run: which one gets a request, which are out of service, when all are given up.

A document's requests go to the server that ranks first for it (rendezvous hashing), where its prefix is cached; while
that server is out they go to the next in rank, so no other document moves. A server that fails to answer a few times in
a row is taken out, asked for a sign of life after growing pauses, and comes back. Nobody waits for ever: once every
server has failed often enough in a row the fleet gives up and every request raises UserError.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from longreach.engines.backoff import Backoff
from longreach.engines.reply import Fault
from longreach.engines.server import Server
from longreach.errors import UserError

TRIP = 3  # attempts in a row without an answer take a server out of service
GONE = 12  # outages in a row without a completion between them (with the default backoff: five minutes)


class Fleet:
    """Seats requests at servers. `is_alive` asks a server for a sign of life."""

    def __init__(
        self, servers: Sequence[Server], is_alive: Callable[[Server], Awaitable[bool]], backoff: Backoff
    ) -> None:
        self.servers = servers
        self._is_alive = is_alive
        self._backoff = backoff
        self._returned = asyncio.Event()
        self._watches: set[asyncio.Task[None]] = set()
        self._last_fault = ""

    async def seat(self, affinity: str) -> tuple[Server, int]:
        """Wait for a place at the server that ranks first among those in service; gives it and the window's round."""
        while True:
            serving = [server for server in self.servers if server.window.is_open]
            if not serving:
                await self._return_of_any()
                continue
            server = _first(serving, affinity)
            taken_in = await server.window.enter()
            if taken_in is not None:
                return server, taken_in

    def answered(self, server: Server) -> None:
        """The server completed a request."""
        server.failures = 0
        server.outages = 0
        server.window.widen()

    def faulted(self, server: Server, taken_in: int, fault: Fault) -> None:
        """The server did not complete a request that took its place in that round."""
        if fault.overloaded:
            server.window.narrow(taken_in)
        if fault.wait:
            server.window.pause(fault.wait)
        server.failures = server.failures + 1 if fault.unanswered else 0
        if server.failures >= TRIP and server.window.is_open:
            self._last_fault = str(fault)
            self._take_out(server)

    async def close(self) -> None:
        """Stop watching servers that are out."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def _take_out(self, server: Server) -> None:
        server.window.close()
        watch = asyncio.create_task(self._watch(server))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, server: Server) -> None:
        """Put a server back into service when it shows a sign of life, or find that all are gone."""
        while True:
            server.outages += 1
            if self._all_gone():
                self._returned.set()
                return
            await asyncio.sleep(self._backoff.ceiling(server.outages))
            if await self._is_alive(server):
                break
        server.failures = 0
        server.window.reopen()
        self._returned.set()

    async def _return_of_any(self) -> None:
        if self._all_gone():
            raise UserError(
                f"no server answers any more: {', '.join(map(str, self.servers))} ({self._last_fault})",
                "start the servers and run the same command again: what was completed is kept",
            )
        self._returned.clear()
        await self._returned.wait()

    def _all_gone(self) -> bool:
        return all(server.outages >= GONE and not server.window.is_open for server in self.servers)


def _first(servers: Sequence[Server], affinity: str) -> Server:
    """The highest rank; where nothing binds a request to a server, the one with the least to do."""
    if not affinity:
        return min(servers, key=lambda server: server.window.active / server.window.limit)
    return servers[0] if len(servers) == 1 else max(servers, key=lambda server: server.rank(affinity))
