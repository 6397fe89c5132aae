"""A model's votes: each example is asked in both orders, since judges prefer a place; where the orders disagree, a tie.

Two questions an example, which share the conversation at their beginning.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.judge import FIRST, SECOND, Verdict, better, decide
from evaluation.sidebyside.examples import Example
from evaluation.sidebyside.page import A, B
from evaluation.sidebyside.votes import TIE
from longreach.engines.base import Engine

IN_ORDER = {FIRST: A, SECOND: B, TIE: TIE}  # A's answer was shown first
REVERSED = {FIRST: B, SECOND: A, TIE: TIE}


@dataclass(frozen=True)
class Judged:
    """What the judge found: by example a choice, or None where one of its verdicts could not be read."""

    choices: Sequence[str | None]
    places: Counter[str]  # how often it preferred the first and the second place, or neither
    turned: int  # examples on which the order decided
    flaws: Sequence[str]  # why there is no verdict, one for each

    def notes(self) -> list[str]:
        """In words: bias of position, and what is missing."""
        total = self.places.total()
        judged = sum(choice is not None for choice in self.choices)
        said = []
        if total:
            said.append(
                f"the judge preferred the first place in {self.places[FIRST] / total:.1%} of its verdicts, the second "
                f"in {self.places[SECOND] / total:.1%}; the order changed its verdict on {self.turned:,} of {judged:,} "
                "examples, which count as ties"
            )
        if self.flaws:
            said.append(
                f"the judge left {len(self.choices) - judged:,} examples without a verdict that can be read "
                f"({self.flaws[0]})"
            )
        return said


def judge_examples(engine: Engine, examples: Sequence[Example], folder: Path) -> Judged:
    """Both verdicts on every example."""
    asked = [(_conversation(each), each) for each in examples]
    questions = [better(text, *answers) for text, each in asked for answers in ((each.a, each.b), (each.b, each.a))]
    verdicts = decide(engine, questions, folder)
    pairs = list(zip(verdicts[::2], verdicts[1::2], strict=True))
    return Judged(
        choices=[_choice(*pair) for pair in pairs],
        places=Counter(each.choice for each in verdicts if each.choice),
        turned=sum(_turned(*pair) for pair in pairs),
        flaws=[each.flaw for each in verdicts if each.flaw],
    )


def _conversation(example: Example) -> str:
    return "\n\n".join(f"{turn.role}: {turn.content}" if turn.role else turn.content for turn in example.turns)


def _choice(in_order: Verdict, reversed_order: Verdict) -> str | None:
    if not (in_order.choice and reversed_order.choice):
        return None
    return TIE if _turned(in_order, reversed_order) else IN_ORDER[in_order.choice]


def _turned(in_order: Verdict, reversed_order: Verdict) -> bool:
    """Whether both can be read and they disagree."""
    both = in_order.choice and reversed_order.choice
    return bool(both) and IN_ORDER[in_order.choice] != REVERSED[reversed_order.choice]
