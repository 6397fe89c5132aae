"""The mix as a list of examples in training order, from their lengths alone: pure, and the same for ever.

How often each example is taken makes a source's share come out: one that is too small is read several times, of one
that is too large a part is. Its copies go in passes that hold no example twice, each pass in an order of its own.
Sources are interleaved evenly: a pick stands where its middle falls in its source, on a scale from 0 to 1, so every
stretch of training has the mix. All of it follows from seed, names and lengths, and the place in training is a number.

Two million picks take about a second and a half and 65 bytes each while they are planned; 10 bytes each stay.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finetune.config import By
from finetune.item import Source, is_text
from finetune.mixspec import check_names
from longreach.errors import UserError
from longreach.rows.copies import expected_copies, numbers_of, passes_of, whole_copies

Int64s = NDArray[np.int64]

TOLERANCE = 0.005  # between a share as planned and as realised
NEAR = 0.02  # between the size of a step as asked for and as it is
MOST_PICKS = 100_000_000  # what a plan is meant for: it would take gigabytes
MOST_EPOCHS = 4  # beyond, reading again is worth ever less: Muennighoff et al., arXiv:2305.16264


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much is trained on, and how large a step is: one of the two batches. `steps` go before `epochs`."""

    epochs: float = 2.0  # passes over all that is used, in the unit of the shares
    steps: int = 0
    batch_tokens: int = 0
    batch_size: int = 0  # examples


@dataclass(frozen=True, kw_only=True)
class MixRow:
    """A source in the table of the plan."""

    name: str
    examples: int  # as often as they are taken
    tokens: int
    answer_tokens: int
    epochs: float  # in the unit of the shares
    planned_share: float
    realised_share: float


@dataclass(frozen=True, kw_only=True)
class MixPlan:
    """The example at every position of training, and the position at which each step begins, the end at last."""

    source: NDArray[np.int16]
    example: Int64s
    steps: Int64s
    rows: tuple[MixRow, ...]
    notes: tuple[str, ...]  # what came out otherwise than planned, or is unwise
    by: By


@dataclass(frozen=True)
class _Stock:
    """What there is of a source, and what is planned of it."""

    name: str
    lengths: Int64s
    answers: Int64s
    units: Int64s  # of each example: what shares are measured in
    share: float

    @property
    def available(self) -> int:
        return int(self.units.sum())


def plan_mix(
    sources: Sequence[Source], shares: Mapping[str, float] | None, by: By, budget: Budget, seed: int
) -> MixPlan:
    """The mix of the sources in these shares (None: all of each alike); UserError where it cannot be had."""
    if bool(budget.batch_tokens) == bool(budget.batch_size):
        raise ValueError("a step holds so many tokens or so many examples")
    if shares is not None:
        check_names(shares, [source.name for source in sources])
    _check([source for source in sources if shares is None or shares[source.name]], by, budget)
    stocks = _stocks(sources, shares, by)
    targets = _targets(stocks, budget)
    _check_size(stocks, targets)
    picks = [_picks(stock, target, seed) for stock, target in zip(stocks, targets, strict=True)]
    source, example = _interleaved(stocks, picks)
    if not len(source):
        raise UserError(f"no example is small enough for {sum(targets):,} {_noun(by)} in all", "train for longer")
    rows = _rows(stocks, picks)
    steps = _steps(lengths_of([stock.lengths for stock in stocks], source, example), budget)
    notes = [note for row, target in zip(rows, targets, strict=True) for note in _notes(row, target, by)]
    notes += _size_notes(rows, sum(targets), by) + _step_notes(rows, len(steps) - 1, budget)
    return MixPlan(source=source, example=example, steps=steps, rows=rows, notes=tuple(notes), by=by)


