"""The mix for people and for programs: a table of what is taken from each source, what was lost, and a picture.

Counting the rows packs every step as training will: some microseconds for each example taken.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.batches import MixBatches
from finetune.item import Source
from finetune.mix import MixPlan, MixRow
from finetune.store import Store
from longreach.histogram import Axis, Panel, binned, draw, edges_of, total
from longreach.tables import print_table

LONGEST = 5  # examples shown
HEAD = ("source", "examples", "tokens", "answer tokens", "epochs", "planned", "realised")

Int64s = NDArray[np.int64]
Facts = Mapping[str, Mapping[str, Mapping[str, Any]]]  # of each source, for what is trained on and what is held out


@dataclass(frozen=True, slots=True)
class LongExample:
    """One of the longest examples."""

    source: str
    tokens: int
    answer_tokens: int
    cut_tokens: int  # that its context lost
    place: str


@dataclass(frozen=True, kw_only=True)
class MixView:
    """What there is to say about a mix."""

    sources: tuple[MixRow, ...]
    by: str
    steps: int
    rows: int
    truncated_context: int  # examples
    cut_tokens: int
    dropped: Mapping[str, int]  # rows of files by the reason, those of held-out files among them
    longest: tuple[LongExample, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """One JSON object."""
        return asdict(self)


def mix_view(
    plan: MixPlan, batches: MixBatches, sources: Sequence[Source], facts: Facts, notes: Sequence[str]
) -> MixView:
    """All that the table shows."""
    used = [np.flatnonzero(copies) for copies in copies_of(plan, sources)]
    cuts = np.concatenate([_cuts(source)[examples] for source, examples in zip(sources, used, strict=True)])
    steps = len(plan.steps) - 1
    return MixView(
        sources=plan.rows,
        by=plan.by,
        steps=steps,
        rows=sum(len(batches.plan(step)) for step in range(steps)),
        truncated_context=int(np.count_nonzero(cuts)),
        cut_tokens=int(cuts.sum()),
        dropped=_dropped(facts),
        longest=tuple(_longest(sources, used)),
        notes=tuple(notes),
    )


def copies_of(plan: MixPlan, sources: Sequence[Source]) -> list[Int64s]:
    """How often the plan takes each example, by source."""
    return [
        np.bincount(plan.example[plan.source == place], minlength=len(source)) for place, source in enumerate(sources)
    ]


def _cuts(source: Source) -> Int64s:
    return source.cuts if isinstance(source, Store) else np.zeros(len(source), np.int64)


def _dropped(facts: Facts) -> dict[str, int]:
    """Rows of files that gave no example, the most frequent reason first."""
    counts: Counter[str] = Counter()
    for named in facts.values():
        for each in named.values():
            counts.update(each.get("skipped", {}))
    return dict(counts.most_common())


def _longest(sources: Sequence[Source], used: Sequence[Int64s]) -> Iterator[LongExample]:
    """Of all that are trained on."""
    found = [
        (int(source.lengths[number]), -place, -int(number))
        for place, (source, examples) in enumerate(zip(sources, used, strict=True))
        for number in examples[np.argsort(-source.lengths[examples], kind="stable")[:LONGEST]]
    ]
    for tokens, place, number in sorted(found, reverse=True)[:LONGEST]:
        source = sources[-place]
        where = source.place(-number) if isinstance(source, Store) else f"row {-number:,}"
        yield LongExample(source.name, tokens, int(source.answers[-number]), int(_cuts(source)[-number]), where)


def print_mix(view: MixView) -> None:
    """The tables on stdout, the notes on stderr."""
    print_table(HEAD, [*map(_line, view.sources), _total(view.sources)])
    for line in _lines(view):
        sys.stdout.write(f"{line}\n")
    print_table(
        ("longest examples", "source", "tokens", "answer tokens", "context cut"),
        [(each.place, each.source, each.tokens, each.answer_tokens, each.cut_tokens) for each in view.longest],
    )
    for note in view.notes:
        sys.stderr.write(f"note: {note}\n")


def _line(row: MixRow) -> tuple[Any, ...]:
    shares = (f"{row.epochs:.2f}", f"{row.planned_share:.2%}", f"{row.realised_share:.2%}")
    return (row.name, row.examples, row.tokens, row.answer_tokens, *shares)


def _total(rows: Sequence[MixRow]) -> tuple[Any, ...]:
    counts = (sum(getattr(row, name) for row in rows) for name in ("examples", "tokens", "answer_tokens"))
    return ("total", *counts, "", "100.00%", "100.00%")


def _lines(view: MixView) -> Iterator[str]:
    """What the table has no column for."""
    yield f"shares and epochs are of the {view.by.replace('-', ' ')}"
    yield f"{view.rows:,} rows in {view.steps:,} steps"
    if view.truncated_context:
        yield f"{view.truncated_context:,} examples were too long: their contexts lost {view.cut_tokens:,} tokens"
    if view.dropped:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in view.dropped.items())
        yield f"dropped, each listed in skipped.jsonl: {reasons}"


def draw_mix(plan: MixPlan, sources: Sequence[Source], seq_len: int, path: Path) -> None:
    """A PNG: lengths of the examples as they were read and as the mix takes them, and a line at the longest row.

    Bins end with a power of two rather than begin with it: what has just `seq_len` tokens stands left of the line.
    """
    names = [source.name for source in sources]
    taken = [source.lengths for source in sources]
    whole = [lengths + _cuts(source) for source, lengths in zip(sources, taken, strict=True)]
    copies = copies_of(plan, sources)
    edges = edges_of([np.maximum(each - 1, 1) for each in (*whole, *taken)])
    before, after = (
        binned(names, [np.maximum(each - 1, edges[0]) for each in lengths], tokens, edges)
        for lengths, tokens in (
            (whole, whole),
            (taken, [each * times for each, times in zip(taken, copies, strict=True)]),
        )
    )
    axis = Axis(edges, "tokens of the example", seq_len, f"--seq-len {seq_len:,}")
    panels = [
        Panel(f"{name}: {total(each):,} tokens", each) for name, each in (("the data", before), ("the mix", after))
    ]
    draw(axis, panels, path)
