"""L-Eval's scores, in points: what its rules make of an answer in free words, down to its guess for one without letter.

Of several right options, some of them and no wrong one are a quarter.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation import metrics

OPTIONS = "ABCD"
GUESS = "A"
PARTLY = 25.0
_RUN = re.compile(r"[A-D]+")
_MARKED = re.compile(r"[A-Z](?=[\s.)])")  # an option, by what follows it

Doc = Mapping[str, Any]
Answer = Sequence[str]  # the harness's list of the one answer


def f1(doc: Doc, answer: Answer) -> dict[str, float]:
    """SQuAD's."""
    return {"score": metrics.f1(answer[0], doc["outputs"])}


def topic(doc: Doc, answer: Answer) -> dict[str, float]:
    """Whether the topic is named, whatever case and blanks."""
    named = "".join(doc["outputs"][0].lower().split(" "))
    return {"score": 100.0 * (named in "".join(answer[0].lower().split(" ")))}


def letter(doc: Doc, answer: Answer) -> dict[str, float]:
    """Of one right option."""
    return {"score": _right(one_option(answer[0]), doc["outputs"][0])}


def letters(doc: Doc, answer: Answer) -> dict[str, float]:
    """Of one or several right options."""
    return {"score": _right(some_options(answer[0]), doc["outputs"][0])}


def _right(said: str, reference: str) -> float:
    right = "".join(letter for letter in reference.split()[0] if letter in OPTIONS) or GUESS
    if said == right:
        return 100.0
    return PARTLY if said and set(said) <= set(right) else 0.0


def one_option(output: str) -> str:
    """The first letter that is an option's, wherever it stands; empty for an empty answer."""
    if not output.strip() or output in OPTIONS:
        return output.strip()
    found = _RUN.search(output)
    return found[0][0] if found else GUESS


def some_options(output: str) -> str:
    """The letters that an answer begins with, or those that are marked as options before it goes on to a question."""
    if not output.strip() or output in OPTIONS:
        return output.strip()
    lead = _RUN.match(output)
    first = lead[0] if lead else ""
    if len(first) > 1:
        return "".join(sorted(set(first)))
    rest = output[len(first) :].partition("Question")[0]
    marked = {letter for letter in (first, *_MARKED.findall(rest)) if letter and letter in OPTIONS}
    if marked:
        return "".join(sorted(marked))
    found = _RUN.search(rest)
    return found[0] if found else GUESS
