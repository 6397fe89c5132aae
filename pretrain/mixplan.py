"""The mix as documents: how often each one is taken, in which pass, and how near that comes to the shares planned.

Lengths and weights in, copies out: ten million documents take some six seconds and 0.6 GB. Which documents are
drawn depends on the seed, the name of the source and the document's number in it, and on nothing else of its source.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from longreach.errors import UserError
from longreach.rows.copies import Bools, Floats, expected_copies, in_pass, numbers_of, whole_copies
from pretrain.sources import SourceSpec
from pretrain.upsample import BUCKETS, Int64s, Mix, Quotas, quotas

BLOCK = 1 << 20  # documents
TOLERANCE = 0.005  # between a share of the tokens as planned and as realised

Copies = npt.NDArray[np.unsignedinteger[Any]]
Members = tuple[Bools, Bools]  # which of a source's documents are short ones to be had, and which long ones


@dataclass(frozen=True)
class Stock:
    """A source's documents: length in tokens, special ones counted, and weight (None: all alike; 0: not wanted)."""

    source: SourceSpec
    lengths: Int64s
    weights: Floats | None = None

    def members(self, long_tokens: int) -> Members:
        """The documents to be had, by length."""
        wanted = self.lengths > 0 if self.weights is None else (self.lengths > 0) & (self.weights > 0)
        long = self.lengths >= long_tokens
        return wanted & ~long, wanted & long


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """The short or the long documents of a source: what there is, what is planned, and what is taken."""

    name: str
    bucket: str
    available_documents: int
    available_tokens: int
    planned_tokens: int
    planned_share: float
    documents: int  # different ones
    tokens: int  # of all their copies
    realised_share: float

    @property
    def epochs(self) -> float:
        """How often its text is planned to be seen."""
        return self.planned_tokens / self.available_tokens if self.available_tokens else 0.0


@dataclass(frozen=True)
class Plan:
    """What each bucket gives, and how often each document is taken."""

    buckets: tuple[Bucket, ...]  # short, then long, of each source
    copies: tuple[Copies, ...]  # of each document, by source
    notes: tuple[str, ...]
    mix: Mix

    @property
    def tokens(self) -> int:
        """All tokens that the copies hold."""
        return sum(bucket.tokens for bucket in self.buckets)

    @property
    def passes(self) -> int:
        """How many passes the copies need; none holds a document twice, and all have the same blend."""
        return max(int(copies.max(initial=0)) for copies in self.copies)

    def documents_in_pass(self, source: int, number: int) -> Int64s:
        """The documents of a source, by its place, that pass `number` holds, in their order."""
        name, copies = self.buckets[source * len(BUCKETS)].name, self.copies[source]
        passes, held = self.passes, np.empty(len(copies), np.bool_)
        for begin in range(0, len(copies), BLOCK):  # what is worked out on the way is ten times as large
            some = copies[begin : begin + BLOCK]
            numbers = numbers_of(f"pass/{self.mix.seed}/{name}", np.arange(begin, begin + len(some)))
            held[begin : begin + BLOCK] = in_pass(some, numbers, passes, number)
        return np.flatnonzero(held)


def make_plan(stocks: Sequence[Stock], mix: Mix) -> Plan:
    """The mix of the stocks; UserError where it cannot be had, with the ways out."""
    _check_weights(stocks)
    members = [stock.members(mix.long_tokens) for stock in stocks]
    available = np.array(
        [[int(stock.lengths.sum(where=each)) for each in pair] for stock, pair in zip(stocks, members, strict=True)]
    )
    asked = quotas([stock.source for stock in stocks], available, mix)
    copies = tuple(_copies(*each, mix) for each in zip(stocks, members, asked.tokens, strict=True))
    plan = Plan(_buckets(stocks, members, asked, copies), copies, asked.notes, mix)
    if not plan.tokens:
        planned = int(asked.tokens.sum())
        raise UserError(f"no document is short enough for the {planned:,} tokens planned", "raise --tokens")
    return plan


def _check_weights(stocks: Sequence[Stock]) -> None:
    problems = []
    for stock in stocks:
        if stock.weights is not None:
            wrong = np.flatnonzero(~np.isfinite(stock.weights) | (stock.weights < 0))
            if wrong.size:
                what = f"{wrong.size:,} of {len(stock.weights):,} weights are negative or no numbers"
                problems.append(f"{stock.source.name}: {what}, the first of them {stock.weights[wrong[0]]}")
    if problems:
        raise UserError("\n".join(problems), "weights are numbers from 0; 0 leaves a document out")


def _copies(stock: Stock, members: Members, tokens: Int64s, mix: Mix) -> Copies:
    """How often each document of a source is taken."""
    copies = np.zeros(len(stock.lengths), dtype=np.min_scalar_type(math.ceil(mix.max_epochs)))
    for documents, wanted in zip(members, tokens.tolist(), strict=True):
        if not wanted:
            continue
        lengths = stock.lengths[documents]
        weights = None if stock.weights is None else stock.weights[documents]
        expected = expected_copies(lengths, weights, wanted, mix.max_epochs)
        numbers = numbers_of(f"copies/{mix.seed}/{stock.source.name}", np.flatnonzero(documents))
        copies[documents] = whole_copies(lengths, expected, wanted, numbers)
    return copies


def _buckets(
    stocks: Sequence[Stock], members: Sequence[Members], asked: Quotas, copies: Sequence[Copies]
) -> tuple[Bucket, ...]:
    """The plan as a table, with what the copies make of it."""
    cells = [
        (stock, bucket, documents, taken)
        for stock, pair, taken in zip(stocks, members, copies, strict=True)
        for bucket, documents in zip(BUCKETS, pair, strict=True)
    ]
    tokens = [int((taken * stock.lengths).sum(where=documents)) for stock, _, documents, taken in cells]
    total = max(1, sum(tokens))
    return tuple(
        Bucket(
            name=stock.source.name,
            bucket=bucket,
            available_documents=int(np.count_nonzero(documents)),
            available_tokens=int(stock.lengths.sum(where=documents)),
            planned_tokens=int(planned),
            planned_share=float(share),
            documents=int(np.count_nonzero(taken[documents])),
            tokens=realised,
            realised_share=realised / total,
        )
        for (stock, bucket, documents, taken), realised, planned, share in zip(
            cells, tokens, asked.tokens.flat, asked.shares.flat, strict=True
        )
    )


def offenders(plan: Plan) -> list[str]:
    """Where shares, or the tokens in all, came out more than `TOLERANCE` from the plan, and why."""
    planned = sum(bucket.planned_tokens for bucket in plan.buckets)
    found = [
        _offence(bucket) for bucket in plan.buckets if abs(bucket.realised_share - bucket.planned_share) > TOLERANCE
    ]
    if abs(plan.tokens / planned - 1) > TOLERANCE:
        found.append(f"the whole mix: {plan.tokens:,} tokens instead of {planned:,}")
    return found


def _offence(bucket: Bucket) -> str:
    shares = f"{bucket.realised_share:.2%} of the tokens instead of {bucket.planned_share:.2%}"
    share = f"{bucket.name}, {bucket.bucket}: {shares}"
    if abs(bucket.tokens - bucket.planned_tokens) <= TOLERANCE * bucket.planned_tokens:
        return f"{share}, because others came out too large or too small"
    relative = bucket.tokens / max(1, bucket.planned_tokens) - 1
    return (
        f"{share}: {bucket.tokens:,} tokens ({relative:+.1%}) are the nearest that its {bucket.available_documents:,}"
        f" documents come to {bucket.planned_tokens:,}"
    )
