"""Form: a question that stands on its own, an answer that is whole. Sees the pair alone; costs microseconds."""

import re

from longreach.record import Verdict
from longreach.text.sentences import sentences
from selfinstruct.checks.phrases import (
    CHOICE,
    DANGLING,
    DANGLING_IN_PROSE,
    ENDING,
    LIST_OR_CODE,
    NO_ANSWER,
    REFERENCE,
    SOURCE,
    YES_NO,
)
from selfinstruct.checks.wording import STOP, content_words, normal
from selfinstruct.parse import Pair
from selfinstruct.tasks import Task

MAX_SHORT_WORDS = 25
MIN_QUESTION_CHARS = 8
MIN_SUMMARY_WORDS = 8
ECHO = 0.75  # of the answer's content words stand in the question
MIN_ECHO_WORDS = 6
MAX_PHRASE_WORDS = 20  # of an answer without a full stop that still counts as a whole phrase
_CODE = re.compile(r"`|(?:^|\s)--?\w|\w\(|[/\\]\w")


def check_form(pair: Pair, task: Task) -> Verdict:
    """Reject what cannot be a good pair whatever the document says."""
    problem = next(filter(None, (_question(pair, task), _answer(pair, task), _together(pair, task))), "")
    return Verdict(not problem, 0.0 if problem else 1.0, problem)


def _question(pair: Pair, task: Task) -> str:
    if not task.asks:
        return ""
    if len(pair.question) < MIN_QUESTION_CHARS:
        return "no question"
    return _reference(pair.question)


def _reference(text: str) -> str:
    found = REFERENCE.search(text)
    return f"refers to the passage: {found.group().strip()!r}" if found else ""


def _answer(pair: Pair, task: Task) -> str:
    answer = pair.answer.strip()
    if not re.search(r"\w", answer):
        return "empty answer" if not answer else "answer without a word"
    if pair.cut_off or _breaks_off(answer, task):
        return f"cut off: ...{answer[-40:]!r}"
    if _refuses(answer) and not NO_ANSWER.search(pair.evidence):  # unless it is the document that does not know
        return f"no answer: {answer[:60]!r}"
    if task.short and len(answer.split()) > MAX_SHORT_WORDS:
        return f"too long for a short answer: {len(answer.split())} words"
    if not task.asks and len(answer.split()) < MIN_SUMMARY_WORDS and len(answer) < 40:
        return "too short for a summary"
    return _reference(answer)


def _breaks_off(answer: str, task: Task) -> bool:
    """Any answer that ends in mid-air; one of several sentences whose last does not end like a sentence, list or code.
    A lone phrase without a full stop is whole: many models write so."""
    if DANGLING.search(answer):
        return True
    if task.short or ENDING.search(answer) or LIST_OR_CODE.search(answer):
        return False
    return (
        bool(DANGLING_IN_PROSE.search(answer))
        or len(list(sentences(answer))) > 1
        or len(answer.split()) > MAX_PHRASE_WORDS
    )


def _refuses(answer: str) -> bool:
    """Says that there is no answer. A longer one may say so of a thing, so it must open by speaking of the source."""
    found = NO_ANSWER.search(answer)
    if not found:
        return False
    opening = answer[: found.start()]
    return len(answer.split()) <= 12 or (len(opening) < 60 and bool(SOURCE.search(opening)))


def _together(pair: Pair, task: Task) -> str:
    """Echoes. A phrase that its question holds is a leak, told apart by check_leak_in_question."""
    if not task.asks:
        return ""
    question, answer = normal(pair.question), normal(pair.answer)
    asked, said = content_words(pair.question), content_words(pair.answer)
    repeats = len(said & asked) >= ECHO * len(said) and not YES_NO.match(pair.answer) and not _CODE.search(pair.answer)
    if answer == question or (repeats and said and len(answer.split()) >= MIN_ECHO_WORDS):
        return "echo of the question"
    return ""


def check_leak_in_question(pair: Pair, task: Task) -> Verdict:
    """The question gives its answer away. A choice ("A or B?") must name its answers, so it is let through."""
    if not (task.asks and task.short) or CHOICE.search(pair.question) or YES_NO.match(pair.answer):
        return Verdict(True, 0.0)
    answer = " ".join(word for word in normal(pair.answer).split() if word not in STOP)
    if len(answer) >= 2 and f" {answer} " in f" {normal(pair.question)} ":
        return Verdict(False, 1.0, f"answer in question: {pair.answer[:60]!r}")
    return Verdict(True, 0.0)
