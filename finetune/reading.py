"""Rows of files -> conversations -> tokens: what becomes of every row, one outcome each and none without a reason."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from finetune.conversation import Conversation, NotThisForm
from finetune.fit import Fitted, fit
from finetune.forms import read, recognise
from longreach.errors import UserError
from longreach.text.chat.template import ChatTemplate, Encoded, Unfit
from longreach.text.document import Skipped
from longreach.text.values import Value, Values

AT_ONCE = 32  # conversations tokenized together; documents may be long


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation as it is trained on."""

    encoded: Encoded
    key: int  # equal for equal conversations
    group: int  # equal for conversations about one document
    cut: int  # tokens that its context lost
    place: str


@dataclass
class Reader:
    """Reads the files of one source. `forms` counts what the rows were."""

    chat: ChatTemplate
    seq_len: int
    strict: bool
    forms: Counter[str] = field(default_factory=Counter)

    def examples(self, values: Values) -> Iterator[Example | Skipped]:
        """One outcome for each row; of those tokenized together the bad ones come first."""
        talks = self._conversations(values)
        while found := list(islice(talks, AT_ONCE)):
            yield from (self._refused(item) for item in found if isinstance(item, Skipped))
            yield from self._encoded([item for item in found if not isinstance(item, Skipped)])

    def _conversations(self, values: Values) -> Iterator[tuple[Value, Conversation] | Skipped]:
        for value in values:
            if isinstance(value, Skipped):
                yield value
                continue
            form = recognise(value.value)
            try:
                yield value, read(value.value, form)
                self.forms[form] += 1
            except NotThisForm as flaw:
                yield Skipped(value.path, flaw.reason, flaw.detail, value.line, value.byte)

    def _encoded(self, found: Sequence[tuple[Value, Conversation]]) -> Iterator[Example | Skipped]:
        encoded = self.chat.encode_batch([(talk.messages, talk.tools) for _, talk in found])
        for (value, talk), tokens in zip(found, encoded, strict=True):
            try:
                if isinstance(tokens, Unfit):
                    raise tokens
                yield self._example(value, talk, fit(talk, self.chat, self.seq_len, tokens))
            except Unfit as flaw:
                note = Skipped(value.path, flaw.reason, flaw.detail, value.line, value.byte)
                yield self._refused(note)

    def _example(self, value: Value, talk: Conversation, fitted: Fitted) -> Example:
        if not fitted.encoded.answer[1:].any():  # nothing precedes the first token
            raise Unfit("no answer", "no token of it would be trained on")
        key = digest(orjson.dumps([dict(turn) for turn in talk.messages], option=orjson.OPT_SORT_KEYS))
        group = digest(talk.document.encode()) if talk.document else key
        name = f":{talk.id}" if talk.id else ""
        return Example(fitted.encoded, key, group, fitted.cut, f"{value.path}#{value.line}{name}")

    def _refused(self, note: Skipped) -> Skipped:
        if self.strict:
            place = f", line {note.line}" if note.line is not None else ""
            raise UserError(
                f"{note.path}{place}: {note.reason}: {note.detail}", "without --strict such rows are listed"
            )
        return note


def digest(content: bytes) -> int:
    """64 bits that tell contents apart."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def as_line(note: Skipped, source: str) -> dict[str, Any]:
    """A line of skipped.jsonl."""
    return {
        "source": source,
        "path": note.path,
        "line": note.line,
        "byte": note.byte,
        "reason": note.reason,
        "detail": note.detail,
    }
