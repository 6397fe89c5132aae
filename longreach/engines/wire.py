"""Bytes to a chat server and back: one exchange at a time, over connections that are kept.

The key is sent to the addresses that were given and to nobody else: redirects are not followed, cookies not kept,
proxies, netrc and environment not read. A reply that never ends is left at a time and at a size.
"""

import io
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from longreach.engines.backoff import retry_after
from longreach.engines.reply import Fault
from longreach.engines.server import Server

LARGEST_REPLY = 32 * 2**20  # bytes
CONNECT_SECONDS = 30.0
KEEPALIVE_SECONDS = 4.0  # below the 5 s after which uvicorn (vLLM, SGLang) hangs up on an idle connection
_BARE_BYTES = 2**20  # aiohttp warns of larger bodies that are no file


class Wire:
    """One session for all servers. `timeout` is for a whole exchange, in seconds."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),  # the windows are the limit
            timeout=self._limits(self._timeout),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def post(self, server: Server, url: URL, body: bytes) -> tuple[int, float, bytes]:
        """Status, seconds the server asks to wait, and body of the reply; Fault where none came whole."""
        data = body if len(body) <= _BARE_BYTES else io.BytesIO(body)
        return await _reply(self._session.post(url, data=data, headers=server.headers, allow_redirects=False))

    async def get(self, server: Server, url: URL, longest: float) -> tuple[int, float, bytes]:
        """The same for a GET, which may take so many seconds at most."""
        limits = self._limits(min(longest, self._timeout))
        return await _reply(self._session.get(url, headers=server.headers, allow_redirects=False, timeout=limits))

    @staticmethod
    def _limits(seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))


async def _reply(exchange: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> tuple[int, float, bytes]:
    try:
        async with exchange as response:
            header = response.headers.get("Retry-After")
            wait = retry_after(header, datetime.now(UTC)) if header else 0.0
            return response.status, wait, await _whole(response)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
        raise Fault("server down", str(error), unanswered=True) from error
    except TimeoutError as error:
        raise Fault("timeout", overloaded=True, unanswered=True) from error
    except aiohttp.ClientPayloadError as error:
        raise Fault("connection reset", "in the middle of the reply", unanswered=True) from error
    except aiohttp.ClientConnectionError as error:
        raise Fault("connection reset", str(error), unanswered=True) from error
    except aiohttp.ClientError as error:
        raise Fault("broken reply", type(error).__name__) from error


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > LARGEST_REPLY:
            raise Fault("endless reply", f"more than {LARGEST_REPLY:,} bytes")
    return bytes(body)
