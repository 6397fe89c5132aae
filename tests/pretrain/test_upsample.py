"""The shares and tokens of each bucket: what stays, what shifts, and what cannot be had."""

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from longreach.errors import UserError
from pretrain.sources import SourceSpec
from pretrain.upsample import Mix, Quotas, bucket_shares, quotas

Table = list[tuple[int, int]]

TABLES = st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)).filter(any), min_size=1, max_size=6)
ASKED = st.one_of(
    st.just({}),
    st.builds(lambda share: {"long_share": share}, st.floats(0, 1)),
    st.builds(lambda factor: {"upsample_long": factor}, st.floats(0.01, 100)),
)


def specs_of(count: int, shares: dict[int, float] | None = None) -> list[SourceSpec]:
    return [SourceSpec(f"s{place}", ("x",), (shares or {}).get(place)) for place in range(count)]


def shares_of(table: Table, given_shares: dict[int, float] | None = None, **asked: Any) -> Any:
    return bucket_shares(specs_of(len(table), given_shares), np.array(table), Mix(long_tokens=8_192, **asked))


def quotas_of(table: Table, given_shares: dict[int, float] | None = None, **asked: Any) -> Quotas:
    return quotas(specs_of(len(table), given_shares), np.array(table), Mix(long_tokens=8_192, **asked))


def test_without_a_wish_the_corpus_is_taken_once_as_it_is() -> None:
    table = [(70, 30), (500, 0), (1, 399)]
    assert quotas_of(table).tokens.tolist() == [list(row) for row in table]
    assert quotas_of(table).notes == ()


def test_within_sources_long_text_gets_its_part_and_sources_keep_theirs() -> None:
    shares = shares_of([(60, 40), (250, 50)], long_share=0.7)
    assert shares == pytest.approx(np.array([[0.25 * 0.3, 0.25 * 0.7], [0.75 * 0.3, 0.75 * 0.7]]))


def test_over_the_corpus_length_alone_decides() -> None:
    shares = shares_of([(60, 40), (250, 50)], long_share=0.7, upsample_over="corpus")
    assert shares[:, 1] == pytest.approx(np.array([0.7 * 40 / 90, 0.7 * 50 / 90]))
    assert shares[:, 0] == pytest.approx(np.array([0.3 * 60 / 310, 0.3 * 250 / 310]))


def test_a_factor_multiplies_what_long_text_has_beside_short() -> None:
    shares = shares_of([(60, 40), (300, 0)], upsample_long=3.0)
    assert shares == pytest.approx(np.array([[0.25 * 60 / 180, 0.25 * 120 / 180], [0.75, 0]]))
    shares = shares_of([(60, 40), (300, 0)], upsample_long=3.0, upsample_over="corpus")
    assert shares == pytest.approx(np.array([[60, 120], [300, 0]]) / 480)


@pytest.mark.parametrize("scope", ["source", "corpus"])
def test_a_factor_of_one_changes_nothing(scope: str) -> None:
    table = [(60, 40), (250, 50), (7, 0), (0, 9)]
    assert shares_of(table, {1: 0.5}, upsample_long=1.0, upsample_over=scope) == pytest.approx(
        shares_of(table, {1: 0.5})
    )


@given(TABLES, ASKED, st.sampled_from(["source", "corpus"]), st.booleans())
def test_shares_sum_to_one_and_only_the_corpus_scope_moves_sources(
    table: Table, asked: dict[str, float], scope: str, shared: bool
) -> None:
    given_shares = {0: 0.25} if shared and len(table) > 1 else None
    shares = shares_of(table, given_shares, upsample_over=scope, **asked)
    assert math.isclose(shares.sum(), 1, rel_tol=1e-9)
    assert (shares >= 0).all()
    assert not shares[np.array(table) == 0].any()
    if scope == "source":
        assert shares.sum(axis=1) == pytest.approx(shares_of(table, given_shares).sum(axis=1))


@given(TABLES, ASKED, st.sampled_from(["source", "corpus"]), st.floats(1, 8))
def test_tokens_follow_shares_and_no_bucket_passes_the_cap(
    table: Table, asked: dict[str, float], scope: str, most: float
) -> None:
    result = quotas_of(table, None, upsample_over=scope, max_epochs=most, **asked)
    available = np.array(table)
    assert (result.tokens <= available * most).all()
    budget = result.tokens.sum()
    assert budget <= available.sum()
    assert np.abs(result.tokens - result.shares * budget).max() <= 1 + available.size + 1e-8 * budget
    if budget < available.sum() - available.size:  # lowered: because a bucket is at its cap, and that is said
        full = np.maximum(available * most - result.tokens, 0)[result.shares > 0]
        assert full.min() <= available.size + 1e-6 * budget
        assert any("tokens are planned" in note for note in result.notes)


