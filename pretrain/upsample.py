"""The length-upsampled mix: how many tokens come from the short and the long documents of each source.

Each source has two buckets. Its share of the tokens is split between them as the corpus has it, or as `long_share` or
`upsample_long` say. Within each source (the default) the sources keep their shares, which serves long context better
than taking long documents wherever they are (Fu et al. 2024, arXiv:2402.10171); over the corpus, length alone decides.
No bucket is seen more than `max_epochs` times: up to 4 times, repeated text is nearly as good as new (Muennighoff et
al. 2023, arXiv:2305.16264). Pure arithmetic on a small table, [source, short or long]; documents are in mixplan.py.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from longreach.errors import UserError
from pretrain.sources import SourceSpec, divide, reading_of

BUCKETS = ("short", "long")

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What is asked of the mix."""

    long_tokens: int  # documents from this length on are long
    long_share: float | None = None  # this or the next, not both
    upsample_long: float | None = None
    upsample_over: str = "source"  # or corpus
    tokens: int = 0  # 0: one pass through the corpus, or less where that would need a bucket too often
    max_epochs: float = 4.0
    seed: int = 0

    @property
    def lengthens(self) -> bool:
        """Whether long text is to have another part than the corpus gives it."""
        return self.long_share is not None or self.upsample_long is not None


@dataclass(frozen=True)
class Quotas:
    """The share of all tokens, and the tokens, that each bucket is to have."""

    shares: Float64s  # [source, bucket], sums to 1
    tokens: Int64s  # [source, bucket]
    notes: tuple[str, ...]


def quotas(specs: Sequence[SourceSpec], available: Int64s, mix: Mix) -> Quotas:
    """What each bucket is to give, from the tokens `available` in it; UserError where it cannot."""
    _check_available(specs, available)
    shares = bucket_shares(specs, available, mix)
    budget, lowered = _budget(specs, available, shares, mix)
    most = np.floor(available * mix.max_epochs).astype(np.int64)
    tokens = np.minimum(_rounded(shares * budget), most)
    notes = *reading_of(specs), *_gaps(specs, available, mix), *_shifts(specs, available, shares), *lowered
    return Quotas(shares, tokens, notes)


def bucket_shares(specs: Sequence[SourceSpec], available: Int64s, mix: Mix) -> Float64s:
    """The share of all tokens that each bucket is to have."""
    totals = available.sum(axis=1)
    sources = np.array(divide([spec.share for spec in specs], totals.tolist()))
    shares: Float64s = sources[:, None] * (available / np.maximum(totals, 1)[:, None])
    if mix.lengthens and mix.upsample_over == "corpus":
        return _lengthened(shares, mix.long_share, mix.upsample_long)
    for place, spec in enumerate(specs):
        long_share = mix.long_share if mix.lengthens else spec.long_share
        shares[[place]] = _lengthened(shares[[place]], long_share, mix.upsample_long)
    return shares


def _lengthened(shares: Float64s, long_share: float | None, factor: float | None) -> Float64s:
    """Shares of the same sum, of which long text has the part asked for, where there is text of both kinds."""
    short, long = shares.sum(axis=0)
    if not short or not long or (long_share is None and factor is None):
        return shares
    part = long_share if long_share is not None else factor * long / (short + factor * long)
    lengthened: Float64s = shares * ((short + long) * np.array([(1 - part) / short, part / long]))
    return lengthened


def _check_available(specs: Sequence[SourceSpec], available: Int64s) -> None:
    totals = available.sum(axis=1)
    if not totals.any():
        raise UserError("the sources gave no documents", "skipped.jsonl says why")
    empty = [spec.name for spec, tokens in zip(specs, totals, strict=True) if spec.share is not None and not tokens]
    problems = [f"{name} is to have a share of the tokens, but gave no documents" for name in empty]
    without = [tokens for spec, tokens in zip(specs, totals, strict=True) if spec.share is None]
    if without and not any(without) and len(without) < len(specs):
        problems.append("no source without a share gave documents, so that nothing can have what the shares leave")
    if problems:
        raise UserError("\n".join(problems), "mend or leave out those sources; skipped.jsonl says why they gave none")


def _budget(specs: Sequence[SourceSpec], available: Int64s, shares: Float64s, mix: Mix) -> tuple[int, tuple[str, ...]]:
    """The tokens of the whole mix, and a note where one pass is too many."""
    used = shares > 0
    most = math.floor((mix.max_epochs * available[used] / shares[used]).min() * (1 + 1e-9))
    budget = mix.tokens or int(available.sum())
    if budget <= most:
        return budget, ()
    epochs = np.where(used, budget * shares / np.maximum(available, 1), 0)
    beyond = [
        f"{specs[place].name}, {BUCKETS[bucket]}: {epochs[place, bucket]:.1f} epochs"
        f" ({budget * shares[place, bucket]:,.0f} tokens out of {available[place, bucket]:,})"
        for place, bucket in np.argwhere(epochs > mix.max_epochs)
    ]
    if not mix.tokens:
        why = f"all {budget:,} would need more than the {mix.max_epochs:g} of --max-epochs of {'; '.join(beyond)}"
        return most, (f"{most:,} tokens are planned: {why}",)
    raise UserError(
        "\n".join(f"{each}, and --max-epochs is {mix.max_epochs:g}" for each in beyond),
        f"the largest --tokens that fits is {most}; or raise --max-epochs to {math.ceil(epochs.max())}, "
        "lower the share of that source or of that length, or add documents",
    )


def _rounded(tokens: Float64s) -> Int64s:
    """Whole numbers with the same sum: those that lose most by rounding down are rounded up."""
    whole = np.floor(tokens)
    missing = round(float(tokens.sum() - whole.sum()))
    flat = whole.ravel()
    flat[np.argsort(flat - tokens.ravel(), kind="stable")[:missing]] += 1
    return whole.astype(np.int64)


def _gaps(specs: Sequence[SourceSpec], available: Int64s, mix: Mix) -> list[str]:
    """A note for every source that has no text, or just one kind of it where both are asked for."""
    totals = available.sum(axis=1)
    notes = [f"{spec.name} gave no documents" for spec, total in zip(specs, totals, strict=True) if not total]
    groups = {
        spec.name: row
        for spec, row in zip(specs, available, strict=True)
        if mix.lengthens or spec.long_share is not None
    }
    if mix.lengthens and mix.upsample_over == "corpus":
        groups = {"the corpus": available.sum(axis=0)}
    for name, (short, long) in groups.items():
        if bool(short) != bool(long):
            missing, other = ("shorter than", "long") if long else ("of at least", "short")
            notes.append(f"{name} has no documents {missing} {mix.long_tokens:,} tokens: all its tokens stay {other}")
    return notes


def _shifts(specs: Sequence[SourceSpec], available: Int64s, shares: Float64s) -> list[str]:
    """A note where upsampling over the corpus changes the shares of sources."""
    before = divide([spec.share for spec in specs], available.sum(axis=1).tolist())
    moved = [
        f"{spec.name} {old:.1%} -> {new:.1%}"
        for spec, old, new in zip(specs, before, shares.sum(axis=1), strict=True)
        if abs(new - old) > 5e-4
    ]
    return [f"upsampling over the corpus changes the shares of sources: {', '.join(moved)}"] if moved else []
