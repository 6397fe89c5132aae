"""What a chat model wrote, read as a pair, a summary or a score.

Models wrap, fence, label, repeat and break off. Read in turn: tags, JSON, labelled lines. The first complete pair
counts; how many more there were is kept (`surplus`), so that nothing vanishes unseen.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_FENCE = re.compile(r"```[\w-]*\n?|```")
_LABEL = re.compile(
    r"^[ \t>#*_\-]*(?:\d+[.)][ \t]*)?(question|answer|evidence|summary|rationale|score|q|a)"
    r"[ \t]*(?:\d+[ \t]*)?[*_]*[:：][*_]*[ \t]*",
    re.I | re.M,
)
_NAMES = "question|answer|evidence|summary|rationale|score"
_TAG = re.compile(rf"<({_NAMES})>(.*?)(</\s*\1\s*>|(?=<(?:{_NAMES})>)|\Z)", re.S | re.I)
_SHORT_LABELS = {"q": "question", "a": "answer"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SCORE = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Pair:
    """A question (empty for a summary), its answer, the quotation given for it, and whether the text broke off."""

    question: str
    answer: str
    evidence: str = ""
    cut_off: bool = False
    surplus: int = 0


@dataclass(frozen=True, slots=True)
class _Fields:
    values: Mapping[str, str]
    open_ended: frozenset[str] = frozenset()  # names whose end was not written


def parse_pair(text: str, cut_off: bool) -> Pair | None:
    """The first question with an answer; None where there is none. `cut_off` tells that the model ran out of tokens."""
    return _first(text, cut_off, "question", "answer")


def parse_summary(text: str, cut_off: bool) -> Pair | None:
    """A summary; a reply without any tag, JSON or label is taken as the summary itself."""
    found = _first(text, cut_off, "", "summary")
    bare = _bare(text)
    return found or (Pair("", bare, cut_off=cut_off) if bare and not bare.startswith(("{", "<")) else None)


def parse_answer(text: str) -> str:
    """A free reply without thinking, fences, label or quotation marks."""
    found = _first(text, False, "", "answer")
    return found.answer if found else _clean(_bare(text))


def parse_score(text: str) -> tuple[float, str] | None:
    """(score, rationale) of a critique; None without a score from 1 to 10."""
    for fields in _candidates(text):
        number = _SCORE.search(fields.values.get("score", ""))
        if number and 1 <= float(number.group()) <= 10:
            return float(number.group()), fields.values.get("rationale", "")
    return None


def _first(text: str, cut_off: bool, question: str, answer: str) -> Pair | None:
    needed = [name for name in (question, answer) if name]
    groups = [fields for fields in _candidates(text) if all(name in fields.values for name in needed)]
    if not groups:
        return None
    first = groups[0]
    return Pair(
        question=first.values.get(question, ""),
        answer=first.values[answer],
        evidence=first.values.get("evidence", ""),
        cut_off=cut_off and answer in first.open_ended,  # one that broke off later, in its evidence, has a whole answer
        surplus=len(groups) - 1,
    )


def _candidates(text: str) -> list[_Fields]:
    """Groups of named fields, by the first reading that finds any."""
    body = _THINKING.sub("", text)
    for reading in (_tagged, _json_objects, _labelled):
        groups = list(reading(body))
        if groups:
            return groups
    return []


def _tagged(text: str) -> Iterator[_Fields]:
    found = [(match.group(1).lower(), _clean(match.group(2)), not match.group(3)) for match in _TAG.finditer(text)]
    return _grouped(found)


def _labelled(text: str) -> Iterator[_Fields]:
    body = _FENCE.sub("", text)
    marks = list(_LABEL.finditer(body))
    found = []
    for mark, following in zip_longest(marks, marks[1:]):
        name = mark.group(1).lower()
        value = body[mark.end() : following.start() if following else len(body)]
        found.append((_SHORT_LABELS.get(name, name), _clean(value), following is None))
    return _grouped(found)


def _grouped(found: list[tuple[str, str, bool]]) -> Iterator[_Fields]:
    """Consecutive fields until a name comes again."""
    values: dict[str, str] = {}
    open_ended: set[str] = set()
    for name, value, unfinished in found:
        if name in values:
            yield _Fields(values, frozenset(open_ended))
            values, open_ended = {}, set()
        values[name] = value
        if unfinished:
            open_ended.add(name)
    if values:
        yield _Fields(values, frozenset(open_ended))


def _json_objects(text: str) -> Iterator[_Fields]:
    decoder = json.JSONDecoder(strict=False, parse_int=str)
    at = 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            cut = _repaired(text[at:])
            if cut:
                yield cut
                return
            at += 1
            continue
        yield from _from_json(value)
        at = end


def _from_json(value: Any) -> Iterator[_Fields]:
    """Fields of an object, or of the objects in a list inside it ({"pairs": [...]})."""
    if isinstance(value, list):
        for item in value:
            yield from _from_json(item)
    elif isinstance(value, dict):
        fields = {
            str(name).lower(): _clean(str(item)) for name, item in value.items() if isinstance(item, str | int | float)
        }
        if fields:
            yield _Fields(fields)
        for item in value.values():
            if isinstance(item, list | dict):
                yield from _from_json(item)


_JSON_FIELD = re.compile(
    r'"(question|answer|evidence|summary|rationale|score)"\s*:\s*(?:"((?:[^"\\]|\\.)*)("?)|(\d+))', re.S | re.I
)


def _repaired(text: str) -> _Fields | None:
    """Fields of an object that broke off or is not quite JSON."""
    values, open_ended = {}, set()
    for match in _JSON_FIELD.finditer(text):
        name = match.group(1).lower()
        values[name] = _clean(match.group(4) or _unescaped(match.group(2)))
        if not match.group(3) and not match.group(4):
            open_ended.add(name)
    return _Fields(values, frozenset(open_ended)) if values else None


def _unescaped(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text.rstrip("\\")


def _bare(text: str) -> str:
    return _FENCE.sub("", _THINKING.sub("", text)).strip()


def _clean(text: str) -> str:
    """Without fences, stray bold marks and one pair of quotation marks around the whole."""
    body = _whole(_FENCE.sub("", text).strip())
    for opening, closing in (("**", "**"), ('"', '"'), ("“", "”")):
        inner = body[len(opening) : -len(closing)]
        if (
            len(body) > len(opening + closing)
            and body.startswith(opening)
            and body.endswith(closing)
            and opening not in inner
        ):
            body = inner.strip()
    return body


def _whole(text: str) -> str:
    """Half a surrogate pair, which JSON can spell and UTF-8 cannot hold, as the replacement character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _SURROGATE.search(text) else text
