"""A chat server that fails on purpose, and one that answers at once.

A plan says what becomes of each arrival of a request, so every run goes the same way. An answer is a function of the
request alone: a lost, doubled or swapped one shows. Written on bare asyncio, since it is also the other end of
`benchmarks/http_engine.py`, where it must be faster than the client:

    python tests/faultserver.py --port 0 --answer pair
"""

import argparse
import asyncio
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import orjson


@dataclass(frozen=True)
class Act:
    """What the server does with one arrival."""

    kind: str = "answer"  # answer | status | hang | hang up | reset | drip | flood | raw | latency
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seconds: float = 0.0
    finish_reason: str = "stop"


def status(code: int, message: str = "no", **headers: str) -> Act:
    """An error reply; `Retry_After="2"` becomes a header."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Act("status", code, named, orjson.dumps({"error": {"message": message}}))


def raw(body: bytes) -> Act:
    """A successful reply with this body."""
    return Act("status", 200, (), body)


ANSWER = Act()
HANG = Act("hang")  # never answers
HANG_UP = Act("hang up")  # closes before a byte
RESET = Act("reset")  # closes in the middle of the body
DRIP = Act("drip")  # a body that comes a byte at a time and never ends
FLOOD = Act("flood")  # a body that comes fast and never ends
LENGTH = Act(finish_reason="length")
GARBAGE = raw(b"<html>oops</html>")
TRUNCATED = raw(b'{"choices": [{"message": {"content": "half')
EMPTY_CHOICES = raw(b'{"choices": []}')
NULL_CONTENT = raw(b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}')
FAULTS = (  # that pass
    status(429, Retry_After="0.01"),
    status(500),
    status(503),
    HANG,
    HANG_UP,
    RESET,
    EMPTY_CHOICES,
    NULL_CONTENT,
    GARBAGE,
    TRUNCATED,
)

Plan = Callable[[str, int], Act]
"""What to do, given the digest of a request's body and how often it has come before."""


def answering(digest: str, arrivals: int) -> Act:
    """Answer everything."""
    return ANSWER


def first(*acts: Act) -> Plan:
    """Every request meets these in turn and is answered after them."""
    return lambda digest, arrivals: acts[arrivals] if arrivals < len(acts) else ANSWER


def always(act: Act) -> Plan:
    """Every arrival meets this."""
    return lambda digest, arrivals: act


def mixed(acts: Sequence[Act], failures: int) -> Plan:
    """Every request meets so many of the acts, chosen by its digest, and is answered after them."""

    def act_of(digest: str, arrivals: int) -> Act:
        if arrivals >= failures:
            return ANSWER
        draw = hashlib.sha256(f"{digest} {arrivals}".encode()).digest()
        return acts[int.from_bytes(draw[:4], "big") % len(acts)]

    return act_of


def echo(asked: dict[str, Any]) -> str:
    """The last message, or the prompt of plain text, whole."""
    return str(asked["prompt"] if "prompt" in asked else asked["messages"][-1]["content"])


_PART = re.compile(
    r"<(?:document|document_part|part_summary)>\s*(.*?)\s*</(?:document|document_part|part_summary)>", re.S
)
_SENTENCE = re.compile(r"[A-Z][^.!?<>]{60,400}[.!?]")
_FIELD = re.compile(r"<(question|answer|evidence|summary|rationale|score)>")
_QUESTION = re.compile(r"^Question: .*?“(.+?)”", re.M)


def pair(asked: dict[str, Any]) -> str:
    """A plausible question, summary, critique or answer, whichever the prompt asks for, quoted from its text."""
    prompt = str(asked["messages"][-1]["content"])
    text = "\n".join(_PART.findall(prompt)) or prompt
    instruction = _PART.sub("", prompt)
    sentences = _SENTENCE.findall(text) or [text[:200]]
    opening = _QUESTION.search(instruction)
    if opening:
        sentences = [one for one in sentences if " ".join(one.split()).startswith(opening[1])] or ["not answerable"]
    pick = int(hashlib.sha256(instruction.encode()).hexdigest(), 16) % min(len(sentences), 4)
    sentence = sentences[0 if opening else pick]
    words = sentence.split()
    fields = {
        "question": f"How does the sentence that begins with “{' '.join(words[:5])}” end?",
        "answer": " ".join(words[-4:]).rstrip(".!?") if "few words" in instruction else " ".join(words),
        "evidence": sentence,
        "summary": " ".join(sentences[:3]),
        "rationale": "The part says so.",
        "score": 9,
    }
    if schema := asked.get("response_format", {}).get("json_schema", {}).get("schema"):
        return orjson.dumps({name: fields[name] for name in schema["properties"]}).decode()
    names = dict.fromkeys(_FIELD.findall(instruction))
    return "\n".join(f"<{name}>{fields[name]}</{name}>" for name in names) or str(fields["answer"])


@dataclass
class Seen:
    """One arrival."""

    digest: str
    headers: dict[str, str]
    asked: dict[str, Any]


