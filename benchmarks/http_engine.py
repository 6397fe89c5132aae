"""Requests a second of the http engine, beside the openai SDK, against a server that answers at once.

    python benchmarks/http_engine.py [--requests 12000] [--rounds 3]

The server runs in a process of its own. Prompts are 16 to 20 KB, 64 requests are under way at once, both clients send
the same requests in the same run, in turns; the SDK fewer of them, since it takes longer.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import openai

from longreach.engines.base import Message, Request, Sampling
from longreach.engines.http import HttpEngine

CONCURRENCY = 64
SDK_SHARE = 10  # the SDK gets one request of so many
SERVER = Path(__file__).parents[1] / "tests" / "faultserver.py"

Ask = Callable[[Request], Awaitable[str | None]]


def requests(count: int) -> list[Request]:
    """Requests of 16 to 20 KB, no two alike."""
    sentence = "The committee met again in the spring, and what it had decided was read aloud to all who came. "
    return [
        Request((Message("user", f"{number} " + sentence * (168 + number % 42)),), Sampling(256), affinity=str(number))
        for number in range(count)
    ]


@asynccontextmanager
async def engine(url: str) -> AsyncIterator[Ask]:
    """Ours."""
    async with HttpEngine(model="tiny", base_urls=[url], concurrency=CONCURRENCY) as http:

        async def ask(request: Request) -> str | None:
            return (await http.complete(request)).text

        yield ask


@asynccontextmanager
async def sdk(url: str) -> AsyncIterator[Ask]:
    """The openai SDK as its users call it."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(request: Request) -> str | None:
            reply = await client.chat.completions.create(
                model="tiny",
                messages=[{"role": "user", "content": request.messages[0].content}],
                max_tokens=request.sampling.max_tokens,
                temperature=request.sampling.temperature,
                top_p=request.sampling.top_p,
                seed=request.sampling.seed,
            )
            return reply.choices[0].message.content

        yield ask


async def measure(ask: Ask, asked: Iterable[Request]) -> tuple[float, float]:
    """(requests a second, milliseconds of processor time a request); every answer is compared with its request."""
    left = iter(asked)
    done = 0

    async def work() -> None:
        nonlocal done
        for request in left:
            if await ask(request) != request.messages[0].content:
                raise SystemExit("an answer belongs to another request")
            done += 1

    wall, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return done / (time.perf_counter() - wall), 1000 * (time.process_time() - processor) / done


async def compare(url: str, count: int, rounds: int) -> None:
    """Let the clients take turns, print each turn and the medians."""
    results: dict[str, list[tuple[float, float]]] = {"http engine": [], "openai SDK": []}
    asked = requests(count)
    for _ in range(rounds):
        for name, client, share in (("http engine", engine, 1), ("openai SDK", sdk, SDK_SHARE)):
            async with client(url) as ask:
                await measure(ask, asked[:CONCURRENCY])  # opens the connections
                result = await measure(ask, asked[: count // share])
            results[name].append(result)
            print(f"{name:12} {result[0]:8,.0f} requests/s {result[1]:8.3f} ms of processor a request")
    (our_rate, our_cost), (sdk_rate, sdk_cost) = (
        map(statistics.median, zip(*found, strict=True)) for found in results.values()
    )
    print(
        f"median: {our_rate:,.0f} against {sdk_rate:,.0f} requests/s, {our_rate / sdk_rate:.1f} times as many,", end=" "
    )
    print(f"{our_cost:.3f} against {sdk_cost:.3f} ms of processor, 1/{sdk_cost / our_cost:.1f} of it")


def main() -> None:
    """Start the server, compare, stop the server."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--requests", type=int, default=12_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with subprocess.Popen([sys.executable, SERVER], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline().strip() if server.stdout else ""
            asyncio.run(compare(f"http://127.0.0.1:{port}/v1", options.requests, options.rounds))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