def _check(used: Sequence[Source], by: By, budget: Budget) -> None:
    """Every reason why there is no such mix."""
    problems = []
    for source in used:
        if not len(source):
            problems.append(f"{source.name} has no examples: leave it out, or give it 0 in --mix")
        elif by == "answer-tokens" and is_text(source):
            problems.append(f"{source.name} is text without answers, which has no share --by answer-tokens")
        elif 0 < budget.batch_tokens < source.lengths.max():
            longest = int(source.lengths.max())
            problems.append(
                f"a batch of {budget.batch_tokens:,} tokens cannot hold the longest example of {source.name}: "
                f"raise --batch-tokens to {longest} or more, or count examples by --batch-size"
            )
    if problems:
        raise UserError("\n".join(problems))


def _check_size(stocks: Sequence[_Stock], targets: Sequence[int]) -> None:
    """Refuse what memory would not hold: a slip of the keyboard, most likely."""
    used = [(stock, target) for stock, target in zip(stocks, targets, strict=True) if target]
    picks = sum(len(stock.units) * target / stock.available for stock, target in used)
    if picks > MOST_PICKS:
        raise UserError(
            f"that is training on {picks:,.0f} examples, more than the {MOST_PICKS:,} that can be planned",
            "give fewer --epochs or --steps, or smaller batches",
        )


def _stocks(sources: Sequence[Source], shares: Mapping[str, float] | None, by: By) -> list[_Stock]:
    """The sources as columns; without shares, each has its part of all there is."""
    columns = [
        (np.ascontiguousarray(source.lengths, np.int64), np.ascontiguousarray(source.answers, np.int64))
        for source in sources
    ]
    units = [_units(*each, by) for each in columns]
    total = max(1, sum(int(each.sum()) for each in units))
    return [
        _Stock(source.name, *each, unit, int(unit.sum()) / total if shares is None else shares[source.name])
        for source, each, unit in zip(sources, columns, units, strict=True)
    ]


def _units(lengths: Int64s, answers: Int64s, by: By) -> Int64s:
    if by == "tokens":
        return lengths
    return answers if by == "answer-tokens" else np.ones(len(lengths), np.int64)


def _targets(stocks: Sequence[_Stock], budget: Budget) -> list[int]:
    """How many units each source is to give."""
    used = [stock for stock in stocks if stock.share]
    if budget.steps:
        batch = budget.steps * (budget.batch_tokens or budget.batch_size)
        sizes = [int(stock.lengths.sum()) if budget.batch_tokens else len(stock.lengths) for stock in used]
        per_unit = sum(stock.share * size / stock.available for stock, size in zip(used, sizes, strict=True))
        total = batch / per_unit
    else:
        total = budget.epochs * sum(stock.available for stock in used)
    return [round(stock.share * total) for stock in stocks]


def _picks(stock: _Stock, target: int, seed: int) -> Int64s:
    """The examples of a source in the order of training: as often as they are wanted, pass after pass."""
    count = len(stock.lengths)
    if not target:
        return np.zeros(0, np.int64)
    documents = np.arange(count)
    expected = expected_copies(stock.units, None, target, np.inf)
    copies = whole_copies(stock.units, expected, target, numbers_of(f"copies/{seed}/{stock.name}", documents))
    example = np.repeat(documents, copies)
    nth = np.arange(len(example)) - np.repeat(np.cumsum(copies) - copies, copies)
    number = passes_of(copies[example], nth, numbers_of(f"pass/{seed}/{stock.name}", example), int(copies.max()))
    place = numbers_of(f"order/{seed}/{stock.name}", number * count + example)
    ordered: Int64s = example[np.lexsort((place, number))]
    return ordered


def _interleaved(stocks: Sequence[_Stock], picks: Sequence[Int64s]) -> tuple[NDArray[np.int16], Int64s]:
    """All picks by the place of their middle in their source, from 0 to 1."""
    middles = []
    for stock, examples in zip(stocks, picks, strict=True):
        own = stock.units[examples]
        middles.append((np.cumsum(own) - own / 2) / max(1, int(own.sum())))
    order = np.argsort(np.concatenate(middles), kind="stable")
    source = np.repeat(np.arange(len(picks), dtype=np.int16), [len(each) for each in picks])
    return source[order], np.concatenate(picks)[order]


