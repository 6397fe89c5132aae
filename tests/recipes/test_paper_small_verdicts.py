"""Claims are decided by figures and their intervals alone: made-up ones here."""

import math

import pytest

from evaluation.intervals import Interval
from recipes.paper_small.claims import CLAIMS
from recipes.paper_small.computed import computed
from recipes.paper_small.figures import Figure, Figures, t_interval, written
from recipes.paper_small.published import PUBLISHED
from recipes.paper_small.scales import SCALES
from recipes.paper_small.verdicts import (
    CANNOT,
    NOT_MEASURED,
    NOT_SEEN,
    SEEN,
    Found,
    Verdict,
    able,
    better,
    every,
    no_worse,
)

SHORT, LONG = 64, 512
BY_NAME = {claim.name: claim for claim in CLAIMS}


def found(*rows: tuple[str, str, int, tuple[float, ...]]) -> Found:
    """Rows of an arm, a measure, a length and its values by seed; with what is computed."""
    made = (
        Figure(arm, measure, at, seed, value) for arm, measure, at, values in rows for seed, value in enumerate(values)
    )
    return Found(Figures([*computed(), *made]), SHORT, LONG)


def verdict(name: str, *rows: tuple[str, str, int, tuple[float, ...]]) -> str:
    return BY_NAME[name].decide(found(*rows)).word


# Intervals


def test_the_interval_is_students_t() -> None:
    value, low, high = t_interval([1.0, 2.0, 3.0]) or (0, 0, 0)
    assert value == 2
    assert high - value == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # the quantile of two degrees of freedom
    assert value - low == pytest.approx(high - value)
    assert t_interval([]) is None
    assert t_interval([5.0]) == Interval(5.0, -math.inf, math.inf)


def test_differences_are_paired_by_seed() -> None:
    figures = found(("a", "loss", LONG, (1.0, 5.0, 9.0)), ("b", "loss", LONG, (0.9, 4.9, 8.9, 100.0))).figures
    difference = figures.difference("loss", ("a", LONG), ("b", LONG))
    assert difference is not None
    assert difference.value == pytest.approx(-0.1)
    assert difference.high - difference.low < 1e-9  # however far the seeds are apart; the fourth has no partner
    assert written(difference) == "-0.100 (-0.100 to -0.100)"


# Words


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ((2.0, 2.1, 2.2), (1.9, 2.0, 2.1), SEEN),
        ((1.9, 2.0, 2.1), (2.0, 2.1, 2.2), NOT_SEEN),
        ((2.0, 2.1, 2.2), (1.9, 2.2, 2.1), NOT_SEEN),  # undecided
        ((2.0,), (1.0,), CANNOT),
        ((), (1.0, 1.0), NOT_MEASURED),
    ],
)
def test_a_lower_loss_is_better(first: tuple[float, ...], second: tuple[float, ...], word: str) -> None:
    made = found(("a", "loss", LONG, first), ("b", "loss", LONG, second))
    assert better(made, "loss", ("a", LONG), ("b", LONG)).word == word


def test_the_reason_has_the_figure_its_interval_and_what_is_wrong() -> None:
    made = found(("a", "retrieval", LONG, (50, 60, 70)), ("b", "retrieval", LONG, (49, 61, 69)))
    word, reason = better(made, "retrieval", ("a", LONG), ("b", LONG))
    assert word == NOT_SEEN
    assert reason == "retrieval of b - a at 512: -0.3 (-3.2 to 2.5) points: the interval holds 0"


@pytest.mark.parametrize(
    ("second", "word"), [((2.01, 2.01, 2.01), SEEN), ((1.0, 1.0, 1.0), SEEN), ((2.0, 2.04, 2.0), NOT_SEEN)]
)
def test_no_worse_looks_at_the_far_end(second: tuple[float, ...], word: str) -> None:
    made = found(("a", "loss", LONG, (2.0, 2.0, 2.0)), ("b", "loss", LONG, second))
    assert no_worse(made, "loss", ("a", LONG), ("b", LONG), 0.02).word == word


def test_what_nobody_can_do_tells_nothing() -> None:
    made = found(("a", "passkey", LONG, (10, 20, 30)))
    assert able(made, "passkey", ("a", LONG), 50).word == CANNOT
    assert able(made, "passkey", ("a", LONG), 15).word == SEEN
    assert able(made, "passkey", ("b", LONG), 15).word == NOT_MEASURED


def test_of_several_the_worst_word_and_its_reasons() -> None:
    seen, unseen, beyond = Verdict(SEEN, "one"), Verdict(NOT_SEEN, "two"), Verdict(CANNOT, "three")
    assert every([seen, seen]) == Verdict(SEEN, "one; one")
    assert every([seen, unseen]) == unseen
    assert every([unseen, beyond, seen]) == beyond
    assert every([unseen] * 9).reason.endswith("two; and 3 more")


# Claims


