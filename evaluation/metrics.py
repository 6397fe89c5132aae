"""Scores of an answer against its references, in points from 0 to 100, as the benchmarks publish them.

F1 and exact match are SQuAD's, from transformers; ROUGE is Google's, from rouge-score, without stemming as in SCROLLS.
Of several references the best counts, each metric for itself.

Both know words of English alone: to Google's ROUGE a text without the letters a to z is empty, and to SQuAD's F1 a
Chinese sentence is one word. So a reference that is mostly in other letters is compared by its own words, and scripts
that set no blanks by their characters; for all others the figures are the published ones.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from math import cbrt, prod
from statistics import fmean

from longreach.errors import missing_extra

try:
    from rouge_score.rouge_scorer import RougeScorer
    from transformers.data.metrics.squad_metrics import compute_exact, compute_f1
except ModuleNotFoundError as error:
    if error.name not in ("rouge_score", "transformers", "torch"):
        raise
    raise missing_extra(error.name.replace("_", "-"), "evaluate", "evaluate") from error

ROUGES = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # our names and the library's
_CHOICE = re.compile(r"\b[A-D]\b")
_PERCENTAGE = re.compile(r"(\d+\.?\d*)%")
_NOT_A_LIST = re.compile(r"[^0-9\s,]")
_NO_BLANKS = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"  # Thai, Lao, Khmer, Kana, Han
_UNSPACED = re.compile(f"([{_NO_BLANKS}])")
_LETTER, _ENGLISH = re.compile(r"[^\W_]"), re.compile(r"[a-zA-Z0-9]")
_ANY_WORD = re.compile(rf"[{_NO_BLANKS}]|[^\W_{_NO_BLANKS}]+")

Scores = dict[str, float]


def exact_match(output: str, references: Sequence[str]) -> float:
    """100 where the answer is a reference, but for case, punctuation, articles and blanks."""
    return 100.0 * float(max(compute_exact(reference, output) for reference in references))


def f1(output: str, references: Sequence[str]) -> float:
    """The words that answer and reference share: harmonic mean of precision and recall."""
    return 100.0 * float(max(compute_f1(_spaced(reference), _spaced(output)) for reference in references))


def rouge(output: str, references: Sequence[str], *, stem: bool = False) -> Scores:
    """ROUGE-1, -2 and -L (F1), and their geometric mean for this one answer."""
    each = [_scorer(tuple(ROUGES.values()), stem, _is_english(one)).score(one, output) for one in references]
    found = {name: 100.0 * float(max(scores[kind].fmeasure for scores in each)) for name, kind in ROUGES.items()}
    return {**found, "rouge_geo": _geometric_mean(found)}


def rouge_geo(scores: Sequence[Mapping[str, float]]) -> float:
    """Of many answers as SCROLLS and the paper publish it: the geometric mean of the three means, not their mean."""
    return _geometric_mean({name: fmean(each[name] for each in scores) for name in ROUGES})


def rouge_l(output: str, references: Sequence[str], *, stem: bool = False) -> float:
    """F1 of the longest common subsequence of words."""
    each = [_scorer(("rougeL",), stem, _is_english(one)).score(one, output) for one in references]
    return 100.0 * float(max(scores["rougeL"].fmeasure for scores in each))


def _geometric_mean(rouges: Mapping[str, float]) -> float:
    return cbrt(prod(rouges[name] for name in ROUGES))


@cache
def _scorer(names: tuple[str, ...], stem: bool, english: bool) -> RougeScorer:
    return RougeScorer(list(names), use_stemmer=stem, tokenizer=None if english else _AnyWords())


class _AnyWords:
    """Words of any script, as rouge-score takes them."""

    def tokenize(self, text: str) -> list[str]:
        """In lower case."""
        return _ANY_WORD.findall(text.lower())


def _is_english(text: str) -> bool:
    """Whether at least half of its letters are those that Google's ROUGE knows."""
    return 2 * len(_ENGLISH.findall(text)) >= len(_LETTER.findall(text))


def _spaced(text: str) -> str:
    """With blanks about the characters of scripts that set none."""
    return _UNSPACED.sub(r" \1 ", text)


def found_share(output: str, references: Sequence[str]) -> float:
    """The share of the references that stand in the answer, whatever their case: RULER's score."""
    said = output.lower()
    return 100.0 * sum(reference.lower() in said for reference in references) / len(references)


def choice(output: str, references: Sequence[str]) -> float:
    """100 where the first letter from A to D that stands alone is the reference's (ZeroSCROLLS' QuALITY)."""
    said = _CHOICE.search(output)
    right = [found[0] for each in references if (found := _CHOICE.search(each))]
    return 100.0 * (said is not None and said[0] in right)


def percentage(output: str, references: Sequence[str]) -> float:
    """A half for every ten points that the percentage is off (ZeroSCROLLS' SpaceDigest); 0 where none is said."""
    said = _PERCENTAGE.search(output)
    right = [float(found[1]) for each in references if (found := _PERCENTAGE.search(each))]
    if said is None or not right:
        return 0.0
    off = min(abs(each - float(said[1])) for each in right)
    return 100.0 * float(0.5 ** (off / 10))


def concordance(output: str, references: Sequence[str]) -> float:
    """The share of pairs that stand in the right order (ZeroSCROLLS' BookSumSort); 0 for no ordering of the same."""
    return 100.0 * max(_in_order(_numbers(output), _numbers(each)) for each in references)


def _numbers(text: str) -> list[str]:
    """What is left of a list without its words and marks; as text, since a model may write any number of digits."""
    return [number.lstrip("0") for number in _NOT_A_LIST.sub("", text).replace(",", " ").split()]


def _in_order(said: Sequence[str], right: Sequence[str]) -> float:
    if sorted(said) != sorted(right):
        return 0.0
    if len(right) < 2:
        return 1.0
    place = {number: index for index, number in enumerate(said)}
    return fmean(place[first] < place[second] for first, second in combinations(right, 2))
