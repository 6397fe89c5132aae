"""The outline of a conversation: which characters the template wrote, which are the messages', and what is learnt.

No template says so, but each can be asked: with every content replaced by a placeholder, what it writes between two
placeholders is its own. Placeholders are private-use characters, so that trimming leaves them be. A turn that has no
content, but calls a tool, is what follows once the conversation before it, with a generation prompt, is taken away.

The outline of a conversation depends on its contents only by which are empty, so one serves all of the same shape.
Whether the template did the same to a real text is checked on every one, character by character.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

OPEN, CLOSE, ZERO = 0xF0000, 0xF0001, 0xF0010
PLACEHOLDER = re.compile("\U000f0000([\U000f0010-\U000f0019]+)\U000f0001")


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of the template's text, or the place of a message's content."""

    text: str
    message: int = -1  # whose content stands here
    name: str = ""  # of the special token that it is; `text` may hold blanks that the token takes with it


@dataclass(frozen=True, slots=True)
class Outline:
    """Parts in order. `answers` are those learnt, [first, end); `special` the ids of the special parts."""

    parts: tuple[Part, ...]
    answers: tuple[tuple[int, int], ...]
    special: tuple[int, ...]

    def borders(self, text: str, contents: Sequence[str]) -> list[int] | None:
        """Where each part begins in a text, and its end; None where the template did not write these contents so."""
        reached: dict[int, Any] = {0: (0, None)}  # position -> the way there
        for part in self.parts:
            ahead: dict[int, Any] = {}
            for position, way in reached.items():
                for end in _ends(part, text, position, contents):
                    ahead.setdefault(end, (end, way))
            reached = ahead
        way = reached.get(len(text))
        return _unwound(way) if way else None


def _unwound(way: Any) -> list[int]:
    borders = []
    while way:
        position, way = way
        borders.append(position)
    return borders[::-1]


def _ends(part: Part, text: str, position: int, contents: Sequence[str]) -> list[int]:
    """Where the part can end that begins at a position, the farthest first."""
    if part.message < 0:
        return [position + len(part.text)] if text.startswith(part.text, position) else []
    content = contents[part.message]
    ends = [position + len(form) for form in trimmed(content) if text.startswith(form, position)]
    if not ends:
        escaped = json.dumps(content, ensure_ascii=False)[1:-1]  # what tojson makes of a tool's answer
        ends = [position + len(escaped)] if text.startswith(escaped, position) else []
    return ends


def trimmed(content: str) -> Iterable[str]:
    """A content as templates write it, the longest first."""
    if not (content[0].isspace() or content[-1].isspace()):
        return (content,)
    begins = (content, content.lstrip("\n"), content.lstrip())
    forms = dict.fromkeys(form for begin in begins for form in (begin, begin.rstrip("\n"), begin.rstrip()))
    return sorted(forms, key=len, reverse=True)


@cache
def placeholder(number: int) -> str:
    """What stands for the content of a message."""
    return chr(OPEN) + "".join(chr(ZERO + int(digit)) for digit in str(number)) + chr(CLOSE)


def placeholders(text: str) -> list[tuple[int, int, int]]:
    """Start, end and message of each placeholder in a text."""
    return [
        (found.start(), found.end(), int("".join(str(ord(digit) - ZERO) for digit in found[1])))
        for found in PLACEHOLDER.finditer(text)
    ]
