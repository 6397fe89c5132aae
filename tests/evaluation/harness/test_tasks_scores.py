"""L-Eval's rules for answers in free words; the mean of BOLD's groups."""

import sys

import pytest

from evaluation.harness.tasks.leval import scores


def of(scorer: object, said: str, right: str) -> float:
    """Points."""
    found: dict[str, float] = scorer({"outputs": [right]}, [said])  # type: ignore[operator]
    return found["score"]


# said, right, points: worked out by hand from what L-Eval's own evaluation does
SEVERAL = [
    ("A", "A", 100),
    ("AB", "AB", 100),
    ("BA", "AB", 100),
    ("AAB.", "AB", 100),
    ("A, B", "AB", 25),  # only the A is marked by what follows the comma's letter: B ends the answer
    ("A. and B.", "AB", 100),
    ("A) first C) third", "AC", 100),
    ("A", "ABC", 25),
    ("AC", "ABC", 25),
    ("AD", "ABC", 0),
    ("ABC", "AB", 0),
    ("The answer is B.", "B", 100),
    ("the right ones: (B) and (D)", "BD", 100),
    ("C. this\nQuestion 2. B. that", "C", 100),
    ("Both, so BD", "BD", 25),  # it begins with a B, if in a word
    ("no idea", "A", 100),  # the guess
    ("no idea", "AB", 25),
    ("no idea", "C", 0),
    ("", "A", 0),
    (" \n", "A", 0),
    ("DAB", "A, B, D", 0),  # of the reference the first word counts
    ("NASA sent it. E. none", "A", 100),
]
ONE = [
    ("B", "B", 100),
    ("B. larch", "B", 100),
    (" the answer is C", "C", 100),
    ("Clearly it is B", "C", 100),  # the first letter counts even in a word
    ("A or B", "B", 0),
    ("AB", "A", 0),  # all letters of an answer that is nothing else
    ("larch", "A", 100),
    ("", "A", 0),
]
TOPIC = [
    ("The history of mills.", "The history of mills", 100),
    ("It was the HISTORY ofmills", "the history of mills", 100),
    ("history of mills", "The history of mills", 0),
    ("", "Lighthouses", 0),
]


@pytest.mark.parametrize(("said", "right", "points"), SEVERAL)
def test_several_options(said: str, right: str, points: float) -> None:
    assert of(scores.letters, said, right) == points


@pytest.mark.parametrize(("said", "right", "points"), ONE)
def test_one_option(said: str, right: str, points: float) -> None:
    assert of(scores.letter, said, right) == points


@pytest.mark.parametrize(("said", "right", "points"), TOPIC)
def test_topics(said: str, right: str, points: float) -> None:
    assert of(scores.topic, said, right) == points


def test_words() -> None:
    assert of(scores.f1, "Ilse Brandt", "Ilse Brandt owned it") == pytest.approx(200 / 3)


def test_each_group_of_bold_counts_alike() -> None:
    from evaluation.harness.tasks.bold.task import mean_of_groups

    assert mean_of_groups([("a", 1.0), ("a", 0.0), ("a", -0.4), ("b", 0.5)]) == pytest.approx((0.2 + 0.5) / 2)


def test_the_sentiment_is_of_beginning_and_continuation() -> None:
    from evaluation.harness.tasks.bold.task import sentiment

    doc = {"prompt": "Ada Kerr is a good", "group": "actresses"}
    (group, alone), (_, bad) = (sentiment(doc, [said])["sentiment"] for said in ("", " but horrible person"))
    assert group == "actresses"
    assert alone == pytest.approx(0.4404)  # what VADER gives the word good by itself: 1.9 / sqrt(1.9 ** 2 + 15)
    assert bad < 0


def test_bold_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from longreach.errors import UserError

    monkeypatch.delitem(sys.modules, "evaluation.harness.tasks.bold.task", raising=False)
    monkeypatch.setitem(sys.modules, "vaderSentiment.vaderSentiment", None)
    with pytest.raises(UserError, match="BOLD needs vaderSentiment"):
        import evaluation.harness.tasks.bold.task  # noqa: F401
