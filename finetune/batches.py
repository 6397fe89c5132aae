"""The steps of a mix as rows: which examples of a step share one, and what is trained on in it.

Examples are packed within their step, so packing decides which ones stand side by side, never which ones meet in a
step. Rows hold no padding; the longest come first, so that processes and micro-batches get rows of about one length. A
row's documents do not see each other and losses are sums, so loss and gradient are the same however they are packed.
Reading a step costs its tokens; memory is what they take, beside the plan.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from finetune.config import Average
from finetune.item import Source, is_text
from finetune.losses import Loss, weights_of
from finetune.mix import MixPlan, lengths_of
from longreach.errors import UserError
from longreach.model.batches import TrainRow
from longreach.rows.packing import best_fit_decreasing

Int64s = NDArray[np.int64]
MOST_PARTS = 255  # a byte says which one a token belongs to


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of one row: the name of the source of each, and its number there."""

    picks: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """As "short 3+17 text 2"."""
        named = groupby(self.picks, key=lambda pick: pick[0])
        return " ".join(f"{name} {'+'.join(str(number) for _, number in each)}" for name, each in named)


class Lesson:
    """A source and what is trained on in it. `parts` name the kinds of its trained tokens, `before` count others'."""

    def __init__(self, source: Source, loss: Loss, average: Average, before: int = 0) -> None:
        self.source, self.average, self.before = source, average, before
        self.loss = None if is_text(source) else loss
        self.parts = _parts(source.name, self.loss)

    def row(self, example: int) -> TrainRow:
        """One example, with weights and parts."""
        item = self.source[example]
        weights = weights_of(item, self.loss, self.average)
        parts = np.full(len(weights), self.before + 1, np.uint8)
        if self.loss is not None:
            parts[item.answer] = self.before + len(self.parts)
        parts[weights == 0] = 0
        return TrainRow(item.tokens, item.lengths, weights, parts)


def _parts(name: str, loss: Loss | None) -> tuple[str, ...]:
    """What has no weight is no part; answers come last."""
    if loss is None:
        return (f"{name} text",)
    return (f"{name} prompt", f"{name} answer") if loss.prompt_weight else (f"{name} answer",)


class MixBatches:
    """What training reads: the steps of a plan.

    Sources named in `alone` have every example in a row of its own, as has every example longer than `pack_len`; others
    share rows of at most `pack_len` tokens. With `pack_all`, all of them share rows of at most `seq_len`.
    """

    rows_per_step = 0

    def __init__(
        self,
        sources: Sequence[Source],
        plan: MixPlan,
        losses: Mapping[str, Loss],
        *,
        seq_len: int,
        pack_len: int = 16_384,
        pack_all: bool = False,
        average: Average = "tokens",
        alone: Sequence[str] = (),
    ) -> None:
        used = [source for source, row in zip(sources, plan.rows, strict=True) if row.examples]
        check_lengths(used, seq_len)
        self.seq_len, self.vocab_size = seq_len, max(source.vocab_size for source in used)
        self._plan, self._names = plan, [source.name for source in sources]
        self._lengths = [source.lengths for source in sources]
        self._pack_len = seq_len if pack_all else min(pack_len, seq_len)
        self._alone = np.array([source.name in alone and not pack_all for source in sources])
        self._lessons = {lesson.source.name: lesson for lesson in _lessons(used, losses, average)}
        self.parts = tuple(part for lesson in self._lessons.values() for part in lesson.parts)

    def plan(self, step: int) -> Sequence[Examples]:
        """The rows of a step, the longest first."""
        begin, end = self._plan.steps[step : step + 2].tolist()
        source, example = self._plan.source[begin:end], self._plan.example[begin:end]
        lengths = lengths_of(self._lengths, source, example)
        rows = sorted(self._rows(lengths, self._alone[source]), key=lambda row: -int(lengths[row].sum()))
        named = [(self._names[of], number) for of, number in zip(source.tolist(), example.tolist(), strict=True)]
        return [Examples(tuple(named[pick] for pick in row.tolist())) for row in rows]

    def row(self, item: Examples) -> TrainRow:
        """The examples of a row, one behind the other."""
        return _joined([self._lessons[name].row(number) for name, number in item.picks])

    def position(self, step: int) -> int:
        """How many examples were trained on before this step."""
        return int(self._plan.steps[step])

    def _rows(self, lengths: Int64s, alone: NDArray[np.bool_]) -> Iterator[Int64s]:
        """Which picks stand together."""
        alone = alone | (lengths > self._pack_len)
        together = np.flatnonzero(~alone)
        packed = best_fit_decreasing(lengths[together], self._pack_len)
        yield from np.split(together[packed.item], packed.rows[1:-1]) if len(packed) else ()
        yield from np.flatnonzero(alone)[:, None]


class HeldOutRows:
    """Examples that are not trained on, each in a row of its own: what Validation takes."""

    def __init__(self, source: Source, loss: Loss, seq_len: int, average: Average = "tokens") -> None:
        check_lengths([source], seq_len)
        self._lesson = Lesson(source, loss, average)
        self.parts = self._lesson.parts

    def __len__(self) -> int:
        return len(self._lesson.source)

    def __getitem__(self, place: int) -> TrainRow:
        return self._lesson.row(place)


def check_lengths(sources: Sequence[Source], seq_len: int) -> None:
    """Refuse examples that no row holds: nothing is cut here."""
    longest = {source.name: int(source.lengths.max(initial=0)) for source in sources}
    problems = [f"{name} has an example of {length:,} tokens" for name, length in longest.items() if length > seq_len]
    if problems:
        raise UserError("\n".join(problems), f"rows have {seq_len:,} tokens: raise --seq-len")


def _lessons(sources: Sequence[Source], losses: Mapping[str, Loss], average: Average) -> Iterator[Lesson]:
    before = 0
    for source in sources:
        lesson = Lesson(source, losses[source.name], average, before)
        before += len(lesson.parts)
        if before > MOST_PARTS:
            raise UserError(f"{len(sources)} sources are more than can be told apart", "join some of them")
        yield lesson


def _joined(rows: Sequence[TrainRow]) -> TrainRow:
    """Rows as one."""
    if len(rows) == 1:
        return rows[0]
    columns = [(row.tokens, row.lengths, row.weights, row.parts) for row in rows]
    return TrainRow(*(np.concatenate(column) for column in zip(*columns, strict=True)))
