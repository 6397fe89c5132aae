"""All that `pretrain rope` says about a base model at a length, as one value: computed here, shown elsewhere."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longreach.model.rope import ABF, NONE, NTK, PI, XPOS_ABF, YARN, Rope
from pretrain.rope.advice import PAPER_BASE, PAPER_LENGTH, PUBLISHED, Advice, advise
from pretrain.rope.critical import critical_dimension, extrapolation_limit, least_base
from pretrain.rope.decay import granularity, scores
from pretrain.rope.reach import base_reach, larger_but_shorter, reach, smallest_base
from pretrain.rope.rotary import Rotary

POINTS = 32_769  # most distances of a curve
FURTHEST = 1_048_576  # or twice the length: as far as reaches are followed


@dataclass(frozen=True)
class Method:
    """A RoPE on this model. `curve` are its raw scores at the distances of the analysis."""

    rope: Rope
    granularity: float
    reach: int | None
    curve: NDArray[np.float64]

    @property
    def relative(self) -> NDArray[np.float64]:
        """The curve as shares of the score at distance 0."""
        shares: NDArray[np.float64] = self.curve / self.curve[0]
        return shares


@dataclass(frozen=True)
class Base:
    """A base, how far it reaches with this model's heads, and whose it is."""

    base: float
    reach: int | None
    source: str
    length: int | None = None  # for which it was published


@dataclass(frozen=True)
class Bound:
    """The critical dimension of arXiv:2310.05209 and what follows from it."""

    dimension: int
    limit: float  # length, for the base that is recommended
    least_base: float  # for the length asked about


@dataclass(frozen=True)
class Analysis:
    """A model at a length. A reach of None is one of `limit` or more."""

    rotary: Rotary
    seq_len: int
    limit: int
    distances: NDArray[np.int64]
    methods: tuple[Method, ...]
    bases: tuple[Base, ...]
    smallest: float | None
    larger: tuple[float, int] | None  # a base above the smallest that reaches less, and how far
    bound: Bound | None
    advice: Advice


def analyse(rotary: Rotary, seq_len: int) -> Analysis:
    """Every figure; two seconds at 32,768 tokens, ten at a million on one core."""
    advice, limit = advise(rotary, seq_len), max(2 * seq_len, FURTHEST)
    distances = np.unique(np.linspace(0, seq_len, min(seq_len + 1, POINTS)).round().astype(np.int64))
    smallest = smallest_base(rotary.dim, seq_len)
    return Analysis(
        rotary=rotary,
        seq_len=seq_len,
        limit=limit,
        distances=distances,
        methods=tuple(_method(rotary, rope, distances, limit) for rope in methods(rotary, seq_len, advice.base)),
        bases=tuple(_bases(rotary, limit, smallest, advice)),
        smallest=smallest,
        larger=larger_but_shorter(smallest, rotary.dim, seq_len) if smallest else None,
        bound=_bound(rotary, seq_len, advice.base),
        advice=advice,
    )


def methods(rotary: Rotary, seq_len: int, advised: float) -> list[Rope]:
    """What can be set on this model for this length, from RoPE as it is to the base advised."""
    found = [Rope(NONE)]
    if rotary.scaling:
        return found
    factor = math.ceil(100 * seq_len / rotary.window) / 100
    if factor > 1:
        found += [Rope(PI, factor), Rope(NTK, factor), Rope(YARN, factor)]
    bases = sorted({base for base in (PAPER_BASE, advised) if base > rotary.base})
    found += [Rope(ABF, base) for base in bases]
    if rotary.family == "llama" and seq_len <= PAPER_LENGTH:
        found += [Rope(XPOS_ABF, base) for base in bases[:1]]
    return found


def _method(rotary: Rotary, rope: Rope, distances: NDArray[np.int64], limit: int) -> Method:
    frequencies = rotary.under(rope)
    curve = scores(frequencies, distances, xpos=rope.method == XPOS_ABF)
    return Method(rope, granularity(frequencies), reach(frequencies, limit), curve)


def _bases(rotary: Rotary, limit: int, smallest: float | None, advice: Advice) -> Iterator[Base]:
    """The model's own, those published, the smallest that covers the length, the one advised; each once, in order."""
    own = f"of {rotary.name}, without its scaling" if rotary.scaling else f"of {rotary.name}"
    found = [(entry.base, entry.source) for entry in PUBLISHED]
    found += [(rotary.base, own), (advice.base, "recommended")]
    found += [(smallest, "smallest found to cover the length")] if smallest else []
    lengths = {entry.base: entry.length for entry in PUBLISHED}
    for base in sorted({base for base, _ in found}):
        whose = "; ".join(source for other, source in found if other == base)
        yield Base(base, base_reach(base, rotary.dim, limit), whose, lengths.get(base))


def _bound(rotary: Rotary, seq_len: int, base: float) -> Bound | None:
    if rotary.scaling:
        return None
    critical = critical_dimension(rotary.dim, rotary.base, rotary.window)
    limit = extrapolation_limit(rotary.dim, critical, base)
    return Bound(critical, limit, least_base(rotary.dim, critical, seq_len))
