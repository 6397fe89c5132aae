"""The context of a record in its prompt: the one place that all of it fits, or none.

Records that generate made of real text are placed in the tests of finetune.
"""

from typing import Any

import pytest

from longreach.placing import BrokenRecord, Place, place_of
from longreach.record import Span

Row = dict[str, Any]


def record(content: str, context: tuple[int, int], *evidence: tuple[int, str]) -> Row:
    return {
        "messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}],
        "context": {"start": context[0], "end": context[1]},
        "evidence": [{"start": start, "end": start + len(text), "text": text} for start, text in evidence],
    }


@pytest.mark.parametrize(
    ("given", "start"),
    [
        (record("Read: a b. c d. Is it b?", (0, 9), (2, "b")), 6),  # only one place leaves room for the rest
        (record("b. Read: a b. Is it b?", (0, 4), (2, "b"), (0, "a")), 9),  # only one has them all
        (record("Read: b b b b b b", (0, 3), (2, "b")), None),  # more than one place
        (record("<document>\nb b\n</document>\nb b", (10, 13), (12, "b")), 11),  # of them, the marked one
        (record("<document>\nb b\n</document><document>\nb b\n</document>", (1, 4), (1, "b")), None),  # both are marked
        (record("<document>\nb b\n</document>", (10, 14)), None),  # not as long as it should be
        (record("Read: a b.", (0, 4), (2, "c")), None),  # no such evidence
        (record("a", (0, 4), (2, "b")), None),  # too short
        (record("<document>\n<document>\nb\n</document>\n</document>", (0, 24)), 11),  # marks inside the document
    ],
)
def test_the_only_place_is_taken(given: Row, start: int | None) -> None:
    place = place_of(given["messages"], given)
    assert (place.start if place else None) == start


def test_an_answer_that_repeats_the_document_is_no_place() -> None:
    given = record("Read: a b.", (0, 4), (2, "b"))
    given["messages"][1]["content"] = "It says: a b."
    assert place_of(given["messages"], given) == Place(0, 6, 10, (Span(8, 9),))


@pytest.mark.parametrize(
    "change",
    [
        {"context": {"start": 5}},
        {"context": {"start": 9, "end": 2}},
        {"evidence": [{"start": 2, "end": 3}]},
        {"evidence": [{"start": 2, "end": 4, "text": "b"}]},
        {"evidence": [{"start": 20, "end": 21, "text": "b"}]},
        {"evidence": ["b"]},
        {"evidence": 5},
        {"task": "section_summary"},
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(change: Row) -> None:
    given = {**record("Read: a b.", (0, 4), (2, "b")), **change}
    with pytest.raises(BrokenRecord):
        place_of(given["messages"], given)
