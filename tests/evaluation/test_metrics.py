"""The scorers against published values and values worked out by hand."""

import pytest

from evaluation.metrics import (
    choice,
    concordance,
    exact_match,
    f1,
    found_share,
    percentage,
    rouge,
    rouge_geo,
    rouge_l,
)


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [
        ("Paris", ["Paris"], 100),
        ("paris.", ["Paris"], 100),  # case and punctuation
        ("The Eiffel Tower", ["Eiffel tower!"], 100),  # articles
        ("an apple", ["apple"], 100),
        ("a an the", [""], 100),  # nothing is left
        ("  two \n words\t", ["two words"], 100),  # blanks
        ("U.S.A.", ["USA"], 100),  # punctuation goes without a blank
        ("well-known", ["wellknown"], 100),
        ("well-known", ["well known"], 0),
        ("$1,000", ["1000"], 100),
        ("theatre", ["atre"], 0),  # an article only as a word
        ("Athena", ["thena"], 0),
        ("in Paris", ["Paris"], 0),
        ("", ["Paris"], 0),
        ("Lyon", ["Paris", "lyon"], 100),  # any of several
        ("Rome", ["Paris", "Lyon"], 0),
        ("the «Louvre»", ["«louvre»"], 100),  # only ASCII punctuation goes
        ("the «Louvre»", ["louvre"], 0),
    ],
)
def test_exact_match(output: str, references: list[str], expected: float) -> None:
    assert exact_match(output, references) == expected


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [
        ("Denver Broncos", ["Denver Broncos"], 100),
        ("the Broncos of Denver", ["Denver Broncos"], 80),  # 2 of 3 and 2 of 2
        ("Broncos", ["Denver Broncos"], 200 / 3),
        ("Carolina Panthers", ["Denver Broncos"], 0),
        ("the", ["Denver"], 0),  # nothing is left of the answer
        ("the", ["a"], 100),  # nor of either
        ("", ["Denver"], 0),
        ("gold gold gold", ["gold"], 50),  # a word counts as often as both have it
        ("gold gold", ["gold gold medal"], 80),
        ("a b c d", ["c d e f"], 200 * (2 / 3 * 2 / 4) / (2 / 3 + 2 / 4)),  # "a" is an article
        ("42", ["forty-two", "42 km"], 200 / 3),  # the best of several
        ("Santa Clara, California", ["Santa Clara", "Levi's Stadium"], 80),
        ("not answerable", ["unanswerable"], 0),  # MuSiQue and Qasper: F1 as for any other answer
        ("unanswerable.", ["unanswerable"], 100),
    ],
)
def test_f1(output: str, references: list[str], expected: float) -> None:
    assert f1(output, references) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [  # rouge_1, rouge_2, rouge_l; the first six are tests of rouge-score itself
        ("testing", ["testing one two"], (50, 0, 50)),
        ("testing one", ["testing one two"], (80, 200 / 3, 80)),
        ("testing two", ["testing one two"], (80, 0, 80)),
        ("", ["testing one two"], (0, 0, 0)),
        ("text first", ["first text", "first something"], (100, 0, 50)),
        ("/", ["w1 w2 w3 w4 w5"], (0, 0, 0)),
        ("police kill the gunman", ["police killed the gunman"], (75, 100 / 3, 75)),  # Lin 2004, S1 and S2
        ("the gunman kill police", ["police killed the gunman"], (75, 100 / 3, 50)),  # and S3
        ("gunman the killed police", ["police killed the gunman"], (100, 0, 25)),
        ("Police, KILLED the gunman!", ["police killed the gunman"], (100, 100, 100)),  # case and punctuation
        ("the the the", ["the cat"], (40, 0, 40)),  # clipped
        ("one two three four", ["one two five", "three four"], (200 / 3, 50, 200 / 3)),  # the best, each for itself
        ("naïve", ["na ve"], (100, 100, 100)),  # it knows a-z and digits alone
    ],
)
def test_rouge(output: str, references: list[str], expected: tuple[float, ...]) -> None:
    found = rouge(output, references)
    assert (found["rouge_1"], found["rouge_2"], found["rouge_l"]) == pytest.approx(expected)
    assert found["rouge_geo"] == pytest.approx((expected[0] * expected[1] * expected[2]) ** (1 / 3))
    assert rouge_l(output, references) == pytest.approx(expected[2])


