"""The chat servers of a run: which one gets a request, which are out of service, when all are given up.

A document's requests go to the server that ranks first for it (rendezvous hashing), where its prefix is cached; while
that server is out they go to the next in rank, so no other document moves. A server that fails to answer a few times in
a row is taken out, asked for a sign of life after growing pauses, and comes back; both are said on stderr, once for an
outage however often it is tried in vain. Nobody waits for ever: once every server has failed often enough in a row the
fleet gives up, and every request that is left fails; asking again later may succeed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Container, Sequence

from longreach.engines.backoff import Backoff
from longreach.engines.base import RequestFailed
from longreach.engines.reply import Fault
from longreach.engines.server import Server

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

    async def seat(self, affinity: str, avoided: Container[Server] = ()) -> tuple[Server, int]:
        """Wait for a place at the server that ranks first among those in service; gives it and the window's round.

        The `avoided` are taken only where there are no others. RequestFailed("no server") once all are given up.
        """
        while True:
            serving = [server for server in self.servers if server.window.is_open]
            if not serving:
                await self._return_of_any()
                continue
            server = _first([server for server in serving if server not in avoided] or serving, affinity)
            taken_in = await server.window.enter()
            if taken_in is not None:
                return server, taken_in

    def answered(self, server: Server) -> None:
        """The server completed a request."""
        if server.outages:
            _say(f"{server} answers again")
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
            self._take_out(server, fault)

    async def close(self) -> None:
        """Stop watching servers that are out."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    def _take_out(self, server: Server, fault: Fault) -> None:
        server.window.close()
        self._last_fault = str(fault)
        if not server.outages:
            elsewhere = any(other.window.is_open for other in self.servers)
            meanwhile = "its requests go to the other servers" if elsewhere else "requests wait"
            _say(f"{server} does not answer ({fault}): {meanwhile} until it is back")
        watch = asyncio.create_task(self._watch(server))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _watch(self, server: Server) -> None:
        """Put a server back into service when it shows a sign of life, or find that all are gone."""
        while True:
            server.outages += 1
            if self._all_gone():
                self._give_up()
                return
            await asyncio.sleep(self._backoff.ceiling(server.outages))
            if await self._is_alive(server):
                break
        server.failures = 0
        server.window.reopen()
        self._returned.set()

    def _give_up(self) -> None:
        """Nobody is asked for a sign of life any more, and those who wait for one are told."""
        _say(f"no server answers any more ({self._last_fault}): the requests that are left fail")
        for watch in self._watches - {asyncio.current_task()}:
            watch.cancel()
        self._returned.set()

    async def _return_of_any(self) -> None:
        if self._all_gone():
            raise RequestFailed("no server", f"{', '.join(map(str, self.servers))}: {self._last_fault}")
        self._returned.clear()
        await self._returned.wait()

    def _all_gone(self) -> bool:
        return all(server.outages >= GONE and not server.window.is_open for server in self.servers)


def _first(servers: Sequence[Server], affinity: str) -> Server:
    """The highest rank; where nothing binds a request to a server, the one with the least to do."""
    if not affinity:
        return min(servers, key=lambda server: server.window.active / server.window.limit)
    return servers[0] if len(servers) == 1 else max(servers, key=lambda server: server.rank(affinity))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
