"""What annotators saved from the page, read back: whose answer each of them preferred.

A file is what a person or a mail program made of it: nothing in it is taken on trust, every problem is told at once,
and votes of another page are refused.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from evaluation.sidebyside.page import A, B, Page
from longreach.errors import UserError

TIE = "tie"
SIDES = ("left", TIE, "right")


@dataclass(frozen=True, slots=True)
class Vote:
    """One person on one example; `choice` is A, B or TIE, whatever side they stood on."""

    annotator: str
    example: int  # number in the page
    choice: str
    comment: str = ""


@dataclass(frozen=True)
class Ballot:
    """All votes, one of each annotator on an example, and what is to be said of them."""

    votes: Sequence[Vote]
    notes: Sequence[str]

    def by_annotator(self) -> dict[str, int]:
        """How many each of them gave."""
        return dict(Counter(vote.annotator for vote in self.votes))


def read_votes(given: Sequence[str], page: Page) -> Ballot:
    """The votes in these files, globs and folders."""
    files = [(path, _file(path)) for path in _paths(given)]
    problems = [f"{path}: {problem}" for path, file in files for problem in _problems(file, page)]
    if problems:
        raise UserError(
            "\n".join(problems), "give files that were saved from this page; other results or another seed make another"
        )
    latest: dict[tuple[str, int], Vote] = {}
    doubled: Counter[str] = Counter()
    for _, file in sorted(files, key=lambda each: str(each[1]["saved"])):  # ISO times: a later one wins
        for vote in _votes(file, page):
            place = vote.annotator, vote.example
            doubled[vote.annotator] += place in latest
            latest[place] = vote
    return Ballot(list(latest.values()), list(_notes(list(latest.values()), doubled, page)))


def _paths(given: Sequence[str]) -> list[Path]:
    """The files, each once."""
    found: dict[Path, None] = {}
    for word in given:
        path = Path(word)
        if path.is_dir():
            matches = sorted(path.glob("votes-*.json"))
        else:
            matches = [path] if path.exists() else sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
        if not matches:
            raise UserError(f"no votes in {word}", "give files saved from the page, a folder of them, a glob in quotes")
        found |= dict.fromkeys(each.resolve() for each in matches)
    return list(found)


def _file(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: {error}", "was this file saved from the page?") from error


def _problems(file: Any, page: Page) -> Iterator[str]:
    """What keeps a file from being counted."""
    if not isinstance(file, dict) or not isinstance(file.get("votes"), list):
        yield "holds no votes"
        return
    if file.get("page") != page.id:
        yield f"votes of another page ({file.get('page')!r}, this one is {page.id!r})"
        return
    if not isinstance(file.get("annotator"), str) or not file["annotator"].strip():
        yield "no name of an annotator"
    if not isinstance(file.get("saved"), str):
        yield "no time at which it was saved"
    for number, vote in enumerate(file["votes"], 1):
        if not _is_vote(vote, len(page.shown)):
            yield f"vote {number} is none: {str(vote)[:80]}"


def _is_vote(vote: Any, examples: int) -> bool:
    if not isinstance(vote, dict):
        return False
    number, choice, comment = vote.get("example"), vote.get("choice"), vote.get("comment", "")
    known = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < examples
    return known and choice in (*SIDES, "") and isinstance(comment, str)


def _votes(file: dict[str, Any], page: Page) -> Iterator[Vote]:
    """The votes of a file that has no problems; a comment without a choice is none."""
    for each in file["votes"]:
        if each["choice"]:
            left = page.shown[each["example"]].left
            choices = {"left": left, TIE: TIE, "right": B if left == A else A}
            name = " ".join(file["annotator"].split())
            yield Vote(name, each["example"], choices[each["choice"]], each.get("comment", ""))


def _notes(votes: Sequence[Vote], doubled: Counter[str], page: Page) -> Iterator[str]:
    """What is missing and what came twice."""
    by_annotator = Counter(vote.annotator for vote in votes)
    for name, number in sorted(by_annotator.items()):
        yield f"{number:,} votes of {name}"
        if number < len(page.shown):
            yield f"{name} left {len(page.shown) - number:,} of {len(page.shown):,} examples without a vote"
        if doubled[name]:
            yield f"{doubled[name]:,} votes of {name} came twice: what was saved last counts"
    unvoted = len(page.shown) - len({vote.example for vote in votes})
    if unvoted:
        yield f"{unvoted:,} of {len(page.shown):,} examples have no vote at all and are left out"
