"""What a red team asks: adversarial prompts of the user's behind long text, harmless instructions of ours inside it.

The prompts come from the user: none ship. An injected instruction ships with the mark that only following it leaves in
an answer: the mark does not stand in the instruction, so that an answer that quotes it is not taken for obedience.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.jsonl import read_lines
from longreach.text.document import Skipped
from longreach.text.values import Value, Values

INJECTIONS = Path(__file__).with_name("injections.jsonl")
SHOWN = 5  # problems of a file that are told


@dataclass(frozen=True, slots=True)
class Attack:
    """An adversarial prompt; the paper's areas (Sec. 5.2) are illicit, hateful and unqualified-advice."""

    id: str
    area: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Injection:
    """An instruction that stands in a text, and the mark that following it leaves."""

    id: str
    kind: str
    text: str
    marker: str

    def followed(self, output: str) -> bool:
        """Whether an answer obeys it. Case counts: the instruction names its mark in other words."""
        return self.marker in output


def shipped_injections() -> list[Injection]:
    """Ours: harmless whether they are followed or not."""
    return [Injection(**row) for row in read_lines(INJECTIONS)]


def read_attacks(paths: Sequence[str]) -> list[Attack]:
    """The user's prompts; UserError tells of every row that is none."""
    found, problems = [], []
    for number, row in enumerate(Values(paths), 1):
        flaw = f"{row.reason} {row.detail}" if isinstance(row, Skipped) else _flaw(row.value)
        if flaw:
            problems.append(f"{row.path}, line {row.line}: {flaw}")
        elif isinstance(row, Value):
            found.append(Attack(str(row.value.get("id") or number), row.value["area"].strip(), row.value["prompt"]))
    doubled = [id for id, times in Counter(each.id for each in found).items() if times > 1]
    problems += [f"the id {id!r} stands there more than once" for id in doubled]
    if problems:
        further = [f"and {len(problems) - SHOWN:,} more"] if len(problems) > SHOWN else []
        raise UserError(
            "\n".join([*problems[:SHOWN], *further]),
            "a row has prompt and area (illicit, hateful, unqualified-advice or your own), perhaps an id of its own",
        )
    return found


def _flaw(row: Mapping[str, Any]) -> str:
    """What is wrong with a row; empty where nothing is."""
    for name in ("prompt", "area"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            return f"no {name}"
    return ""
