"""Words and names of a text, in the forms in which two wordings of one fact can be compared."""

import re
from functools import lru_cache
from pathlib import Path

from selfinstruct.checks.numerals import NUMBER_WORDS, OTHER_UNITS, UNITS, claims, numbers

STOP = frozenset(Path(__file__).with_name("stopwords.txt").read_text(encoding="utf-8").split())  # en, de, es, fr
UNSAID = STOP | NUMBER_WORDS | OTHER_UNITS | UNITS.keys()  # words that are neither names nor content
STEM = 5  # characters by which inflected forms of a word are taken as one
CAPITALIZED_NOUNS = 0.2  # share of capitalized words from which capitals no longer mark names (German)

_LONE_CAPITAL = re.compile(r"(?<=[\w] )[B-HJ-Z](?![\w.’'])")
_UPPER = "A-ZÄÖÜÉÈÀÁÍÓÚÑÇ"
_NAME = re.compile(rf"(?<=[\w,'’\"(]\s)([{_UPPER}][\w'’-]+)")  # inside a sentence
_RUN = re.compile(rf"\b[{_UPPER}][\w'’-]+(?:\s+[{_UPPER}][\w'’-]+)+")
_IDENTIFIER = re.compile(r"(?<![\w-])(?:[a-z]+[A-Z]\w*|[A-Za-z]\w*_\w+|[A-Z]{2,}\w*|\w+(?:-\w+){2,})(?![\w-])")


@lru_cache(maxsize=1024)
def normal(text: str) -> str:
    """Lower case, words alone, single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def stem(word: str) -> str:
    """The start of a word, which its inflected forms share."""
    return word[:STEM]


@lru_cache(maxsize=1024)
def spoken_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning, without numbers."""
    found = re.findall(r"[^\W\d_]+", text.lower())
    return frozenset(stem(word) for word in found if word not in UNSAID and len(word) > 1)


@lru_cache(maxsize=1024)
def content_words(text: str) -> frozenset[str]:
    """Stems of the words that carry meaning, lone capitals ("mix C"), and the numbers."""
    return spoken_words(text) | numbers(text) | frozenset(_LONE_CAPITAL.findall(text))


def names(text: str) -> set[str]:
    """Capitalized words inside sentences; lower case, possessive endings dropped."""
    return _bare(_NAME.findall(text)) - identifiers(text)


def identifiers(text: str) -> set[str]:
    """Acronyms and names of code: API, camelCase, snake_case, X-Some-Header; lower case."""
    return _bare(_IDENTIFIER.findall(text))


def names_in_short(text: str) -> set[str]:
    """Names of an answer that is a phrase: a capital at its start counts too, but for a lone word before lower case."""
    first = re.match(rf"\W*([{_UPPER}][\w'’-]+)(?=\s*$|\W*\s[{_UPPER}])", text)
    return names(text) | (_bare([first.group(1)] if first else []) - identifiers(text))


def full_names(text: str) -> set[str]:
    """Words of runs of capitalized words: names even where every noun has a capital."""
    return _bare([word for run in _RUN.findall(text) for word in re.findall(rf"[{_UPPER}][\w'’-]+", run)])


def _bare(found: list[str]) -> set[str]:
    lowered = (re.sub(r"['’]s?$", "", name.lower()) for name in found)
    return {name for name in lowered if name not in UNSAID and not name[0].isdigit()}


@lru_cache(maxsize=512)
def marks_names(text: str) -> bool:
    """Whether capitals mark names in this text; in German they mark every noun."""
    words = re.findall(r"(?<=[\w,] )[^\W\d_]+", text)
    capitalized = sum(1 for word in words if word[0].isupper())
    return not words or capitalized < CAPITALIZED_NOUNS * len(words)


def overlap(said: frozenset[str], source: frozenset[str]) -> float:
    """The share of `said` that `source` holds; 1 for nothing said."""
    return len(said & source) / len(said) if said else 1.0


def f1(left: frozenset[str], right: frozenset[str]) -> float:
    """Harmonic mean of the two overlaps."""
    common = len(left & right)
    return 2 * common / (len(left) + len(right)) if common else 0.0


def agreement(left: str, right: str, *, short: bool) -> float:
    """How far two answers say the same, from 0 to 1. A different number is a different short answer."""
    if normal(left) == normal(right):
        return 1.0
    a, b = content_words(left), content_words(right)
    if not short:
        return f1(a, b)
    if (same := _same_numbers(left, right)) is not None:
        return max(f1(a, b), 0.8) if same else 0.0
    return max(f1(a, b), 0.8) if a and b and (a <= b or b <= a) else f1(a, b)


def _same_numbers(left: str, right: str) -> bool | None:
    """Whether two answers state the same numbers; one may state more of them. None where one states none."""
    stated, others = claims(left, small_words=True), claims(right, small_words=True)
    if not stated or not others:
        return None
    held, given = numbers(left), numbers(right)
    return all(forms & given for forms in stated) or all(forms & held for forms in others)
