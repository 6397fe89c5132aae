"""The mix as the user writes it, `long:short=0.2:0.8`: names, and after them as many numbers.

The numbers are weights, so shares and ratios are the same: 0.2:0.8, 1:4 and 20:80 all give a fifth and four fifths. A
source with 0 is known and left out.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from longreach.config import did_you_mean
from longreach.errors import UserError

_FORM = "write names and as many numbers, as in long:short=0.2:0.8"


def parse_mix(text: str) -> dict[str, float]:
    """The share of each source, in all 1; ValueError says all that is wrong."""
    left, equals, right = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} gives no numbers: {_FORM}")
    names, words = ([word.strip() for word in side.split(":")] for side in (left, right))
    problems = [f"{names.count('')} of {len(names)} names are empty"] if "" in names else []
    problems += [f"{name} is named {count} times" for name, count in Counter(names).items() if name and count > 1]
    if len(names) != len(words):
        problems.append(f"{_counted(len(names), 'name')}, but {_counted(len(words), 'number')}")
    weights = [_weight(word) for word in words]
    problems += [
        f"{word!r} is no number from 0 on" for word, each in zip(words, weights, strict=True) if math.isnan(each)
    ]
    if not any(weights):
        problems.append("all numbers are 0")
    if problems:
        raise ValueError(f"{'; '.join(problems)}: {_FORM}")
    largest = max(weights)
    scaled = [each / largest for each in weights]
    return {name: each / math.fsum(scaled) for name, each in zip(names, scaled, strict=True)}


def check_names(shares: Mapping[str, float], given: Sequence[str]) -> None:
    """Refuse a mix of other sources than those that were given."""
    unknown = [name for name in shares if name not in given]
    unnamed = [name for name in given if name not in shares]
    problems = [
        f"--mix names {name}, which is no source here{did_you_mean(name, unnamed or given)}" for name in unknown
    ]
    problems += [f"--mix does not name the source {name}" for name in unnamed]
    if not problems:
        return
    hint = f"the sources are {', '.join(given)}; name each of them, with 0 to leave one out"
    raise UserError("\n".join(problems), hint)


def _weight(word: str) -> float:
    """Not a number where it is none, or below 0, or without end."""
    try:
        number = float(word)
    except ValueError:
        return math.nan
    return number if 0 <= number < math.inf else math.nan


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
