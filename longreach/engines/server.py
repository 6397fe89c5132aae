"""One server: its address, what is sent to it to be let in, and how it fares.

A base URL is taken as users write it. A user name and password in it become a header and are never shown again.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from yarl import URL

from longreach.engines.window import Window
from longreach.errors import UserError

LONGEST_MESSAGE = 300  # characters of a server's own words that are shown
_ADDRESS_HINT = "an address looks like http://127.0.0.1:8000/v1"


@dataclass(eq=False)
class Server:
    """`str` gives its address without credentials: those live in `headers` alone."""

    base: URL
    headers: dict[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    window: Window = field(repr=False)
    failures: int = 0  # attempts in a row without an answer, while in service
    outages: int = 0  # in a row, without a completion between them

    def __post_init__(self) -> None:
        self.chat = self.base / "chat" / "completions"
        self.completions = self.base / "completions"
        self.models = self.base / "models"

    def __str__(self) -> str:
        return str(self.base)

    def rank(self, affinity: str) -> bytes:
        """How strongly requests of this affinity belong here; the highest rank wins."""
        return hashlib.blake2b(f"{self.base}\0{affinity}".encode(), digest_size=8).digest()

    def redacted(self, text: str) -> str:
        """The text without the secrets that were sent to this server, cut to what fits a message."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def servers_at(base_urls: Sequence[str], api_key: str, concurrency: int) -> list[Server]:
    """A server for each different address; UserError that names every address that is none."""
    key = api_key.strip()
    if not (key.isascii() and key.isprintable()):
        raise UserError("the API key holds characters that no key has", "copy the key again; it is plain ASCII")
    servers: dict[URL, Server] = {}
    problems = [] if base_urls else ["no server was given"]
    for address in base_urls:
        try:
            server = _server(address, key, concurrency)
        except ValueError as error:
            problems.append(str(error))
        else:
            servers.setdefault(server.base, server)
    if problems:
        raise UserError("\n".join(problems), _ADDRESS_HINT)
    return list(servers.values())


def _server(address: str, key: str, concurrency: int) -> Server:
    given = _url(address)
    base = given.with_user(None)
    path = base.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "longreach"}
    secrets = [key] if key else []
    if given.user or given.password:
        if key:
            raise ValueError(f"{base} is given with a password and with an API key: only one of them can be sent")
        pair = f"{given.user or ''}:{given.password or ''}"
        token = base64.b64encode(pair.encode()).decode()
        headers["Authorization"] = f"Basic {token}"
        secrets += [token, given.password or pair]
    elif key:
        headers["Authorization"] = f"Bearer {key}"
    return Server(base.with_path(path), headers, tuple(secrets), Window(concurrency))


def _url(address: str) -> URL:
    """The address as a URL; the messages never repeat what may hold a password."""
    try:
        url = URL(address.strip())
    except ValueError:
        raise ValueError("a server's address is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{address!r} is not an http address" if "@" not in address else "an address is not http")
    if url.query_string or url.fragment:
        raise ValueError(f"{url.with_user(None).with_query(None).with_fragment(None)}: '?' and '#' have no place here")
    return url
