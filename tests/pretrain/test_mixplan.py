"""The whole plan: real lengths and tiny corpora, weights, the cap, passes, and what is said where it cannot fit."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import UserError
from pretrain.mixplan import TOLERANCE, Plan, Stock, make_plan, offenders
from pretrain.sources import SourceSpec
from pretrain.upsample import Mix

LONG = 8_192


def stock(name: str, lengths: Any, share: float | None = None, weights: Any = None) -> Stock:
    weights = None if weights is None else np.array(weights, np.float32)
    return Stock(SourceSpec(name, ("x",), share), np.array(lengths, np.int64), weights)


def lognormal(count: int, middle: float, spread: float = 1.3, seed: int = 1) -> np.ndarray:
    return (middle * np.exp(spread * np.random.default_rng(seed).normal(size=count))).astype(np.int64) + 1


def plan_of(*stocks: Stock, long_tokens: int = LONG, **asked: Any) -> Plan:
    return make_plan(stocks, Mix(long_tokens=long_tokens, **asked))


def realised(plan: Plan) -> dict[tuple[str, str], float]:
    return {(bucket.name, bucket.bucket): bucket.realised_share for bucket in plan.buckets}


def five() -> list[Stock]:
    """Sources as they come: web pages, articles, code, papers and books."""
    return [
        stock("web", lognormal(20_000, 600), 0.4),
        stock("wiki", lognormal(9_000, 900, 1.0, 2), 0.1),
        stock("code", lognormal(6_000, 2_000, 1.5, 3), 0.2),
        stock("papers", lognormal(2_000, 9_000, 0.7, 4), 0.2),
        stock("books", lognormal(300, 90_000, 0.8, 5), 0.1),
    ]


@pytest.mark.parametrize(
    ("asked", "long"),
    [
        ({}, None),
        ({"upsample_long": 5.0}, None),
        ({"long_share": 0.6}, 0.9 * 0.6 + 0.1),
        ({"long_share": 0.34, "upsample_over": "corpus"}, 0.34),
    ],
)
def test_five_sources_come_out_as_planned(asked: dict[str, Any], long: float | None) -> None:
    plan = plan_of(*five(), tokens=5_000_000, max_epochs=8, **asked)
    assert offenders(plan) == []
    assert sum(bucket.planned_tokens for bucket in plan.buckets) == 5_000_000
    assert plan.tokens == pytest.approx(5_000_000, rel=0.001)
    assert sum(bucket.planned_share for bucket in plan.buckets) == pytest.approx(1)
    assert sum(bucket.realised_share for bucket in plan.buckets) == pytest.approx(1)
    if asked.get("upsample_over") != "corpus":
        for place, share in enumerate((0.4, 0.1, 0.2, 0.2, 0.1)):
            assert sum(bucket.realised_share for bucket in plan.buckets[2 * place : 2 * place + 2]) == pytest.approx(
                share, abs=TOLERANCE
            )
    if long is not None:  # of the corpus, or of all sources but books, which have no short ones
        assert sum(share for (_, length), share in realised(plan).items() if length == "long") == pytest.approx(
            long, abs=TOLERANCE
        )


def test_a_row_tells_what_there_is_what_is_planned_and_what_is_taken() -> None:
    short, long = plan_of(
        stock("a", [100] * 50 + [9_000] * 10 + [0]), long_share=0.5, tokens=8_000, long_tokens=9_000
    ).buckets
    assert (short.name, short.bucket, long.bucket) == ("a", "short", "long")
    assert (short.available_documents, short.available_tokens, short.planned_tokens) == (50, 5_000, 4_000)
    assert (short.documents, short.tokens, short.epochs, short.planned_share) == (40, 4_000, 0.8, 0.5)
    assert (long.available_documents, long.available_tokens, long.planned_tokens) == (10, 90_000, 4_000)
    assert (long.documents, long.tokens) == (0, 0)
    assert short.realised_share == 1
    (twice, _) = plan_of(stock("a", [100] * 50), tokens=10_000).buckets
    assert (twice.documents, twice.tokens, twice.epochs) == (50, 10_000, 2)


def test_one_pass_takes_every_document_once() -> None:
    for asked in ({}, {"upsample_long": 1.0}, {"upsample_long": 1.0, "upsample_over": "corpus"}):
        plan = plan_of(stock("a", lognormal(500, 3_000)), stock("b", lognormal(90, 9_000)), **asked)
        assert all((copies == 1).all() for copies in plan.copies)
        assert plan.passes == 1
        assert plan.notes == ()
        assert plan.documents_in_pass(1, 0).tolist() == list(range(90))


@pytest.mark.parametrize(
    "lengths", [[1], [50_000], [5, 9_000], [100] * 7, [20_000] * 3, [10, 20, 10**9], [0, 0, 3], [1] * 9 + [10**6]]
)
@pytest.mark.parametrize(
    "asked", [{}, {"long_share": 0.6}, {"upsample_long": 7.0}, {"long_share": 0.6, "upsample_over": "corpus"}]
)
def test_tiny_corpora_give_a_plan(lengths: list[int], asked: dict[str, Any]) -> None:
    plan = plan_of(stock("a", lengths), **asked)
    assert plan.tokens > 0
    assert max(copies.max() for copies in plan.copies) <= 4
    assert plan.copies[0][np.array(lengths) == 0].sum() == 0
    if "long_share" in asked and (max(lengths) < LONG or min(filter(None, lengths)) >= LONG):
        assert any("all its tokens stay" in note for note in plan.notes)
        assert (plan.copies[0][np.array(lengths) > 0] == 1).all()


def test_sources_without_documents_are_noted_or_refused() -> None:
    plan = plan_of(stock("a", [10, 20]), stock("b", []), stock("c", [0, 0]), stock("d", [7], weights=[0]))
    assert plan.notes == ("b gave no documents", "c gave no documents", "d gave no documents")
    assert [len(copies) for copies in plan.copies] == [2, 0, 2, 1]
    assert len(plan.buckets) == 8
    with pytest.raises(UserError, match="the sources gave no documents"):
        plan_of(stock("a", []))
    with pytest.raises(UserError, match="no document is short enough for the 10 tokens planned"):
        plan_of(stock("a", [1_000]), tokens=10)


@given(
    st.lists(st.lists(st.integers(0, 30_000), min_size=1, max_size=30).filter(any), min_size=1, max_size=4),
    st.floats(1, 6),
    st.none() | st.floats(0, 1),
    st.integers(0, 9),
)
def test_copies_keep_the_cap_the_seed_and_the_passes(
    sources: list[list[int]], most: float, long_share: float | None, seed: int
) -> None:
    stocks = [
        stock(f"s{place}", lengths, weights=[1 + place % 3 for place in range(len(lengths))])
        for place, lengths in enumerate(sources)
    ]
    asked = {"max_epochs": most, "long_share": long_share, "seed": seed}
    try:
        plan = plan_of(*stocks, **asked)
    except UserError as error:
        assert "no document is short enough" in error.problem
        return
    for place, copies in enumerate(plan.copies):
        assert copies.max() <= np.ceil(most)
        held = [plan.documents_in_pass(place, number) for number in range(plan.passes)]
        assert all(len(np.unique(each)) == len(each) for each in held)
        assert (np.bincount(np.concatenate(held), minlength=len(copies)) == copies).all()
    again = plan_of(*stocks, **asked)
    assert all((one == other).all() for one, other in zip(plan.copies, again.copies, strict=True))


def test_another_seed_or_name_draws_others_to_the_same_shares() -> None:
    lengths = lognormal(3_000, 3_000)
    plans = [
        plan_of(stock(name, lengths), tokens=3_000_000, long_share=0.5, seed=seed)
        for name, seed in (("a", 0), ("a", 1), ("b", 0))
    ]
    assert len({plan.copies[0].tobytes() for plan in plans}) == 3
    assert len({tuple(bucket.planned_tokens for bucket in plan.buckets) for plan in plans}) == 1


def test_a_source_beside_it_does_not_change_which_documents_are_drawn() -> None:
    lengths = lognormal(3_000, 3_000)
    alone = plan_of(stock("a", lengths), tokens=1_000_000)
    beside = plan_of(stock("b", lengths, 0.5), stock("a", lengths, 0.5), tokens=2_000_000)
    assert (alone.copies[0] == beside.copies[1]).all()


def test_the_order_of_documents_changes_no_share() -> None:
    lengths = lognormal(3_000, 4_000)
    one, other = (
        plan_of(stock("a", each), stock("b", each // 3 + 1), tokens=4_000_000, long_share=0.7)
        for each in (lengths, lengths[::-1])
    )
    for first, second in zip(one.buckets, other.buckets, strict=True):
        assert first.planned_share == second.planned_share
        assert first.planned_tokens == second.planned_tokens
        assert first.realised_share == pytest.approx(second.realised_share, abs=TOLERANCE / 2)


def test_better_documents_are_taken_more_often_within_their_bucket() -> None:
    lengths = np.tile(lognormal(1_000, 5_000), 4)
    weights = np.repeat([0.0, 1, 2, 8], 1_000)
    plan = plan_of(stock("a", lengths, weights=weights), tokens=int(lengths[:1_000].sum()) * 4, long_share=0.5)
    means = [plan.copies[0][weights == weight].mean() for weight in (0, 1, 2, 8)]
    assert means[0] == 0
    assert means[1] < means[2] < means[3] <= 4
    assert offenders(plan) == []


def test_wrong_weights_are_told() -> None:
    with pytest.raises(UserError) as raised:
        plan_of(
            stock("a", [1, 2, 3], weights=[1, -2, np.nan]),
            stock("b", [1], weights=[np.inf]),
            stock("c", [1], weights=[1]),
        )
    assert raised.value.problem.splitlines() == [
        "a: 2 of 3 weights are negative or no numbers, the first of them -2.0",
        "b: 1 of 1 weights are negative or no numbers, the first of them inf",
    ]


def test_every_pass_has_the_same_blend() -> None:
    stocks = [stock("web", lognormal(20_000, 900)), stock("books", lognormal(4_000, 9_000, 0.7, 2))]
    plan = plan_of(*stocks, long_share=0.9, tokens=100_000_000)
    assert plan.passes == 4
    for number in range(plan.passes):
        held = [stocks[place].lengths[plan.documents_in_pass(place, number)] for place in range(2)]
        tokens = sum(int(each.sum()) for each in held)
        assert tokens == pytest.approx(plan.tokens / plan.passes, rel=0.05)
        assert sum(int(each[each >= LONG].sum()) for each in held) / tokens == pytest.approx(0.9, abs=0.02)


def test_shares_that_documents_cannot_give_are_told_with_the_reason() -> None:
    plan = plan_of(stock("a", [100] * 1_000), stock("b", [40_000] * 3), tokens=100_000, long_share=0.5)
    told = offenders(plan)
    assert plan.tokens == 45_500 + 40_000  # one document of b is nearer to 54,545 than two
    assert any(line.startswith("b, long: ") and "that its 3 documents come to" in line for line in told)
    assert any(
        line.startswith("a, short: ") and line.endswith("because others came out too large or too small")
        for line in told
    )
    assert told[-1].startswith("the whole mix: ")
    assert told[-1].endswith("tokens instead of 100,000")


def test_the_cap_names_the_source() -> None:
    with pytest.raises(UserError, match=r"b, long: 6\.0 epochs .*--max-epochs is 4"):
        plan_of(stock("a", [100] * 1_000), stock("b", [10_000]), tokens=120_000, long_share=0.5, upsample_over="corpus")
    plan = plan_of(
        stock("a", [100] * 1_000),
        stock("b", [10_000]),
        tokens=120_000,
        long_share=0.5,
        upsample_over="corpus",
        max_epochs=300,
    )
    assert plan.copies[1].tolist() == [6]
    assert plan.copies[1].dtype == np.uint16
