"""The mix as planned: shares come out, everywhere in training, and what does not is said."""

import hashlib
import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from finetune.mix import MOST_EPOCHS, TOLERANCE, Budget, By, MixPlan, lengths_of, plan_mix
from longreach.errors import UserError
from longreach.rows.copies import in_pass, numbers_of, passes_of

UNITS: tuple[By, ...] = ("tokens", "examples", "answer-tokens")


class Column:
    """A source of which only lengths are known."""

    vocab_size = 100

    def __init__(self, name: str, lengths: Sequence[int], answers: Sequence[int] | None = None) -> None:
        self.name, self.lengths = name, np.array(lengths, np.int64)
        self.answers = np.maximum(self.lengths // 4, 1) if answers is None else np.array(answers, np.int64)

    def __len__(self) -> int:
        return len(self.lengths)

    def units(self, by: By) -> np.ndarray:
        return {"tokens": self.lengths, "answer-tokens": self.answers}.get(by, np.ones(len(self), np.int64))


def long_tailed(name: str, draw: np.random.Generator) -> Column:
    """Some hundreds or thousands of examples, most of them far shorter than the longest."""
    count = int(draw.integers(300, 3000))
    lengths = np.clip(draw.lognormal(draw.uniform(4, 7.5), draw.uniform(0.3, 1.5), count), 4, 16_384).astype(int)
    return Column(name, lengths, np.maximum(1, lengths * draw.random(count)).astype(int))


def units_of(plan: MixPlan, sources: Sequence[Column], by: By) -> np.ndarray:
    """The amount of every pick."""
    return lengths_of([source.units(by) for source in sources], plan.source, plan.example)


def digest(plan: MixPlan) -> str:
    return hashlib.sha256(plan.source.tobytes() + plan.example.tobytes() + plan.steps.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("spec", range(20))
@pytest.mark.parametrize("by", UNITS)
@pytest.mark.parametrize("total", ["epochs", "steps"])
def test_shares_come_out(spec: int, by: By, total: str) -> None:
    draw = np.random.default_rng(spec)
    sources = [long_tailed(f"source{place}", draw) for place in range(int(draw.integers(2, 5)))]
    drawn = draw.dirichlet(np.ones(len(sources)))
    shares = {source.name: float(share) for source, share in zip(sources, drawn, strict=True)}
    epochs = float(draw.uniform(0.5, 3))
    batch = {"batch_size": 64} if spec % 2 else {"batch_tokens": 65_536}
    budget = Budget(steps=50, **batch) if total == "steps" else Budget(epochs=epochs, **batch)
    plan = plan_mix(sources, shares, by, budget, seed=spec)

    amounts = units_of(plan, sources, by)
    realised = np.bincount(plan.source, amounts, len(sources)) / amounts.sum()
    assert abs(realised - drawn).max() <= TOLERANCE
    assert [row.realised_share for row in plan.rows] == pytest.approx(realised)
    assert [row.planned_share for row in plan.rows] == pytest.approx(drawn)
    assert not any("of the" in note or "the mix has" in note for note in plan.notes)
    if total == "steps":
        assert len(plan.steps) == 51
        size = len(plan.source) if "batch_size" in batch else units_of(plan, sources, "tokens").sum()
        wanted = 50 * (budget.batch_size or budget.batch_tokens)
        assert size == pytest.approx(wanted, rel=0.06)
        assert any(note.startswith("a step has ") for note in plan.notes) == (abs(size / wanted - 1) > 0.02)
    else:
        held = sum(source.units(by).sum() for source in sources)
        assert amounts.sum() == pytest.approx(epochs * held, rel=TOLERANCE)
    assert_every_stretch_has_the_mix(plan, sources, by)
    assert_copies_are_even(plan, sources)
    assert_steps_are_even(plan, sources, budget)


def assert_every_stretch_has_the_mix(plan: MixPlan, sources: Sequence[Column], by: By) -> None:
    """At every position each source is as far as the whole is, up to an example of each."""
    amounts = units_of(plan, sources, by)
    whole = np.cumsum(amounts)
    of_each = [np.cumsum(amounts * (plan.source == place)) for place in range(len(sources))]
    slack = sum(amounts[plan.source == place].max(initial=0) for place in range(len(sources)))
    for place, own in enumerate(of_each):
        assert abs(own - plan.rows[place].realised_share * whole).max() <= slack


def assert_copies_are_even(plan: MixPlan, sources: Sequence[Column]) -> None:
    """No example is taken twice more than another of its source."""
    for place, source in enumerate(sources):
        copies = np.bincount(plan.example[plan.source == place], minlength=len(source))
        assert copies.max() - copies.min() <= 1
        row = plan.rows[place]
        assert (row.examples, row.tokens) == (copies.sum(), copies @ source.lengths)
        assert row.answer_tokens == copies @ source.answers


def assert_steps_are_even(plan: MixPlan, sources: Sequence[Column], budget: Budget) -> None:
    assert (plan.steps[0], plan.steps[-1]) == (0, len(plan.source))
    if budget.batch_size:
        sizes = np.diff(plan.steps)
        assert sizes.max() - sizes.min() <= 1
        return
    tokens = units_of(plan, sources, "tokens")
    sizes = np.add.reduceat(tokens, plan.steps[:-1])
    assert abs(sizes - sizes.mean()).max() <= tokens.max()
    if not budget.steps:
        assert sizes.mean() <= budget.batch_tokens < tokens.sum() / (len(sizes) - 1)


def test_all_as_they_are_means_every_example_once_in_each_pass() -> None:
    draw = np.random.default_rng(0)
    sources = [long_tailed("long", draw), long_tailed("short", draw)]
    plan = plan_mix(sources, None, "tokens", Budget(epochs=3, batch_tokens=100_000), seed=1)
    assert plan.notes == ()
    for place, source in enumerate(sources):
        passes = plan.example[plan.source == place].reshape(3, len(source))
        assert all(sorted(each) == list(range(len(source))) for each in passes.tolist())
        assert (passes[0] != passes[1]).mean() > 0.9
        assert plan.rows[place].epochs == 3.0


def test_a_source_of_which_a_part_is_taken_blends_short_and_long() -> None:
    """With 1.5 copies, either half of training has the same tokens of it."""
    source = long_tailed("short", np.random.default_rng(3))
    plan = plan_mix([source], None, "tokens", Budget(epochs=1.5, batch_size=8), seed=1)
    halves = np.array_split(source.lengths[plan.example], 2)
    assert np.median(halves[0]) == pytest.approx(np.median(halves[1]), rel=0.15)


def test_copies_fall_on_the_passes_that_in_pass_names() -> None:
    copies, passes = np.array([1, 2, 3, 5, 5, 7]), 7
    numbers = numbers_of("any", np.arange(6))
    example = np.repeat(np.arange(6), copies)
    nth = np.arange(len(example)) - np.repeat(np.cumsum(copies) - copies, copies)
    found = passes_of(copies[example], nth, numbers[example], passes)
    for number in range(passes):
        assert sorted(example[found == number]) == np.flatnonzero(in_pass(copies, numbers, passes, number)).tolist()


def test_the_plan_is_the_same_for_ever() -> None:
    """These numbers may never change: a run goes on under another version of numpy or longreach."""
    sources = [Column("long", range(100, 2000, 37)), Column("short", range(5, 90))]
    plans = [
        plan_mix(sources, shares, "tokens", Budget(batch_tokens=5000), seed)
        for shares, seed in (({"long": 0.3, "short": 0.7}, 0), ({"long": 0.3, "short": 0.7}, 1), (None, 0))
    ]
    assert [digest(plan) for plan in plans] == ["bd9511cbe9811594", "58b253a67602444d", "78243c2fc8b1e5b3"]


def test_examples_of_a_step_are_as_many_as_asked_for() -> None:
    plan = plan_mix([Column("a", [5] * 60), Column("b", [9] * 40)], None, "examples", Budget(batch_size=8), seed=0)
    assert np.diff(plan.steps).tolist() == [8] * 25
    mixed = [np.bincount(plan.source[begin : begin + 8]).tolist() for begin in plan.steps[:-1]]
    assert {tuple(each) for each in mixed} <= {(5, 3), (4, 4)}
    odd = plan_mix([Column("a", [5] * 103)], None, "examples", Budget(epochs=1, batch_size=10), seed=0)
    assert sorted(np.diff(odd.steps).tolist()) == [9] * 7 + [10] * 4


def test_steps_of_tokens_hold_an_example_at_least() -> None:
    """Even where examples are as long as a batch, and others are very short."""
    lengths = [1000, 1, 1000, 1, 1, 1, 1000, 1000, 1]
    for seed in range(20):
        plan = plan_mix([Column("a", lengths)], None, "tokens", Budget(epochs=1, batch_tokens=1000), seed)
        assert np.diff(plan.steps).min() >= 1
        assert len(plan.steps) == 6


def test_a_source_of_few_huge_examples_is_told() -> None:
    sources = [Column("huge", [10_000] * 3), Column("short", [50] * 2000)]
    budget = Budget(epochs=0.5, batch_tokens=20_000)
    plan = plan_mix(sources, {"huge": 0.22, "short": 0.78}, "tokens", budget, seed=0)
    assert plan.rows[0].tokens == 10_000
    assert plan.rows[0].realised_share == pytest.approx(10_000 / (10_000 + plan.rows[1].tokens))
    assert plan.rows[0].realised_share < 0.215
    assert any(
        note.startswith("huge has ") and "instead of 22.00%: 10,000 are the nearest it comes to 14,300" in note
        for note in plan.notes
    )
    assert any(
        note.startswith("short has ") and "others came out too large or too small" in note for note in plan.notes
    )
    assert any(note.startswith("the mix has ") for note in plan.notes)
    nothing = plan_mix(sources, {"huge": 0.003, "short": 0.997}, "tokens", budget, seed=0)
    assert nothing.rows[0].examples == 0
    assert "huge gives nothing: none of its examples is small enough for 195 tokens" in nothing.notes


def test_many_epochs_are_told() -> None:
    sources = [Column("few", [50] * 40), Column("many", [50] * 400)]
    budget = Budget(epochs=1, batch_size=10)
    twice = plan_mix(sources, {"few": 4 / 11, "many": 7 / 11}, "examples", budget, seed=0)
    assert twice.rows[0].epochs == MOST_EPOCHS
    assert twice.notes == ()
    often = plan_mix(sources, {"few": 0.5, "many": 0.5}, "examples", budget, seed=0)
    assert often.rows[0].epochs == 5.5
    assert [note for note in often.notes if note.startswith("few is read 5.5 times") and "2305.16264" in note]


def test_a_share_of_nothing_leaves_a_source_out() -> None:
    sources = [Column("long", []), Column("text", [70] * 9, [0] * 9), Column("short", [50] * 40)]
    plan = plan_mix(sources, {"long": 0, "text": 0, "short": 1}, "answer-tokens", Budget(batch_tokens=60), seed=0)
    assert set(plan.source.tolist()) == {2}
    assert [(row.examples, row.epochs, row.planned_share, row.realised_share) for row in plan.rows] == [
        (0, 0, 0, 0),
        (0, 0, 0, 0),
        (80, 2, 1, 1),
    ]


def test_too_few_examples_for_the_steps_are_told() -> None:
    """Where chance draws the long one, a few make up the tokens; steps are of an example at least."""
    sources = [Column("a", [40] + [1] * 90)]
    plans = [plan_mix(sources, None, "tokens", Budget(steps=50, batch_size=1), seed) for seed in range(20)]
    for plan in plans:
        picks = len(plan.source)
        assert len(plan.steps) - 1 == min(picks, 50)
        assert (f"{picks} examples make {picks} steps, not 50" in plan.notes) == (picks < 50)
    assert {len(plan.source) < 50 for plan in plans} == {True, False}


@pytest.mark.parametrize(
    ("shares", "by", "complaints"),
    [
        (None, "tokens", ["empty has no examples"]),
        ({"empty": 1, "text": 1, "short": 1}, "tokens", ["empty has no examples: leave it out, or give it 0 in --mix"]),
        ({"empty": 0, "text": 0.5, "short": 0.5}, "answer-tokens", ["text is text without answers"]),
        ({"empty": 0.1, "text": 0.4, "short": 0.5}, "answer-tokens", ["empty has no ex", "text is text without"]),
        ({"empty": 0, "text": 1}, "tokens", ["--mix does not name the source short"]),
        ({"empty": 0, "text": 1, "short": 1, "lang": 1}, "tokens", ["--mix names lang, which is no source here"]),
    ],
)
def test_a_mix_that_cannot_be_had_is_refused(shares: dict[str, float] | None, by: By, complaints: list[str]) -> None:
    sources = [Column("empty", []), Column("text", [70] * 9, [0] * 9), Column("short", [50] * 40)]
    with pytest.raises(UserError) as caught:
        plan_mix(sources, shares, by, Budget(batch_size=4), seed=0)
    assert all(complaint in caught.value.problem for complaint in complaints)


def test_a_batch_holds_the_longest_example() -> None:
    sources = [Column("long", [900, 1200]), Column("short", [50] * 40)]
    with pytest.raises(
        UserError, match=r"1,000 tokens cannot hold the longest example of long: raise --batch-tokens to 1200"
    ):
        plan_mix(sources, None, "tokens", Budget(batch_tokens=1000), seed=0)
    plan_mix(sources, {"long": 0, "short": 1}, "tokens", Budget(batch_tokens=1000), seed=0)


def test_a_mix_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="no example is small enough for 90 tokens in all"):
        plan_mix([Column("long", [900])], None, "tokens", Budget(epochs=0.1, batch_size=1), seed=0)


def test_planning_takes_a_few_dozen_bytes_for_each_pick() -> None:
    draw = np.random.default_rng(0)
    sources = [Column(name, draw.integers(10, 4000, 50_000)) for name in ("long", "short")]
    tracemalloc.start()
    plan = plan_mix(sources, None, "tokens", Budget(batch_tokens=100_000), seed=0)
    stays, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stays / len(plan.source) < 12
    assert peak / len(plan.source) < 100
