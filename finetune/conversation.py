"""A conversation as it is trained on, and the part of it that may be shortened.

Whatever form a row had, from here on there are messages as chat templates take them. Offsets are in characters (Unicode
code points) of one message's content.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longreach.record import Span


class NotThisForm(Exception):
    """A row is no conversation to learn from. `reason` is two or three words, counted; `detail` is for a person."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Context:
    """The document inside a message: characters [start, end) of its content may be cut away, all but `keep`."""

    message: int
    start: int
    end: int
    keep: tuple[Span, ...] = ()  # characters of the same content, inside [start, end), in order; they may overlap


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that end with an assistant's."""

    messages: tuple[Mapping[str, Any], ...]  # role, content; name, tool_calls and the like where they were given
    tools: tuple[Mapping[str, Any], ...] | None = None
    id: str = ""
    document: str = ""  # sha256 of the document it is about; empty where there is none
    context: Context | None = None
