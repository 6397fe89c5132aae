"""Evidence: the answer rests on words of the chunk, whose place is recorded. Needs the chunk; no model.

The quotation that the generator gave is looked up word for word. Where it gave none, the sentences that support
the answer best are taken. Numbers and names of the answer must stand near that evidence (for a short answer) or in
the chunk (for a longer one, which may draw on several places); of its other words, a share.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from longreach.record import Span, Verdict
from longreach.text.sentences import sentences
from selfinstruct.checks.numerals import Mention, claims, mentions, numbers
from selfinstruct.checks.phrases import YES_NO
from selfinstruct.checks.wording import (
    full_names,
    identifiers,
    marks_names,
    names,
    names_in_short,
    overlap,
    spoken_words,
)
from selfinstruct.parse import Pair
from selfinstruct.quotation import Wording, widened
from selfinstruct.tasks import Task

MIN_SUPPORT = 0.2  # of the answer's content words, near the evidence (short answers) or in the chunk
MIN_ASKED = 0.2  # of the question's content words, in the chunk
MAX_BARE_WORDS = 5  # a short answer up to this length states its number in words on purpose
MIN_QUOTE_WORDS = 5  # a shorter quotation is read with its whole sentence
NEIGHBOURS = 6  # words on either side of a number that tell what it counts
MOVED = 2  # of them beside another number of the quotation: it is that number which they belong to
COUNTED = frozenset("123")  # numbers so small that an answer may count its own points with them
_EDGES = " \t\r\n.,;:!?()[]{}<>\"'“”‘’«»`*_|/–—-…"  # what may stand beside a whole word
MAX_EVIDENCE = 6  # sentences recorded where no quotation was given


@dataclass(frozen=True)
class Source:
    """The text that a pair was written from; its sentences and words are found once for all its pairs."""

    text: str
    _words: dict[Span, frozenset[str]] = field(default_factory=dict, repr=False)

    @cached_property
    def sentences(self) -> list[Span]:
        """Spans of its sentences."""
        return list(sentences(self.text))

    @cached_property
    def wording(self) -> Wording:
        """Its words, for finding quotations that are not verbatim to the character."""
        return Wording(self.text)

    def find_quote(self, quote: str) -> list[Span]:
        """Where a quotation stands: to the character, else word for word, else in parts; empty where nowhere."""
        exact = self._find_exactly(quote)
        return [exact] if exact else self.wording.find_quote(quote)

    def find(self, phrase: str) -> Span | None:
        """Where a phrase stands, to the character or word for word."""
        return self._find_exactly(phrase) or self.wording.find(phrase)

    def _find_exactly(self, phrase: str) -> Span | None:
        phrase = phrase.strip()
        at = self.text.find(phrase)
        end = at + len(phrase)
        whole = at >= 0 and not (self.text[at - 1 : at] + self.text[end : end + 1]).strip(_EDGES)
        return Span(at, end) if phrase and whole else None

    def beside(self, forms: frozenset[str], words: frozenset[str]) -> int:
        """The most of `words` that stand around any place of the number."""
        places = (mention for mention in mentions(self.text) if forms & mention.forms)
        return max((len(words & _neighbours(self.text, mention)) for mention in places), default=0)

    def words_of(self, span: Span) -> frozenset[str]:
        """Content words of a sentence, without numbers."""
        if span not in self._words:
            self._words[span] = spoken_words(span.of(self.text))
        return self._words[span]


def check_evidence(pair: Pair, task: Task, source: Source) -> tuple[Verdict, list[Span]]:
    """The verdict, and the spans of the source on which the answer rests."""
    spans = source.find_quote(pair.evidence) if pair.evidence.strip() else []
    if pair.evidence.strip() and not spans:
        return Verdict(False, 0.0, f"quotation not in the source: {pair.evidence[:60]!r}"), []
    quoted = bool(spans)
    spans = spans or best_sentences(pair, task, source)
    if not spans:
        return Verdict(False, 0.0, "nothing in the source supports the answer"), []
    near = near_evidence(spans, source, task, quoted)
    problem = _unsupported(pair, task, source, near)
    support = overlap(spoken_words(pair.answer), spoken_words(near))
    return Verdict(not problem, round(support, 4), problem), sorted(set(spans), key=lambda span: (span.start, span.end))


def near_evidence(spans: Sequence[Span], source: Source, task: Task, quoted: bool) -> str:
    """Where the answer's facts must stand: around the evidence for a short answer, else anywhere in the source."""
    if not task.short:
        return source.text
    if quoted and sum(len(span.of(source.text).split()) for span in spans) >= MIN_QUOTE_WORDS:
        return "\n".join(span.of(source.text) for span in spans)
    return "\n".join(widened(span, source.sentences, 0 if quoted else 1).of(source.text) for span in spans)


