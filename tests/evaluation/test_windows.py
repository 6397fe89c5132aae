"""Windows lie in one document each, are spread over all of them, and end apart."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from evaluation.windows import digest, draw_windows
from longreach.errors import UserError
from longreach.text.document import Document, Skipped
from longreach.text.special import SpecialTokens
from longreach.text.tokenize import Tokenizer

BOS, EOS = 1, 2


class Letters:
    """Every character is a token."""

    def ids(self, texts):
        return [np.array([ord(letter) for letter in text], np.uint32) for text in texts]


def tokenizer(*, adds_bos=True) -> Tokenizer:
    return Tokenizer("letters", "", 2**16, SpecialTokens(BOS, EOS, None, adds_bos), Letters())


def document(number, tokens) -> Document:
    """A text in which every place is another."""
    return Document(f"d{number}", "f", "".join(chr(1000 * (number + 1) + place) for place in range(tokens)))


def drawn(documents, length, *, samples=10, targets=8, seed=0, join=False, adds_bos=True):
    return draw_windows(
        documents, tokenizer(adds_bos=adds_bos), length, samples=samples, targets=targets, seed=seed, join=join
    )


@pytest.mark.parametrize("adds_bos", [True, False])
def test_rows(adds_bos):
    documents = {each.id: each for each in (document(number, 100) for number in range(5))}
    windows, _ = drawn(documents.values(), 40, samples=5, adds_bos=adds_bos)
    for window in windows:
        text = [ord(letter) for letter in documents[window.document].text]
        opening = [BOS] if adds_bos else []
        whole = text[window.offset :][: 40 - len(opening)]
        assert window.row(40).tolist() == opening + whole
        assert window.row(16).tolist() == opening + whole[len(opening) - 16 :]
        assert window.row(40)[-8:].tolist() == window.row(16)[-8:].tolist()
    assert len({window.offset for window in windows}) > 1  # not all at their beginning


def test_spread_over_documents_then_places():
    windows, notes = drawn([document(0, 900), document(1, 60), document(2, 300), document(3, 20)], 40, samples=20)
    shares = Counter(window.document for window in windows)
    assert shares == {"d1": 3, "d0": 9, "d2": 8} or shares == {"d1": 3, "d0": 8, "d2": 9}
    for name in shares:
        places = sorted(window.offset for window in windows if window.document == name)
        assert places[0] == 0
        assert places[-1] == {"d0": 900, "d1": 60, "d2": 300}[name] - 39  # at the very end
        assert min(after - before for before, after in pairwise(places)) >= 8  # no target twice
    assert any("1 of 4 are shorter than 39 tokens" in note for note in notes)
    assert not any("asked for" in note for note in notes)


def test_more_documents_than_windows():
    documents = [document(number, 50) for number in range(30)]
    windows, _ = drawn(documents, 40)
    again, _ = drawn(documents[::-1], 40)
    assert len({window.document for window in windows}) == 10
    assert [window.id for window in windows] == [window.id for window in again]  # whatever the corpus's order
    assert digest(windows) == digest(again)
    others, _ = drawn(documents, 40, seed=1)
    assert {window.document for window in windows} != {window.document for window in others}


def test_fewer_than_asked_is_said():
    windows, notes = drawn([document(0, 50), Skipped("f", "broken json"), Skipped("f", "broken json")], 40)
    assert len(windows) == 2  # (50 - 39) // 8 + 1
    assert "10 windows were asked for: the text has no more of this length" in notes
    assert "inputs that gave no document: 2 broken json" in notes


def test_the_digest_knows_the_text():
    one, other = (drawn([Document("d", "f", text * 50)], 40, samples=1)[0] for text in "ab")
    assert digest(one) != digest(other)
    assert digest(one) == digest(drawn([Document("d", "f", "a" * 50)], 40, samples=1)[0])


def test_join():
    documents = [document(number, 25) for number in range(6)]
    windows, _ = drawn(documents, 70, samples=4, join=True)
    assert {window.document for window in windows} == {"d0 and 2 more", "d3 and 2 more"}
    first = next(window for window in windows if window.id == "d0 and 2 more#0")
    text = [ord(letter) for each in documents[:3] for letter in (*each.text, chr(EOS), chr(BOS))]
    assert first.row(70).tolist() == [BOS, *text[:69]]


@pytest.mark.parametrize(
    ("documents", "join", "problem", "hint"),
    [
        ([document(0, 30), document(1, 35)], False, "the longest has 35", "--lengths up to 36; or --join"),
        ([document(0, 30), document(1, 35)], True, "the longest has 67", "--lengths up to 68"),
        ([document(0, 5)], False, "the longest has 5", "--join"),
        ([Skipped("f", "too short")], False, r"no documents were found \(1 too short\)", "--docs"),
    ],
)
def test_nothing_long_enough(documents, join, problem, hint):
    with pytest.raises(UserError, match=problem) as raised:
        drawn(documents, 100, join=join)
    assert hint in raised.value.hint
    assert ("--lengths" in hint) == ("--lengths" in raised.value.hint)