@given(TABLES, ASKED, st.integers(1, 10**9))
def test_a_budget_is_met_to_the_token_or_refused_with_one_that_fits(
    table: Table, asked: dict[str, float], tokens: int
) -> None:
    try:
        result = quotas_of(table, tokens=tokens, **asked)
    except UserError as error:
        found = re.search(r"largest --tokens that fits is (\d+)", error.hint)
        assert found
        fits = int(found[1])
        assert fits < tokens
        assume(fits > 0)
        assert quotas_of(table, tokens=fits, **asked).tokens.sum() == pytest.approx(fits, abs=2 * len(table))
        with pytest.raises(UserError):
            quotas_of(table, tokens=math.ceil(fits * (1 + 1e-8)) + 1, **asked)
    else:
        assert result.tokens.sum() == pytest.approx(tokens, abs=2 * len(table))


def test_a_budget_beyond_the_cap_names_bucket_epochs_and_ways_out() -> None:
    with pytest.raises(UserError) as raised:
        quotas_of([(900, 100), (1_000, 0)], long_share=0.5, tokens=2_000)
    assert raised.value.problem == "s0, long: 5.0 epochs (500 tokens out of 100), and --max-epochs is 4"
    assert "largest --tokens that fits is 1600" in raised.value.hint
    assert "--max-epochs to 5" in raised.value.hint
    assert quotas_of([(900, 100), (1_000, 0)], long_share=0.5, tokens=1_600).tokens.tolist() == [[400, 400], [800, 0]]
    assert quotas_of([(900, 100), (1_000, 0)], long_share=0.5, tokens=2_000, max_epochs=5).tokens[0, 1] == 500


def test_one_pass_is_lowered_aloud() -> None:
    result = quotas_of([(900, 100), (1_000, 0)], long_share=0.5)
    assert result.tokens.sum() == 1_600
    assert result.notes[-1] == (
        "1,600 tokens are planned: all 2,000 would need more than the 4 of --max-epochs of s0, long: 5.0 epochs "
        "(500 tokens out of 100)"
    )


def test_sources_without_one_kind_are_noted() -> None:
    notes = quotas_of([(900, 100), (1_000, 0), (0, 50), (0, 0)], long_share=0.5, tokens=100).notes
    assert notes[:3] == (
        "s3 gave no documents",
        "s1 has no documents of at least 8,192 tokens: all its tokens stay short",
        "s2 has no documents shorter than 8,192 tokens: all its tokens stay long",
    )
    over = quotas_of([(900, 0), (90, 0)], long_share=0.5, upsample_over="corpus").notes
    assert over == ("the corpus has no documents of at least 8,192 tokens: all its tokens stay short",)
    assert quotas_of([(900, 0), (90, 0)]).notes == ()


def test_shares_that_move_and_odd_sums_are_noted() -> None:
    notes = quotas_of([(60, 40), (250, 50)], long_share=0.7, upsample_over="corpus").notes
    assert notes[0].endswith("the shares of sources: s0 25.0% -> 36.9%, s1 75.0% -> 63.1%")
    assert quotas_of([(60, 40), (250, 50)], {0: 0.3, 1: 0.6}).notes[0].startswith("the shares sum to 0.9")


def test_a_source_can_have_a_long_share_of_its_own_unless_one_is_asked_for() -> None:
    specs = [SourceSpec("code", ("x",), None, 1.0), SourceSpec("web", ("y",))]
    available = np.array([[60, 40], [250, 50]])
    own = bucket_shares(specs, available, Mix(long_tokens=9))
    assert own == pytest.approx(np.array([[0, 0.25], [0.75 * 5 / 6, 0.75 / 6]]))
    asked = bucket_shares(specs, available, Mix(long_tokens=9, long_share=0.5))
    assert asked == pytest.approx(np.array([[0.125, 0.125], [0.375, 0.375]]))
    assert quotas(specs[:1], np.array([[60, 0]]), Mix(long_tokens=9)).notes[0].startswith("code has no documents of at")


def test_shares_of_sources_that_gave_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="the sources gave no documents"):
        quotas_of([(0, 0)])
    with pytest.raises(UserError) as raised:
        quotas_of([(0, 0), (0, 0), (5, 5), (0, 0)], {0: 0.3, 1: 0.2, 2: 0.1})
    assert raised.value.problem.splitlines() == [
        "s0 is to have a share of the tokens, but gave no documents",
        "s1 is to have a share of the tokens, but gave no documents",
        "no source without a share gave documents, so that nothing can have what the shares leave",
    ]
