"""The built-in engine: pairs taken from the text itself, with no model.

It answers the same requests as a model, in the same tags, from `Request.source` alone: short answers as cloze questions
on a name, number or rare word; long answers as "what is said of X" or as the continuation of a sentence; summaries as
the text's weightiest sentences. Good for trying the whole path and for reading drills; not for instruction following,
paraphrase or reasoning: nothing in its answers is in other words than the document's.
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from longreach.engines.base import Completion, Ready, Request
from longreach.text.sentences import sentences
from selfinstruct.checks.wording import spoken_words

BLANK = "____"
MIN_WORDS, MAX_WORDS = 7, 60  # of a sentence worth asking about
TOP = 6  # candidates among which the seed chooses
SUMMARY_SENTENCES = 4
MAX_ABOUT = 4  # sentences of a "what is said of" answer

_NO_LETTER = re.compile(r"[^\w\s]|[\d_]")
_WORD_PART = re.compile(r"[\w'’-]")
_TERM = re.compile(
    r"[A-Za-z]+[_.]\w[\w.]*\w|[A-Z][a-z]+(?:\s[A-Z][a-z]+)+|\d[\d.,]*\d|\d+|\b\w*[A-Z]\w*[A-Z]\w*\b|[^\W\d_][\w-]{3,}"
)
_MARKUP = re.compile(r":[\w:+.-]+:`~?!?(?:[^`<]*<)?([^`>]+)>?`|[`*]{1,2}([^`*\n]+)[`*]{1,2}|\[([^\]\n]+)\]\([^)\s]+\)")
_NOT_PROSE = re.compile(
    r"^\s*(?:[.][.]|>>>|[-=~^+|*#]{2,}|[{}<>|$/\\:@]|\d+[.]\d+[.]|(?:def|class|import|from|return)\s)|[=;{}|<>\\]{2}|::|\(\)\s*->"
)


@dataclass(frozen=True)
class _Text:
    """A source's sentences worth asking about, as they stand in it, and how often each content word occurs."""

    verbatim: Mapping[str, str]  # plain sentence -> as it stands, with its markup and line breaks
    frequency: Counter[str]

    @property
    def sentences(self) -> Sequence[str]:
        """The plain sentences, in order."""
        return list(self.verbatim)

    def pair(self, question: str, answer: str, evidence: str) -> str:
        """A tagged reply whose quotation is the evidence sentence as it stands."""
        quote = self.verbatim[evidence]
        return f"<question>{question}</question>\n<answer>{answer}</answer>\n<evidence>{quote}</evidence>"


class ExtractiveEngine(Ready):
    """An Engine that reads the answer out of the source. Same request, same completion."""

    name = "extractive"
    model = "extractive"
    concurrency = 64
    structured = False

    async def complete(self, request: Request) -> Completion:
        """A pair or summary in tags; an empty reply where the source holds no sentence to ask about."""
        return Completion(extract(request.task, request.source, request.sampling.seed))


def extract(task: str, source: str, seed: int) -> str:
    """The tagged reply for a task on a source."""
    text = _read(source)
    draw = random.Random(seed)
    if not text.sentences:
        return ""
    if task == "short_answer":
        return _cloze(text, draw)
    if task == "long_answer":
        return _about(text, draw) if draw.random() < 0.5 else _continuation(text, draw) or _about(text, draw)
    return f"<summary>{_summary(text)}</summary>"


def _read(source: str) -> _Text:
    spoken = {_plain(span.of(source)): span.of(source) for span in sentences(source)}
    kept = {plain: verbatim for plain, verbatim in spoken.items() if _is_prose(plain)}
    return _Text(kept, Counter(word for sentence in kept for word in spoken_words(sentence)))


def _plain(sentence: str) -> str:
    """On one line, with the markup of rst and markdown taken off the words it marks."""
    bare = _MARKUP.sub(lambda match: next(group for group in match.groups() if group).lstrip("~"), sentence)
    return " ".join(bare.split())


def _is_prose(sentence: str) -> bool:
    number = len(sentence.split())
    if not MIN_WORDS <= number <= MAX_WORDS or _NOT_PROSE.search(sentence):
        return False
    letters = len(sentence) - len(_NO_LETTER.findall(sentence))
    return sentence[-1] in ".!?。！？" and letters >= 0.8 * len(sentence) and sentence[0].isalnum()


def _weight(sentence: str, text: _Text) -> float:
    """Mean frequency of its content words: what the text keeps coming back to."""
    found = spoken_words(sentence)
    return sum(text.frequency[word] for word in found) / (len(found) + 3)


def _choose(candidates: Sequence[str], draw: random.Random) -> str:
    return candidates[draw.randrange(min(TOP, len(candidates)))]


def _cloze(text: _Text, draw: random.Random) -> str:
    """A weighty sentence with its most telling term left out."""
    ranked = sorted(text.sentences, key=lambda sentence: -_weight(sentence, text))
    for sentence in [_choose(ranked, draw), *ranked]:
        terms = [term for term in _terms(sentence, text) if _stands_once(term, sentence)]
        if terms:
            term = terms[draw.randrange(min(2, len(terms)))]
            gap = sentence.replace(term, BLANK, 1)
            return text.pair(f'Which word or words complete this sentence of the document: "{gap}"?', term, sentence)
    return ""


def _stands_once(term: str, sentence: str) -> bool:
    """The term occurs once, as a word of its own."""
    at = sentence.find(term)
    around = sentence[at - 1 : at] + sentence[at + len(term) : at + len(term) + 1]
    return sentence.lower().count(term.lower()) == 1 and not _WORD_PART.search(around)


def _terms(sentence: str, text: _Text) -> list[str]:
    """Names, numbers, identifiers and rare words of a sentence, the most telling first."""
    found = [match.group() for match in _TERM.finditer(sentence) if spoken_words(match.group())]
    return sorted(
        dict.fromkeys(found), key=lambda term: (not _is_special(term, sentence), _commonness(term, text), -len(term))
    )


def _is_special(term: str, sentence: str) -> bool:
    inside = not sentence.startswith(term)
    return any(character.isdigit() or character == "_" for character in term) or (inside and term != term.lower())


def _commonness(term: str, text: _Text) -> int:
    return min(text.frequency[word] for word in spoken_words(term))


def _about(text: _Text, draw: random.Random) -> str:
    """A term that two to four sentences hold, and those sentences."""
    terms = Counter(term for sentence in text.sentences for term in set(_TERM.findall(sentence)) if len(term) > 3)
    shared = sorted(
        (term for term, number in terms.items() if 2 <= number <= MAX_ABOUT and spoken_words(term)),
        key=lambda term: (-len(term), term),
    )
    if not shared:
        return _continuation(text, draw)
    term = _choose(shared, draw)
    holding = [sentence for sentence in text.sentences if term in _TERM.findall(sentence)]
    return text.pair(f'What does the document say about "{term}"?', " ".join(holding), holding[0])


def _continuation(text: _Text, draw: random.Random) -> str:
    """A sentence, and the two that follow it among the text's prose."""
    if len(text.sentences) < 3:
        return ""
    at = draw.randrange(len(text.sentences) - 2)
    opening, answer = text.sentences[at], " ".join(text.sentences[at + 1 : at + 3])
    return text.pair(f'What does the document say next, after "{opening}"?', answer, text.sentences[at + 1])


def _summary(text: _Text) -> str:
    """The weightiest sentences in their order."""
    best = sorted(text.sentences, key=lambda sentence: -_weight(sentence, text))[:SUMMARY_SENTENCES]
    return " ".join(sentence for sentence in text.sentences if sentence in best)
