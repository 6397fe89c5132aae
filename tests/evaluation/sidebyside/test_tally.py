"""Wins, ties and losses, and agreement, by numbers worked out by hand or published."""

from dataclasses import replace

import pytest

from evaluation.sidebyside.examples import Pairing
from evaluation.sidebyside.tally import agreement, interval, opinion, outcome

FLEISS_1971 = (  # ratings of ten subjects by fourteen raters in five categories; kappa 0.210
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)


@pytest.mark.parametrize(
    ("choices", "shares"),
    [
        (("a", "a", "tie"), (66.6667, 33.3333, 0.0)),
        (("b",), (0.0, 0.0, 100.0)),
        (("a", "b"), (50.0, 0.0, 50.0)),
    ],
)
def test_an_example_is_the_mean_of_its_votes(choices: tuple[str, ...], shares: tuple[float, ...]) -> None:
    found = outcome(choices)
    assert [found[name] for name in ("wins", "ties", "losses")] == pytest.approx(shares, abs=1e-3)
    assert found["preference"] == pytest.approx(shares[0] - shares[2], abs=1e-3)


def test_examples_weigh_alike_however_many_voted(pairing: Pairing) -> None:
    votes = {"qa/0": ["a", "a", "a"], "qa/1": ["b"], "qa/2": ["tie", "b"]}
    found = opinion("people", pairing.examples, votes, seed=0)
    assert [each.id for each in found.examples] == ["qa/0", "qa/1", "qa/2", "qa/7"]  # the last one: the same answers
    shares = found.intervals()
    assert [shares[name].value for name in ("wins", "ties", "losses")] == pytest.approx([25, 37.5, 37.5])
    assert all(each.low <= each.value <= each.high for each in shares.values())


def test_scores_are_by_length_and_task_too(pairing: Pairing) -> None:
    votes = {"qa/0": ["a"], "qa/1": ["b"], "qa/4": ["a"]}
    found = opinion("people", pairing.examples[:7], votes, seed=0)
    wins = {(each.task, each.length): (each.value, each.n) for each in found.scores() if each.metric == "wins"}
    assert wins == {
        ("people", None): (pytest.approx(200 / 3), 3),
        ("people", 1024): (50.0, 2),
        ("people", 2048): (100.0, 1),
        ("people: even", None): (100.0, 2),
        ("people: odd", None): (0.0, 1),
    }
    headline = found.headline()
    assert (headline.metric, headline.value, headline.higher_is_better) == ("preference", pytest.approx(100 / 3), True)


def test_an_interval_is_over_examples_and_stays_in_its_bounds(pairing: Pairing) -> None:
    many = [outcome(["a"])] * 60 + [outcome(["b"])] * 40
    found = interval(many, "preference", seed=0)
    assert found.value == pytest.approx(20)
    assert 0 < found.low < 5 and 35 < found.high < 42  # 1.96 * 98 / sqrt(100) = 19.2
    alike = interval([outcome(["a"])] * 10, "wins", seed=0)
    assert (alike.value, alike.high) == (100, 100) and 60 < alike.low < 100
    everyone = opinion("p", [replace(each, b=each.a) for each in pairing.examples], {}, seed=0)
    assert everyone.intervals()["ties"].value == 100


def test_kappa_is_that_of_fleiss() -> None:
    found = agreement([[str(kind) for kind, number in enumerate(row) for _ in range(number)] for row in FLEISS_1971])
    assert found.examples == 10
    assert found.raw == pytest.approx(37.8, abs=0.05)
    assert found.kappa == pytest.approx(0.210, abs=5e-4)


def test_agreement_of_few_votes() -> None:
    assert agreement([["a"], ["b"]]).raw is None
    assert "not known" in agreement([["a"]]).in_words()
    same = agreement([["a", "a"], ["a", "a", "a"]])
    assert (same.raw, same.kappa) == (100, None)
    opposed = agreement([["a", "b"], ["b", "a"]])
    assert (opposed.raw, opposed.kappa) == (0, -1)
    mixed = agreement([["a", "a", "b"], ["b", "b"], ["tie"]])  # the single vote has nobody to agree with
    assert mixed.examples == 2
    assert mixed.raw == pytest.approx(100 * (1 / 3 + 1) / 2)
    assert mixed.kappa == pytest.approx((2 / 3 - 0.52) / 0.48)
