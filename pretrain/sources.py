"""Sources as the user writes them, `NAME=PATH[@SHARE]`, and what their shares come to.

Shares are of the tokens trained on. Where every source has one they are weights: 3 and 7, 0.3 and 0.7, 30% and 70% are
the same. Where only some have one they are fractions, and the rest is split among the others. A path may hold "=" and
"@"; one that itself ends in "@" and a number is written with one more "@" after it: `talks=notes@2024@`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from longreach.errors import UserError

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_SHARE = re.compile(
    r"(?P<path>.*)@(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?nan|[+-]?inf(?:inity)?)(?P<percent>%?)",
    re.IGNORECASE | re.DOTALL,
)
_FORM = "write NAME=PATH or NAME=PATH@SHARE, as in books=data/books@0.3; more than one PATH: give NAME again"
_ROUNDING = 1e-4  # of a sum of shares that a person rounded


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Texts of one kind: where they are, and which part of the tokens trained on they are to be."""

    name: str
    paths: tuple[str, ...]
    share: float | None = None  # None: in proportion to its tokens
    long_share: float | None = None  # the part of its own tokens in long documents; None: as for every source


def parse_sources(given: Sequence[str]) -> tuple[SourceSpec, ...]:
    """The sources of all --source options in the order they were first named; every problem is told at once."""
    found: dict[str, SourceSpec] = {}
    problems: list[str] = []
    for text in given:
        try:
            spec = _parse(text)
            found[spec.name] = _joined(found[spec.name], spec) if spec.name in found else spec
        except ValueError as error:
            problems.append(f"--source {text}: {error}")
    problems += [] if given else ["no sources: give --source"]
    problems += _sum_problems(list(found.values()))
    if problems:
        raise UserError("\n".join(problems), _FORM)
    return tuple(found.values())


def _parse(text: str) -> SourceSpec:
    name, equals, rest = text.partition("=")
    if not equals:
        raise ValueError("has no name")
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: letters, digits, '_', '-' and '.', the last two not in front")
    match = _SHARE.fullmatch(rest)
    path, share = (match["path"], _share(match["number"], match["percent"])) if match else (rest, None)
    path = path if match else path.removesuffix("@")
    if not path:
        raise ValueError("names no path")
    return SourceSpec(name, (path,), share)


def _share(number: str, percent: str) -> float:
    share = float(number) / (100 if percent else 1)
    if not math.isfinite(share) or share <= 0:
        raise ValueError(f"the share {number}{percent} is no number above 0; to do without a source, leave it out")
    return share


def _joined(first: SourceSpec, second: SourceSpec) -> SourceSpec:
    """One source of the paths of both."""
    if None not in (first.share, second.share) and first.share != second.share:
        raise ValueError(f"{first.name} was given the share {first.share:g} before; its paths have one share together")
    new = tuple(path for path in second.paths if path not in first.paths)
    return SourceSpec(first.name, first.paths + new, second.share if first.share is None else first.share)


def _sum_problems(specs: Sequence[SourceSpec]) -> list[str]:
    """What is wrong with shares that are not given for all."""
    shares = [spec.share for spec in specs if spec.share is not None]
    without = [spec.name for spec in specs if spec.share is None]
    if not shares or not without or sum(shares) < 1 - _ROUNDING:
        return []
    return [
        f"the shares sum to {sum(shares):g} and leave nothing for {', '.join(without)}, which has none: "
        "give every source a share, or lower those given"
    ]


def divide(given: Sequence[float | None], natural: Sequence[float]) -> list[float]:
    """Shares that sum to 1: those given, and what they leave split in proportion to the `natural` of the others."""
    free = sum(size for share, size in zip(given, natural, strict=True) if share is None)
    fixed = sum(share for share in given if share is not None)
    if None not in given:
        return [share / fixed for share in given if share is not None]
    rest = 1 - fixed
    return [rest * (size / free) if share is None else share for share, size in zip(given, natural, strict=True)]


def reading_of(specs: Sequence[SourceSpec]) -> list[str]:
    """A note where shares given for all sources do not sum to 1, 10 or 100 and so may hold a slip."""
    shares = [spec.share for spec in specs if spec.share is not None]
    if len(shares) < len(specs) or any(abs(sum(shares) / whole - 1) <= _ROUNDING for whole in (1, 10, 100)):
        return []
    parts = ", ".join(f"{spec.name} {share / sum(shares):.1%}" for spec, share in zip(specs, shares, strict=True))
    return [f"the shares sum to {sum(shares):g} and are taken as weights: {parts}"]
