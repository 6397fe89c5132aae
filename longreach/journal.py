"""The journal: every completion, kept under the hash of its request before anything is built on it.

A run that is killed starts again from its first document and replays; what the journal holds is not asked again.
Commits are grouped: completions that arrive within a few milliseconds share one, and their callers wait for it.
Write-ahead logging keeps every committed row through a SIGKILL; a power cut may cost the newest rows, never the
file.
"""

import asyncio
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson

from longreach.engines.base import Completion, RequestRefused
from longreach.errors import UserError

COMMIT_SECONDS = 0.004  # long enough to gather a commit's worth at full speed, short beside any model's answer
TABLES = ("completions", "refusals")
OURS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)  # troubles of the disk that is written to
MADE = """
    CREATE TABLE IF NOT EXISTS completions (request BLOB PRIMARY KEY, completion BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS refusals (request BLOB PRIMARY KEY, reason TEXT, detail TEXT) WITHOUT ROWID;
"""
_FIELDS = ("text", "finish_reason", "prompt_tokens", "completion_tokens", "cached_tokens")


class Journal:
    """Completions on disk, by request hash (32 bytes)."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path.absolute(), isolation_level=None, check_same_thread=False, uri=True)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(MADE)
        self._waiting: list[tuple[bytes, bytes]] = []
        self._commit: asyncio.Future[None] | None = None

    def get(self, request: bytes) -> Completion | None:
        """The completion of that request, when it is there."""
        row = self._connection.execute("SELECT completion FROM completions WHERE request = ?", (request,)).fetchone()
        return Completion(**orjson.loads(row[0])) if row else None

    async def put(self, request: bytes, completion: Completion) -> None:
        """Keep a completion; returns once it is committed."""
        self._waiting.append((request, _pack(completion)))
        if self._commit is None:
            loop = asyncio.get_running_loop()
            self._commit = loop.create_future()
            loop.call_later(COMMIT_SECONDS, self._commit_waiting)
        await asyncio.shield(self._commit)

    def refuse(self, request: bytes, refusal: RequestRefused) -> None:
        """Note that the engine refused that request. A run that goes on asks it again: its window may have grown."""
        row = (request, refusal.reason, refusal.detail)
        self._connection.execute("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?)", row)

    def refusal(self, request: bytes) -> RequestRefused | None:
        """How that request was refused, if it was."""
        found = self._connection.execute("SELECT reason, detail FROM refusals WHERE request = ?", (request,)).fetchone()
        return RequestRefused(*found) if found else None

    def adopt(self, other: Path) -> None:
        """Take over what the journal at `other` holds and this one does not, all of it or nothing."""
        try:
            self._connection.execute("ATTACH DATABASE ? AS other", (_to_read(other),))
            self._connection.execute("BEGIN")
            for table in TABLES:
                self._connection.execute(f"INSERT OR IGNORE INTO {table} SELECT * FROM other.{table}")
            self._connection.execute("COMMIT")
            self._connection.execute("DETACH DATABASE other")
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in OURS:
                raise
            raise UserError(f"{other} cannot be read: {error}", "copy the shard again, or make it again") from error

    def _commit_waiting(self) -> None:
        """Commit what waits and wake its callers, or hand them the error."""
        commit, self._commit = self._commit, None
        rows, self._waiting = self._waiting, []
        if commit is None:
            return
        try:
            self._connection.execute("BEGIN")
            self._connection.executemany("INSERT OR REPLACE INTO completions VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            commit.set_exception(error)
            commit.exception()  # seen: those who wait get it, and where all were stopped nobody is to be warned
        else:
            commit.set_result(None)

    def __len__(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM completions").fetchone()[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._commit_waiting()
        self._connection.close()


def _to_read(path: Path) -> str:
    """The URI of a journal that is only read. Without a log of writes beside it nobody writes it, and SQLite needs no
    files of its own there: the folder may be read-only."""
    written = path.with_name(path.name + "-wal").exists()
    return path.absolute().as_uri() + ("" if written else "?immutable=1")


def _pack(completion: Completion) -> bytes:
    return orjson.dumps({name: getattr(completion, name) for name in _FIELDS})
