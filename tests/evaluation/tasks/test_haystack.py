"""Text of a length: whole sentences, never more than asked for and hardly less, the shorter a beginning of the longer."""

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from evaluation.tasks import first_sentence
from evaluation.tasks.haystack import LONGEST, Haystack
from evaluation.tasks.place import Place, coined, scattered
from longreach.errors import UserError
from longreach.text.document import Document, Skipped
from longreach.text.tokenize import Tokenizer, load_tokenizer
from tinyllama import make_tiny_llama


def documents(number: int, sentences: int = 60) -> list[Document]:
    """Each with sentences of its own, some over two lines, in paragraphs."""
    return [
        Document(
            f"{one}.txt",
            f"{one}.txt",
            "".join(
                f"The keeper of house {one} wrote line {line}\nin his book. It was {line * 7} days\nold."
                + ("\n\n" if line % 5 == 4 else " ")
                for line in range(sentences)
            ),
        )
        for one in range(number)
    ]


@pytest.fixture(scope="module", params=["shipped", "tiny"])
def words(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Two tokenizers that have little in common."""
    if request.param == "shipped":
        return load_tokenizer("")
    return load_tokenizer(str(make_tiny_llama(Path(tmp_path_factory.mktemp("tiny")))))


def hay(words: Tokenizer, number: int = 3, seed: int = 0, **given: int) -> Haystack:
    return Haystack(documents(number, **given), words, seed, texts=number, tokens=4096)


@pytest.mark.parametrize("tokens", [40, 200, 1_000, 4_000, 9_000])
def test_a_text_fills_its_length(words: Tokenizer, tokens: int) -> None:
    pieces = hay(words).pieces(0, tokens)
    used = words.count("".join(pieces))
    sentence = max(words.count(piece) for piece in hay(words).pieces(0, 2_000)) + 2
    assert tokens - max(sentence, tokens // 50) <= used <= tokens


def test_the_shorter_is_how_the_longer_begins(words: Tokenizer) -> None:
    found = [hay(words).text(1, tokens) for tokens in (30, 100, 700, 2_000, 6_000)]
    assert all(longer.startswith(shorter) and len(longer) > len(shorter) for shorter, longer in pairwise(found))


def test_sentences_are_whole_and_their_lines_joined(words: Tokenizer) -> None:
    pieces = hay(words).pieces(0, 500)
    assert all(piece.strip()[0].isupper() and piece.endswith(".") for piece in pieces)
    assert not any("\n" in piece.strip() for piece in pieces)
    assert any(piece.startswith("\n\n") for piece in pieces)
    assert pieces[0] == pieces[0].strip()


def test_which_document_begins_follows_from_seed_and_ids_alone(words: Tokenizer) -> None:
    forward, backward = documents(20), documents(20)[::-1]
    one, other = (Haystack(each, words, 0, texts=5, tokens=50) for each in (forward, backward))
    assert [one.text(number, 90) for number in range(5)] == [other.text(number, 90) for number in range(5)]
    assert one.sha256 == other.sha256
    drawn = {Haystack(forward, words, seed, texts=1, tokens=50).document(0).id for seed in range(20)}
    assert len(drawn) > 5


def test_different_numbers_begin_differently_while_there_are_documents(words: Tokenizer) -> None:
    stack = Haystack(documents(20), words, 0, texts=8, tokens=20)
    assert len({stack.text(number, 60) for number in range(8)}) == 8
    assert stack.documents >= 8


def test_a_document_that_ends_is_followed_by_the_next(words: Tokenizer) -> None:
    text = hay(words, number=2, sentences=3).text(0, 1_000)
    assert "house 0" in text and "house 1" in text
    assert text.count("line 0 in") > 2  # and again from the first


def test_too_little_room_gives_nothing_and_no_document_is_refused(words: Tokenizer) -> None:
    assert hay(words).text(0, 3) == ""
    assert hay(words).pieces(0, -5) == ()
    with pytest.raises(UserError, match="no documents"):
        Haystack([Skipped("x", "broken json")], words, 0, texts=1, tokens=10)


def test_a_text_begins_with_a_sentence_that_can_be_asked_for(words: Tokenizer) -> None:
    long = Document("a", "a", "Word " * 300 + "end. No. This one is a sentence like any other. More of it here.")
    assert Haystack([long], words, 0, texts=1, tokens=50).text(0, 40).startswith("This one is a sentence")


@pytest.mark.parametrize(
    "text", ["long word " * 4_000, "x" * 60_000, "灯塔建于海边" * 4_000, "one. " + "a,b\n" * 9_000]
)
def test_what_has_no_sentences_fills_a_length_too(words: Tokenizer, text: str) -> None:
    stack = Haystack([Document("a", "a", text)], words, 0, texts=1, tokens=2_000)
    for tokens in (300, 1_000, 2_000):
        pieces = stack.pieces(0, tokens)
        assert tokens - 2 * LONGEST < words.count("".join(pieces)) <= tokens
    assert "".join(stack.text(0, 2_000).split()) in "".join(text.split() * 2)
    assert stack.text(0, 2_000).startswith(stack.text(0, 300))


def test_one_long_sentence_is_not_the_end_of_a_text(words: Tokenizer) -> None:
    [before, after] = documents(2, sentences=10)
    text = f"{before.text}\n\n{'no end of it ' * 2_000}\n\n{after.text}"
    stack = Haystack([Document("a", "a", text)], words, 0, texts=1, tokens=2_000)
    assert words.count(stack.text(0, 2_000)) > 1_800


def test_a_first_sentence_that_cannot_be_said_again_is_not_asked_for(words: Tokenizer) -> None:
    def asked(text: str) -> Any:
        stack = Haystack([Document("a", "a", text)], words, 0, texts=1, tokens=500)
        return first_sentence.sample(stack, Place("first-sentence", 500, None, 0, 400, 0))

    assert asked("long word " * 4_000) is None
    assert asked("This is a sentence like any other. " * 300)["references"] == ("This is a sentence like any other.",)


def test_what_gives_no_document_is_counted(words: Tokenizer) -> None:
    items = [Skipped("x", "broken json"), *documents(1), Skipped("y", "empty"), Skipped("z", "empty")]
    assert Haystack(items, words, 0, texts=1, tokens=50).notes == [
        "inputs that gave no document: 1 broken json, 2 empty"
    ]
    assert Haystack(documents(1), words, 0, texts=1, tokens=50).notes == []


def test_needles_stand_between_sentences_at_their_depths(words: Tokenizer) -> None:
    pieces = hay(words).pieces(0, 2_000)
    for depth in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = scattered(pieces, [(depth, "NEEDLE here.")])
        place = text.index("NEEDLE")
        assert abs(place / (len(text) - len("NEEDLE here.")) - depth) < 0.03
        assert text.replace("NEEDLE here.", "").split() == "".join(pieces).split()
        before = text[:place].strip()
        assert not before or before.endswith(".")
    several = scattered(pieces, [(0.5, "B."), (0.5, "C."), (0.1, "A.")])
    assert several.index("A.") < several.index("B.")


def test_coined_words_are_no_words() -> None:
    from random import Random

    words = list(islice(coined(Random(1)), 500))
    assert len(set(words)) == 500
    assert all(len(word) == 6 and word.isalpha() for word in words)
