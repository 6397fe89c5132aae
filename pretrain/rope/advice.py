"""Which RoPE to continue a base model with, for a length, and why: the paper, what others published, and the bound.

Up to 32,768 tokens the paper's 500,000 stays the default for heads of 128 and more. Beyond, and for smaller heads, the
base is searched by its reach, and never smaller than one published for that length or a shorter one.
"""

from dataclasses import dataclass
from typing import NamedTuple

from longreach.model.rope import ABF, NONE, Rope
from pretrain.rope.reach import base_reach, covers, round_base
from pretrain.rope.rotary import Rotary

PAPER_BASE, PAPER_LENGTH = 500_000.0, 32_768  # arXiv:2309.16039, Sec. 2.1
PAPER_DIM = 128  # of Llama 2's heads
PROLONG = (
    "ProLong measured 29.1 points at 65,536 tokens with 500,000, 48.7 with 4,000,000, 54.6 with 8,000,000; "
    "at 524,288 it found no difference between 64,000,000, 128,000,000 and 256,000,000"
)
BOUND = "'Base of RoPE bounds context length' (arXiv:2405.14591)"


class Published(NamedTuple):
    """A base that somebody trained a model with, for a length."""

    length: int
    base: float
    source: str


PAPER = Published(PAPER_LENGTH, PAPER_BASE, "Llama 2 Long (arXiv:2309.16039)")
PUBLISHED = (
    Published(16_384, 1_000_000.0, "Code Llama (arXiv:2308.12950)"),
    PAPER,
    Published(65_536, 2_000_000.0, "LongAlign (arXiv:2401.18058)"),
    Published(65_536, 8_000_000.0, "ProLong (arXiv:2410.02660)"),
    Published(131_072, 5_000_000.0, "Qwen2.5-1M (arXiv:2501.15383)"),
    Published(262_144, 10_000_000.0, "Qwen2.5-1M (arXiv:2501.15383)"),
    Published(524_288, 128_000_000.0, "ProLong (arXiv:2410.02660)"),
)


@dataclass(frozen=True)
class Advice:
    """The RoPE to set, the base that is then in effect, and the reasons, one sentence each."""

    rope: Rope
    base: float
    reasons: tuple[str, ...]


def advise(rotary: Rotary, seq_len: int) -> Advice:
    """The RoPE with which `rotary` should be trained at `seq_len`."""
    if seq_len <= rotary.window:
        return _keep(rotary, f"{rotary.name} was made for {rotary.window:,} tokens already")
    if rotary.scaling:
        return _keep(
            rotary,
            f"{rotary.name} has {rotary.scaling} scaling, on which no other can be set: "
            f"for more than its {rotary.window:,} tokens start from a model without",
        )
    if seq_len <= PAPER_LENGTH and rotary.dim >= PAPER_DIM:
        return _as_paper(rotary, seq_len)
    return _by_search(rotary, seq_len)


def _keep(rotary: Rotary, *reasons: str) -> Advice:
    return Advice(Rope(NONE), rotary.base, reasons)


def _as_paper(rotary: Rotary, seq_len: int) -> Advice:
    said = f"{PAPER_BASE:,.0f} is the paper's base, which it trained at 16,384 and 32,768 tokens (Sec. 2.1, 4.1)"
    base = max(PAPER_BASE, rotary.base)
    reached = base_reach(base, rotary.dim, seq_len)
    verdict = f"{BOUND} agrees"
    if reached is not None:
        verdict = (
            f"{BOUND} disagrees: {base:,.0f} would reach {reached:,} tokens only; "
            f"but that bound is not strict, and the paper's models retrieve the first sentence up to {PAPER_LENGTH:,}"
        )
    if rotary.base >= PAPER_BASE:
        return _keep(rotary, said, f"{rotary.name} has {rotary.base:,.0f}, no smaller", verdict)
    return Advice(Rope(ABF, base), base, (said, verdict))


def _by_search(rotary: Rotary, seq_len: int) -> Advice:
    """The smallest base that somebody published for the length or a shorter one, or a larger one that covers it."""
    proven = [entry for entry in PUBLISHED if entry.length <= seq_len]
    floor = max(proven, key=lambda entry: entry.base, default=PAPER)
    start = max(floor.base, rotary.base)
    if start == rotary.base and covers(start, rotary.dim, seq_len):
        return _keep(rotary, f"its base, {start:,.0f}, covers {seq_len:,} tokens by {BOUND}")
    base = round_base(start, rotary.dim, seq_len)
    least = f"no smaller than {floor.base:,.0f}, of {floor.source} for {floor.length:,} tokens"
    if base is None:
        return Advice(Rope(ABF, start), start, (f"no base covers {seq_len:,} tokens by {BOUND}", least))
    reasons = (
        f"{base:,.0f} is the next round base that covers {seq_len:,} tokens with heads of {rotary.dim} by {BOUND}",
        least,
        f"the paper's {PAPER_BASE:,.0f} is for {PAPER_LENGTH:,} tokens and heads of {PAPER_DIM}",
        *([PROLONG] if seq_len > PAPER_LENGTH else []),
    )
    return Advice(Rope(ABF, base), base, reasons)