def lengths_of(columns: Sequence[Int64s], source: NDArray[np.int16], example: Int64s) -> Int64s:
    """The length of each pick, from those of the examples of each source."""
    lengths = np.empty(len(example), np.int64)
    for place, column in enumerate(columns):
        own = source == place
        lengths[own] = column[example[own]]
    return lengths


def _steps(lengths: Int64s, budget: Budget) -> Int64s:
    """Where steps begin that hold equally many examples, or as equally many tokens as examples do, one at least."""
    picks, total = len(lengths), int(lengths.sum())
    wanted = budget.steps or -(-picks // budget.batch_size if budget.batch_size else -total // budget.batch_tokens)
    count = min(wanted, picks)
    begins = np.arange(count + 1)
    if budget.batch_size:
        return begins * picks // count
    middles = np.cumsum(lengths) - lengths / 2
    cuts = np.searchsorted(middles, begins * (total / count))
    cuts[0], cuts[-1] = 0, picks
    cuts = np.maximum.accumulate(cuts - begins) + begins
    steps: Int64s = np.minimum(cuts, picks - count + begins)
    return steps


def _rows(stocks: Sequence[_Stock], picks: Sequence[Int64s]) -> tuple[MixRow, ...]:
    units = [int(stock.units[each].sum()) for stock, each in zip(stocks, picks, strict=True)]
    total = max(1, sum(units))
    return tuple(
        MixRow(
            name=stock.name,
            examples=len(each),
            tokens=int(stock.lengths[each].sum()),
            answer_tokens=int(stock.answers[each].sum()),
            epochs=taken / max(1, stock.available),
            planned_share=stock.share,
            realised_share=taken / total,
        )
        for stock, each, taken in zip(stocks, picks, units, strict=True)
    )


def _notes(row: MixRow, target: int, by: By) -> Iterator[str]:
    """Where a source is missing or far from its share, and where it is read very often."""
    taken = _taken(row, by)
    if row.planned_share and not row.examples:
        yield f"{row.name} gives nothing: none of its examples is small enough for {target:,} {_noun(by)}"
    elif abs(row.realised_share - row.planned_share) > TOLERANCE:
        near = abs(taken - target) <= TOLERANCE * target
        why = "others came out too large or too small" if near else f"{taken:,} are the nearest it comes to {target:,}"
        yield f"{row.name} has {row.realised_share:.2%} of the {_noun(by)} instead of {row.planned_share:.2%}: {why}"
    if row.epochs > MOST_EPOCHS:
        yield (
            f"{row.name} is read {row.epochs:.1f} times: after {MOST_EPOCHS} epochs, reading again is worth ever less "
            "(Muennighoff et al., arXiv:2305.16264)"
        )


def _size_notes(rows: Sequence[MixRow], planned: int, by: By) -> list[str]:
    """Where the whole is far from its size."""
    taken = sum(_taken(row, by) for row in rows)
    far = abs(taken - planned) > TOLERANCE * planned
    return [f"the mix has {taken:,} {_noun(by)} instead of {planned:,}"] if far else []


def _step_notes(rows: Sequence[MixRow], steps: int, budget: Budget) -> list[str]:
    """Where the steps asked for are fewer, or of another size since examples of other lengths were drawn."""
    if not budget.steps:
        return []
    if steps < budget.steps:
        return [f"{steps:,} examples make {steps:,} steps, not {budget.steps:,}"]
    wanted, noun = (budget.batch_tokens, "tokens") if budget.batch_tokens else (budget.batch_size, "examples")
    size = sum(row.tokens if budget.batch_tokens else row.examples for row in rows) / steps
    return [f"a step has {size:,.1f} {noun} instead of {wanted:,}"] if abs(size - wanted) > NEAR * wanted else []


def _taken(row: MixRow, by: By) -> int:
    return {"tokens": row.tokens, "examples": row.examples, "answer-tokens": row.answer_tokens}[by]


def _noun(by: By) -> str:
    return by.replace("-", " ")