@dataclass
class FaultServer:
    """An async context manager that listens on 127.0.0.1; `stop` and `start` again use the same port."""

    plan: Plan = answering
    answer: Callable[[dict[str, Any]], str] = echo
    models: Act | Sequence[str] = ("tiny",)  # what GET /v1/models gives
    latency: float = 0.0
    key: str = ""  # the only one that is accepted, if given
    port: int = 0
    record: bool = True  # keep every arrival in `seen`
    seen: list[Seen] = field(default_factory=list)
    arrivals: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)  # by the last message, where `record` is on
    probes: int = 0  # GETs
    under_way: int = 0
    peak: int = 0  # most requests under way at once

    def __post_init__(self) -> None:
        self.connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection."""
        self._server.close()
        for connection in tuple(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()

    def act_on(self, path: bytes, headers: dict[str, str], body: bytes) -> tuple[Act, bytes]:
        """What to do with a request, and the answer it gets if it is to be answered."""
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            return status(401, f"wrong key: {headers.get('authorization')}"), b""
        if path == b"/v1/models":
            self.probes += 1
            names = self.models
            return (names if isinstance(names, Act) else raw(orjson.dumps({"data": [{"id": n} for n in names]}))), b""
        if path not in (b"/v1/chat/completions", b"/v1/completions"):
            return status(404, "Not Found"), b""
        asked = orjson.loads(body)
        if ("prompt" in asked) is path.startswith(b"/v1/chat"):
            return status(400, "a prompt goes to /completions, messages to /chat/completions"), b""
        return self._act_on_request(asked, headers, body)

    def _act_on_request(self, asked: dict[str, Any], headers: dict[str, str], body: bytes) -> tuple[Act, bytes]:
        if not self.record:
            return ANSWER, _completion(self.answer(asked), ANSWER, len(body), "prompt" in asked)
        digest = hashlib.sha256(body).hexdigest()
        act = self.plan(digest, self.arrivals[digest])
        self.seen.append(Seen(digest, headers, asked))
        self.arrivals[digest] += 1
        if act.kind == "answer":
            self.answered[echo(asked)] += 1
        return act, _completion(self.answer(asked), act, len(body), "prompt" in asked)


def _completion(text: str, act: Act, size: int, plain: bool) -> bytes:
    said = {"text": text} if plain else {"message": {"role": "assistant", "content": text}}
    choice = {"index": 0, **said, "finish_reason": act.finish_reason}
    usage = {
        "prompt_tokens": size // 4,
        "completion_tokens": len(text) // 4,
        "total_tokens": size // 4 + len(text) // 4,
        "prompt_tokens_details": {"cached_tokens": size // 8},
    }
    return orjson.dumps(
        {
            "id": "1",
            "object": "text_completion" if plain else "chat.completion",
            "created": 1,
            "model": "tiny",
            "choices": [choice],
            "usage": usage,
        }
    )


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, as much of it as a client of ours sends."""

    def __init__(self, server: FaultServer) -> None:
        self.server = server
        self.buffer = bytearray()
        self.head_end = -1
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server.connections.discard(self)
        if self.task:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.head_end < 0:
            self.head_end = self.buffer.find(b"\r\n\r\n")
            if self.head_end < 0:
                return
            request, *lines = bytes(self.buffer[: self.head_end]).split(b"\r\n")
            self.path = request.split(b" ")[1]
            pairs = (line.decode("latin-1").partition(": ") for line in lines)
            self.headers = {name.lower(): value for name, _, value in pairs}
            self.size = int(self.headers.get("content-length", 0))
        end = self.head_end + 4 + self.size
        if len(self.buffer) >= end:
            body = bytes(self.buffer[self.head_end + 4 : end])
            del self.buffer[:end]
            self.head_end = -1
            self._serve(*self.server.act_on(self.path, self.headers, body))

    def _serve(self, act: Act, answer: bytes) -> None:
        if act.kind == "status":
            self._reply(act.status, act.headers, act.body)
        elif act.kind == "answer" and not self.server.latency:
            self._reply(200, (), answer)
        elif act.kind == "hang up":
            self.transport.abort()
        elif act.kind == "reset":
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + answer[: len(answer) // 2]
            )
            self.transport.close()
        else:
            self.task = asyncio.create_task(self._perform(act, answer))

    def _reply(self, code: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
        head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n"
        self.transport.write(head % (code, len(body), more) + body)

    async def _perform(self, act: Act, answer: bytes) -> None:
        """The acts that take time; cancelled when the client hangs up."""
        self.server.under_way += 1
        self.server.peak = max(self.server.peak, self.server.under_way)
        try:
            if act.kind == "answer":
                await asyncio.sleep(self.server.latency)
                self._reply(200, (), answer)
            elif act.kind == "hang":
                await asyncio.Event().wait()
            else:
                await self._stream(b" " if act.kind == "drip" else b" " * 2**18, 0.01 if act.kind == "drip" else 0.0)
        finally:
            self.server.under_way -= 1

    async def _stream(self, block: bytes, pause: float) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not self.transport.is_closing():
            if self.transport.get_write_buffer_size() < 2**20:
                self.transport.write(b"%x\r\n%b\r\n" % (len(block), block))
            await asyncio.sleep(pause)


async def _serve_for_ever(server: FaultServer) -> None:
    async with server:
        print(server.port, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Answer at once until killed; the port stands on the first line of stdout."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--answer", choices=("echo", "pair"), default="echo")
    parser.add_argument("--faults", type=int, default=0, help="how many faults every request meets before its answer")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--key", default="", help="the only key that is let in")
    options = parser.parse_args()
    asyncio.run(
        _serve_for_ever(
            FaultServer(
                plan=mixed(FAULTS, options.faults),
                answer={"echo": echo, "pair": pair}[options.answer],
                latency=options.latency,
                key=options.key,
                port=options.port,
                record=options.faults > 0,
            )
        )
    )


if __name__ == "__main__":
    main()