def test_stems_count_only_where_asked_for() -> None:
    assert rouge("she runs", ["she running"])["rouge_1"] == 50
    assert rouge("she runs", ["she running"], stem=True)["rouge_1"] == 100
    assert rouge_l("she runs", ["she running"], stem=True) == 100


def test_the_published_geometric_mean_is_of_the_means() -> None:
    several = [rouge("testing one", ["testing one two"]), rouge("testing two", ["testing one two"])]
    assert rouge_geo(several) == pytest.approx((80 * (100 / 3) * 80) ** (1 / 3))
    assert rouge_geo(several[:1]) == pytest.approx(several[0]["rouge_geo"])


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [
        ("It is 4821.", ["4821"], 100),
        ("4821 and 77", ["4821", "9000"], 50),
        ("ORCHID", ["orchid"], 100),
        ("", ["4821"], 0),
    ],
)
def test_found_share(output: str, references: list[str], expected: float) -> None:
    assert found_share(output, references) == expected


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [
        ("B", ["B"], 100),
        ("(B) because he left", ["(B) He left."], 100),
        ("The answer is C.", ["C"], 100),
        ("A horse, so D", ["D"], 0),  # the first that stands alone, as published
        ("Because", ["B"], 0),
        ("b", ["B"], 0),
        ("E", ["A"], 0),
        ("", ["A"], 0),
    ],
)
def test_choice(output: str, references: list[str], expected: float) -> None:
    assert choice(output, references) == expected


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [
        ("70%", ["70%"], 100),
        ("60%", ["70%"], 50),
        ("about 90% of the reviews", ["70%"], 25),
        ("50% or 70%", ["70%"], 25),  # the first
        ("62.5%", ["70.0%"], 100 * 2**-0.75),
        ("70", ["70%"], 0),  # no percentage
        ("70 %", ["70%"], 0),  # nor this, as published
        ("", ["70%"], 0),
        (f"{'9' * 5000}%", ["70%"], 0),
    ],
)
def test_percentage(output: str, references: list[str], expected: float) -> None:
    assert percentage(output, references) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("output", "references", "expected"),
    [
        ("1, 2, 3", ["1, 2, 3"], 100),
        ("3, 2, 1", ["1, 2, 3"], 0),
        ("2, 1, 3", ["1, 2, 3"], 200 / 3),
        ("1, 3, 2", ["3, 1, 2"], 200 / 3),
        ("The order is 4, 1, 2, 3.", ["1, 2, 3, 4"], 50),
        ("1 2 3", ["1,2,3"], 100),
        ("1, 2", ["1, 2, 3"], 0),  # one is missing
        ("1, 2, 2, 3", ["1, 2, 3"], 0),
        ("1-2-3", ["1, 2, 3"], 0),  # 123, as published
        ("", ["1, 2, 3"], 0),
        ("9" * 5000, ["1, 2, 3"], 0),
        ("1", ["1"], 100),
    ],
)
def test_concordance(output: str, references: list[str], expected: float) -> None:
    assert concordance(output, references) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "near", "far"),
    [
        ("灯塔建于海边的岩石上。", "灯塔建于海边", "我们没有看到人。"),
        ("המגדלור נבנה בשנת אלף.", "המגדלור נבנה", "לא ידוע לי"),
        ("Маяк был построен у моря.", "Маяк построен", "Не знаю этого"),
    ],
)
def test_other_scripts_are_told_apart(reference: str, near: str, far: str) -> None:
    for metric in (f1, rouge_l):
        assert metric(reference, [reference]) == 100
        assert 20 < metric(near, [reference]) < 100
        assert metric(far, [reference]) < 20
    assert rouge(reference, [reference])["rouge_geo"] == pytest.approx(100)


def test_english_and_its_neighbours_are_scored_as_published() -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from transformers.data.metrics.squad_metrics import compute_f1

    for said, right in (("a naïve café", "The café was naïve."), ("über den Fluß", "Der Weg über den Fluß"), ("", "x")):
        assert rouge_l(said, [right]) == 100 * RougeScorer(["rougeL"]).score(right, said)["rougeL"].fmeasure
        assert f1(said, [right]) == 100 * compute_f1(right, said)