def test_every_claim_names_what_it_is_about() -> None:
    assert len(BY_NAME) == len(CLAIMS) >= 25
    assert {claim.experiment for claim in CLAIMS} == set(PUBLISHED)
    for claim in CLAIMS:
        assert any(claim.where.find(word) >= 0 for word in ("Sec.", "App."))
        assert claim.says.endswith(".")


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_without_figures_nothing_is_seen_but_what_is_computed(claim) -> None:  # type: ignore[no-untyped-def]
    words = {"slower decay": SEEN, "granularity": SEEN, "FLOPs saved": SEEN}
    words |= {"published short tasks": CANNOT, "quality over length": CANNOT}
    assert claim.decide(found()).word == words.get(claim.name, NOT_MEASURED)


RETRIEVAL = (
    ("rope/none", "retrieval", SHORT, (88, 90, 92)),
    ("rope/none", "retrieval", LONG, (8, 9, 10)),
    ("rope/PI", "retrieval", LONG, (40, 50, 45)),
    ("rope/ABF", "retrieval", SHORT, (94, 95, 96)),
)


@pytest.mark.parametrize(
    ("abf", "fails", "holds"),
    [((92, 93, 94), SEEN, SEEN), ((80, 82, 81), SEEN, NOT_SEEN), ((9, 8, 9), NOT_SEEN, NOT_SEEN)],
)
def test_retrieval_of_the_encodings(abf: tuple[float, ...], fails: str, holds: str) -> None:
    rows = (*RETRIEVAL, ("rope/ABF", "retrieval", LONG, abf))
    assert verdict("plain RoPE fails", *rows) == fails
    assert verdict("ABF holds", *rows) == holds


def test_retrieval_that_was_never_learned_cannot_tell() -> None:
    rows = [(arm, measure, at, tuple(value / 10 for value in values)) for arm, measure, at, values in RETRIEVAL]
    assert verdict("plain RoPE fails", *rows, ("rope/ABF", "retrieval", LONG, (9, 9, 9))) == CANNOT


@pytest.mark.parametrize(("pi", "word"), [((2.1, 2.1, 2.2), SEEN), ((2.4, 2.5, 2.4), NOT_SEEN)])
def test_order_of_loss(pi: tuple[float, ...], word: str) -> None:
    rows = (("rope/none", "loss", LONG, (2.3, 2.3, 2.4)), ("rope/ABF", "loss", LONG, (2.0, 2.0, 2.1)))
    assert verdict("order of loss", *rows, ("rope/PI", "loss", LONG, pi)) == word


@pytest.mark.parametrize(
    ("none", "abf", "word"), [(20, 100, SEEN), (100, 100, NOT_SEEN), (20, 90, NOT_SEEN), (0, 1, NOT_SEEN)]
)
def test_pass_keys(none: float, abf: float, word: str) -> None:
    arms = {"rope/none": none, "rope/PI": 99, "rope/ABF": abf, "rope/xPos-ABF": 98}
    assert verdict("passkey is easy", *((arm, "passkey", LONG, (value,) * 3) for arm, value in arms.items())) == word


def test_a_power_law_needs_a_fit_of_every_seed_and_a_gain_at_every_doubling() -> None:
    sizes = ("size/small", "size/medium", "size/large")
    losses = [(arm, "loss", at, (value, value + 0.1)) for arm in sizes for at, value in ((64, 3.0), (512, 2.5))]
    past = [(arm, "loss", 1_024, (9.0, 9.0)) for arm in sizes]  # not trained: does not count
    betas = [(arm, "beta", 0, (0.4, 0.5)) for arm in sizes]
    assert verdict("power law", *losses, *past, *betas) == SEEN
    assert verdict("power law", *losses, *betas[1:]) == NOT_SEEN
    assert verdict("power law", *losses, *betas, ("size/small", "loss", 256, (2.4, 2.5))) == NOT_SEEN
    assert verdict("beta rises", *losses, *betas[1:]) == NOT_SEEN  # measured, and nothing fits
    assert verdict("beta rises") == NOT_MEASURED


def test_jump_at_the_switch() -> None:
    arms = ("curriculum/20", "curriculum/40", "curriculum/80")
    jumps = [(arm, "jump", 0, (0.3, 0.31, 0.29)) for arm in arms]
    after = [(arm, "loss after the switch", 0, (-0.3, -0.31, -0.29)) for arm in arms]
    assert verdict("jump at the switch", *jumps, *after) == SEEN
    assert (
        verdict("jump at the switch", *jumps, *after[1:], (arms[0], "loss after the switch", 0, (0.1, 0.1, 0.1)))
        == NOT_SEEN
    )
    assert verdict("jump at the switch", *jumps) == NOT_MEASURED
    assert (
        verdict("jump at the switch", *((arm, name, at, values[:1]) for arm, name, at, values in (*jumps, *after)))
        == CANNOT
    )


def test_scales_grow_by_the_papers_factor() -> None:
    for scale in SCALES.values():
        assert scale.long == 8 * scale.short
        assert scale.contexts[0] == scale.short // 4
        assert scale.contexts[-1] == scale.lengths[-1] == 2 * scale.long
        assert scale.abf_base / scale.short == 500_000 / 4_096
        assert all(training.batch_tokens % scale.long == 0 for training in (scale.arms, scale.scratch))
