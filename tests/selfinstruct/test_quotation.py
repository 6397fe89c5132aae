"""Where sentences end, and where a quotation stands, whatever lies between its words."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.record import Span
from longreach.text.sentences import sentences
from selfinstruct.quotation import Wording, widened

TEXT = """The *pier* of Orvane is 212 metres long. It was finished
by Master Farraday in 1881, "against all hope"; the clay
was soft.

A second pier - the old one - is gone."""


def split(text: str) -> list[str]:
    return [span.of(text) for span in sentences(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It grew by 3.5 per cent. Then it fell.", ["It grew by 3.5 per cent.", "Then it fell."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("It is so (see below.) Now on.", ["It is so (see below.)", "Now on."]),
        ("A wrapped\nline. And\nanother.", ["A wrapped\nline.", "And\nanother."]),
        ("A paragraph\n\nAnother one", ["A paragraph", "Another one"]),
        ("A list:\n- one\n- two\n1. three", ["A list:", "- one", "- two", "1. three"]),
        ("Größe zählt. Übung auch.", ["Größe zählt.", "Übung auch."]),
        ("港は広い。船が来る。", ["港は広い。", "船が来る。"]),
        ("it ended. and went on", ["it ended. and went on"]),
        ("  \n\n ", []),
        ("", []),
        (". . .", [".", ".", "."]),
        ("A\r\n\r\nB", ["A", "B"]),
    ],
)
def test_sentences_end_where_a_reader_says(text: str, parts: list[str]) -> None:
    assert split(text) == parts


@given(st.text(st.sampled_from(list("aB. \n\t!?。\"')-*#1漢é\r"))) | st.text())
def test_sentences_hold_every_word_once_and_in_order(text: str) -> None:
    found = list(sentences(text))
    assert all(span.start < span.end for span in found)
    assert all(span.of(text) == span.of(text).strip() for span in found)
    assert all(before.end <= after.start for before, after in pairwise(found))
    outside = re.sub(r"\s", "", "".join(text[a:b] for a, b in gaps(found, len(text))))
    assert not re.search(r"\w", outside)


def gaps(found: list[Span], length: int) -> list[tuple[int, int]]:
    ends = [0, *(span.end for span in found)]
    return list(zip(ends, [*(span.start for span in found), length], strict=True))


@pytest.mark.parametrize(
    ("quote", "place"),
    [
        ("The *pier* of Orvane is 212 metres long.", "The *pier* of Orvane is 212 metres long."),
        ("the pier of orvane IS 212 metres long", "The *pier* of Orvane is 212 metres long"),
        ("It was finished by Master Farraday", "It was finished\nby Master Farraday"),
        ('"finished by Master Farraday in 1881"', "finished\nby Master Farraday in 1881"),
        ("“against all hope”; the clay was soft.", 'against all hope"; the clay\nwas soft.'),
        ("pier", "pier"),
        ("old one", "old one"),
    ],
)
def test_a_quotation_is_found_word_for_word(quote: str, place: str) -> None:
    found = Wording(TEXT).find(quote)
    assert found is not None
    assert found.of(TEXT) == place


@pytest.mark.parametrize(
    "quote",
    ["The pier of Orvane is 221 metres long", "of Orvane pier", "pie", "ier of", "long. It is", "", "   ", "1", "§"],
)
def test_other_words_are_not_found(quote: str) -> None:
    assert Wording(TEXT).find(quote) is None


@pytest.mark.parametrize(("text", "quote", "start"), [("a + b", "+", 2), ("x ?? y", " ?? ", 2), ("", "+", None)])
def test_a_quotation_without_words_is_looked_up_as_it_is(text: str, quote: str, start: int | None) -> None:
    found = Wording(text).find(quote)
    assert (found.start if found else None) == start


words = st.text(st.sampled_from("abcXYZé漢1 \n.,*\"'-"), min_size=1)


@given(text=words, data=st.data())
def test_every_run_of_words_of_a_text_is_found_in_it(text: str, data: st.DataObject) -> None:
    spans = [match.span() for match in re.finditer(r"\w+", text)]
    if not spans:
        return
    first = data.draw(st.integers(0, len(spans) - 1))
    last = data.draw(st.integers(first, len(spans) - 1))
    quote = text[spans[first][0] : spans[last][1]]
    found = Wording(text).find(quote)
    assert found is not None
    assert re.findall(r"\w+", found.of(text).lower()) == re.findall(r"\w+", quote.lower())
    assert found.start <= spans[first][0]  # the first place


@given(text=st.text(), quote=st.text())
def test_no_quotation_raises_and_spans_lie_in_the_text(text: str, quote: str) -> None:
    for span in Wording(text).find_quote(quote):
        assert 0 <= span.start < span.end <= len(text)


@pytest.mark.parametrize(
    ("quote", "places"),
    [
        ("The pier of Orvane is ... by Master Farraday", ["The *pier* of Orvane is", "by Master Farraday"]),
        ("The pier of Orvane […] the clay was soft.", ["The *pier* of Orvane", "the clay\nwas soft."]),
        ("the clay was soft... The pier of Orvane is", ["the clay\nwas soft", "The *pier* of Orvane is"]),
        ("The pier of Orvane is 212 metres long. The clay was soft.", [
            "The *pier* of Orvane is 212 metres long.", "the clay\nwas soft."]),
        ("The pier of Orvane is 212 metres long. And so it goes.", ["The *pier* of Orvane is 212 metres long."]),
        ("Nothing of this kind is there. The clay was soft.", []),  # less than half
        ("The pier ... the clay", []),  # two words are found anywhere
        ("", []),
    ],
)  # fmt: skip
def test_a_quotation_in_parts_is_found_part_by_part(quote: str, places: list[str]) -> None:
    assert [span.of(TEXT) for span in Wording(TEXT).find_quote(quote)] == places


def test_a_span_is_widened_to_whole_sentences() -> None:
    text = "One is here. Two is there. Three is gone. Four is left."
    bounds = list(sentences(text))
    inside = Span(text.index("is there"), text.index("is there") + 4)
    assert widened(inside, bounds).of(text) == "Two is there."
    assert widened(inside, bounds, 1).of(text) == "One is here. Two is there. Three is gone."
    assert widened(inside, bounds, 9).of(text) == text
    across = Span(text.index("here"), text.index("Three") + 2)
    assert widened(across, bounds).of(text) == "One is here. Two is there. Three is gone."
    assert widened(inside, []) == inside


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["a " * 50_000, " " * 100_000, "\n" * 100_000, ". " * 50_000, "\n-" * 50_000, ".\"'" * 33_000]
)
def test_100_kb_are_read_at_once(text: str) -> None:
    list(sentences(text))
    Wording(text).find_quote(text[:5_000] + " zz")