def best_sentences(pair: Pair, task: Task, source: Source) -> list[Span]:
    """The sentences that share most with the answer: its verbatim place, or the best for each of its sentences."""
    if task.short:
        return _best_for_short(pair, source)
    found = []
    for part in list(sentences(pair.answer))[:MAX_EVIDENCE]:
        statement = part.of(pair.answer)
        whole = source.find(statement)
        best = whole or _most_similar(spoken_words(statement), source)
        if best and best not in found:
            found.append(best)
    return found


def _best_for_short(pair: Pair, source: Source) -> list[Span]:
    """Of the sentences that hold the answer, the one that shares most with the question."""
    asked, said = spoken_words(pair.question), spoken_words(pair.answer)
    pattern = source.find(pair.answer)
    stated = claims(pair.answer, small_words=True)
    stating = [span for span in source.sentences if _states_all(stated, span.of(source.text))] if stated else []
    saying = [span for span in stating or source.sentences if said and said <= source.words_of(span)]
    holding = saying or stating
    pool = holding or ([widened(pattern, source.sentences)] if pattern else [])
    if pool:
        return [max(pool, key=lambda span: len(asked & source.words_of(span)))]
    best = _most_similar(said | asked, source)
    return [best] if best else []


def _states_all(stated: Sequence[frozenset[str]], sentence: str) -> bool:
    given = numbers(sentence)
    return all(forms & given for forms in stated)


def _most_similar(words: frozenset[str], source: Source) -> Span | None:
    """The sentence that holds most of the words; a shorter one where two hold as many."""
    scored = [(len(words & source.words_of(span)), span.start - span.end, span) for span in source.sentences]
    best = max(scored, key=lambda entry: entry[:2], default=None)
    return best[2] if best and best[0] else None


def _unsupported(pair: Pair, task: Task, source: Source, near: str) -> str:
    """The first thing that the answer says and the evidence does not; empty where it supports all."""
    strange = _strange_number(pair, task, near) or _moved_number(pair, source)
    if strange:
        return f"number without support: {strange}"
    unknown = [name for name in sorted(_names(pair, task, source)) if not _known(name, near, pair.question)]
    unknown += [name for name in sorted(identifiers(pair.answer)) if not _known(name, source.text, pair.question)]
    if unknown:
        return f"name without support: {unknown[0]!r}"
    if task.short and (claims(pair.answer, small_words=True) or YES_NO.match(pair.answer)):
        return ""  # its number or its yes is the answer; the few words around it are the writer's
    support = overlap(spoken_words(pair.answer) - spoken_words(pair.question), spoken_words(near))
    if support < MIN_SUPPORT:
        return f"words without support: {support:.0%} of the answer's are in the source"
    asked = overlap(spoken_words(pair.question), spoken_words(source.text))
    if task.asks and asked < MIN_ASKED:
        return f"question about something else: {asked:.0%} of its words are in the source"
    return ""


def _strange_number(pair: Pair, task: Task, near: str) -> str:
    """A number that the answer states and neither the evidence nor the question does."""
    stated = claims(pair.answer, small_words=task.short and len(pair.answer.split()) <= MAX_BARE_WORDS)
    given = numbers(near) | numbers(pair.question) if stated else frozenset()
    return next((min(forms) for forms in stated if not forms & given), "")


def _moved_number(pair: Pair, source: Source) -> str:
    """A number whose neighbouring words stand, in the quotation, beside another number: "27 per cent less gas" against
    "17 per cent less gas", though the source has a 27 elsewhere. Only where the quotation lacks the number."""
    if not pair.evidence:
        return ""
    quoted = numbers(pair.evidence) | numbers(pair.question) | COUNTED
    for mention in mentions(pair.answer):
        if mention.forms & quoted:
            continue
        words = _neighbours(pair.answer, mention)
        here = max((len(words & _neighbours(pair.evidence, other)) for other in mentions(pair.evidence)), default=0)
        if here >= MOVED and here > source.beside(mention.forms, words):
            return min(mention.forms)
    return ""


def _neighbours(text: str, mention: Mention) -> frozenset[str]:
    """Content words within a few words of a number."""
    before = re.findall(r"\S+", text[: mention.start])[-NEIGHBOURS:]
    after = re.findall(r"\S+", text[mention.end :])[:NEIGHBOURS]
    return spoken_words(" ".join([*before, *after]))


def _names(pair: Pair, task: Task, source: Source) -> set[str]:
    """What counts as a name in the answer, by how the source uses capitals."""
    if not marks_names(source.text):
        return full_names(pair.answer)
    return names_in_short(pair.answer) if task.short else names(pair.answer)


def _known(name: str, near: str, question: str) -> bool:
    """Whether the name, or each word of a compound one, stands near the evidence or in the question."""
    told = f"{near} {question}".lower()
    return all(re.search(rf"(?<!\w){re.escape(part)}(?:s|es|n)?(?!\w)", told) for part in _parts(name))


def _parts(name: str) -> list[str]:
    """Its words, each without the s of a genitive."""
    return [word[:-1] if word.endswith("s") and len(word) > 4 else word for word in re.findall(r"\w+", name)]
