"""How many requests one server holds at once: one more a round while it keeps up, half as many when it does not.

The limit follows what the server does, not what anybody knows about it. A place costs a comparison; whoever finds none
waits in order of arrival.
"""

import asyncio
from collections import deque


class Window:
    """The places of one server. `enter` takes one, `leave` gives it back."""

    def __init__(self, widest: int) -> None:
        self.widest = widest
        self.limit = float(widest)
        self.active = 0
        self.is_open = True
        self._round = 0
        self._pause: asyncio.TimerHandle | None = None
        self._waiting: deque[asyncio.Future[bool]] = deque()

    async def enter(self) -> int | None:
        """Wait for a place; gives the round it was taken in, or None where the window closed instead."""
        if not self.is_open:
            return None
        if self._has_place():  # then nobody waits: a place that falls free is given at once
            self.active += 1
        elif not await self._turn():
            return None
        return self._round

    def leave(self) -> None:
        """Give a place back to whoever waits longest."""
        self.active -= 1
        self._admit()

    def widen(self) -> None:
        """A request was answered: after as many as fit at once, one more fits."""
        self.limit = min(float(self.widest), self.limit + 1.0 / self.limit)
        self._admit()

    def narrow(self, taken_in: int) -> None:
        """A request found the server overloaded. Requests sent before the last cut do not cut again."""
        if taken_in == self._round:
            self.limit = max(1.0, self.limit / 2.0)
            self._round += 1

    def pause(self, seconds: float) -> None:
        """Let nobody in for so long; a longer pause already begun stays."""
        loop = asyncio.get_running_loop()
        if self._pause:
            if self._pause.when() >= loop.time() + seconds:
                return
            self._pause.cancel()
        self._pause = loop.call_later(seconds, self._resume)

    def close(self) -> None:
        """Turn away all who wait and all who come."""
        self.is_open = False
        while self._waiting:
            _settle(self._waiting.popleft(), False)

    def reopen(self) -> None:
        """Let requests in again, half as many as before."""
        self.is_open = True
        self.narrow(self._round)

    async def _turn(self) -> bool:
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.result():
                self.leave()  # the place had been given in the same moment
            raise

    def _admit(self) -> None:
        while self._waiting and self._has_place():
            self.active += _settle(self._waiting.popleft(), True)

    def _has_place(self) -> bool:
        return self._pause is None and self.active < int(self.limit)

    def _resume(self) -> None:
        self._pause = None
        self._admit()


def _settle(waiter: asyncio.Future[bool], admitted: bool) -> bool:
    """Tell a waiter, unless it was cancelled; gives whether it heard."""
    if waiter.done():
        return False
    waiter.set_result(admitted)
    return True
