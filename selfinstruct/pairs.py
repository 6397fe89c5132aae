"""From a unit to its outcomes: ask for pairs, read them, check them. Everything one unit needs, and nothing between
units.

The requests of a unit start together and its checks follow at once, so that a server still has the chunk in its
prefix cache. What concerns several units (duplicates, evidence depth) is decided later, in order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from longreach.engines.base import Completion, Message, Request, RequestFailed, RequestRefused, Sampling
from longreach.record import Span, Verdict
from longreach.text.tokenize import Tokenizer
from selfinstruct.checks.evidence import Source, check_evidence
from selfinstruct.checks.form import check_form, check_leak_in_question
from selfinstruct.checks.judged import Ask, Judge
from selfinstruct.config import GenerateSettings
from selfinstruct.parse import Pair, parse_pair, parse_summary
from selfinstruct.plan import Unit
from selfinstruct.prompts import Prompts
from selfinstruct.tasks import PAIR_SCHEMA, SUMMARY_SCHEMA, TASKS, Task

MIN_MERGED = 2  # summaries merged by one request, however small the chunks


@dataclass
class Outcome:
    """What became of one planned request: kept, rejected or failed, each but the first with a reason."""

    unit: Unit
    task: Task
    pair: Pair | None = None
    reply: str = ""  # as the model wrote it, where no pair could be read from it
    checks: dict[str, Verdict] = field(default_factory=dict)
    evidence: Sequence[Span] = ()  # in characters of the document
    rejected: str = ""  # "check: reason", counted
    failed: str = ""  # what went wrong with the request, counted
    detail: str = ""

    def add(self, check: str, verdict: Verdict) -> bool:
        """Keep a verdict; the first that fails rejects the pair. Returns whether it passed."""
        self.checks[check] = verdict
        if not verdict.passed:
            self.rejected, self.detail = f"{check}: {verdict.reason.split(':')[0]}", verdict.reason
        return verdict.passed


@dataclass(frozen=True)
class PairWriter:
    """Turns units into outcomes. `model` makes leak and round-trip checks, `judge` the critique; None: left out."""

    settings: GenerateSettings
    prompts: Prompts
    tokenizer: Tokenizer
    ask: Ask
    structured: bool
    model: Judge | None
    judge: Judge | None

    async def outcomes(self, unit: Unit) -> list[Outcome]:
        """One outcome for each task of the unit."""
        source = Source(unit.text)
        return list(await asyncio.gather(*(self._outcome(unit, task, source) for task in unit.tasks)))

    async def _outcome(self, unit: Unit, task: Task, source: Source) -> Outcome:
        outcome = Outcome(unit, task)
        try:
            if unit.parts:
                basis = await self._summarize(unit, outcome)
            else:
                basis = source.text
                self._read(outcome, await self.ask(self._request(unit, task, unit.text)))
            if outcome.pair:
                await self._check(outcome, source, basis)
        except RequestRefused as refusal:
            outcome.rejected, outcome.detail = f"engine: {refusal.reason}", refusal.detail
        except RequestFailed as failure:
            outcome.failed, outcome.detail = failure.reason, failure.detail
        return outcome

    def _request(self, unit: Unit, task: Task, text: str) -> Request:
        prompt = self.prompts.render(
            task.prompt, text=text, language=self.settings.answer_language, structured=self.structured
        )
        return self._drawn(unit, task, prompt, text)

    def _drawn(self, unit: Unit, task: Task, prompt: str, source: str) -> Request:
        settings = self.settings
        sampling = Sampling(task.max_tokens, settings.temperature, settings.top_p, unit.seed(settings.seed, task.name))
        schema = (PAIR_SCHEMA if task.asks else SUMMARY_SCHEMA) if self.structured else None
        return Request((Message("user", prompt),), sampling, schema, unit.document.sha256, task.name, source)

    def _read(self, outcome: Outcome, completion: Completion) -> None:
        """Parse a completion into the outcome's pair, or reject it."""
        read = parse_pair if outcome.task.asks else parse_summary
        outcome.pair = read(completion.text, completion.finish_reason == "length")
        if outcome.pair is None:
            outcome.rejected = "form: no pair" if outcome.task.asks else "form: no summary"
            outcome.reply = completion.text
            outcome.detail = (
                "the reply is empty" if not completion.text.strip() else "no pair can be read from the reply"
            )

    async def _summarize(self, unit: Unit, outcome: Outcome) -> str:
        """Summarize each part, then merge upward; returns what the final summary was written from."""
        section, basis = TASKS["section_summary"], unit.text
        texts = [part.span.of(unit.document.text) for part in unit.parts]
        replies = await self._ask_all([self._request(unit, section, text) for text in texts])
        summaries = self._summaries_in(replies, outcome)
        while len(summaries) > 1:
            basis = "\n\n".join(summaries)
            groups = self._groups(summaries)
            replies = await self._ask_all([self._merging(unit, group, outcome.task) for group in groups])
            summaries = self._summaries_in(replies, outcome)
        return basis

    async def _ask_all(self, requests: Sequence[Request]) -> list[Completion]:
        """All completions. Every request ends before the first failure, in their order, is raised: what becomes of a
        document does not depend on which of its requests is answered first."""
        results = await asyncio.gather(*map(self.ask, requests), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [result for result in results if isinstance(result, Completion)]

    def _merging(self, unit: Unit, group: Sequence[str], task: Task) -> Request:
        prompt = self.prompts.render(
            "merge_summaries", summaries=group, language=self.settings.answer_language, structured=self.structured
        )
        return self._drawn(unit, task, prompt, "\n\n".join(group))

    def _summaries_in(self, replies: Sequence[Completion], outcome: Outcome) -> list[str]:
        """The summaries of replies; empty where one gives none, which rejects the outcome."""
        summaries = []
        for reply in replies:
            self._read(outcome, reply)
            if outcome.pair is None:
                return []
            summaries.append(outcome.pair.answer)
        return summaries

    def _groups(self, summaries: Sequence[str]) -> list[list[str]]:
        """Neighbours that together are no longer than a chunk, two at least, so that every round gets shorter.

        A last one that would stand alone joins the group before it.
        """
        groups: list[list[str]] = []
        tokens = 0
        for summary, length in zip(summaries, self.tokenizer.counts(summaries), strict=True):
            if not groups or (tokens + length > self.settings.chunk_tokens and len(groups[-1]) >= MIN_MERGED):
                groups.append([])
                tokens = 0
            groups[-1].append(summary)
            tokens += length
        if len(groups) > 1 and len(groups[-1]) == 1:
            groups[-2:] = [groups[-2] + groups[-1]]
        return groups

    async def _check(self, outcome: Outcome, source: Source, basis: str) -> None:
        """Every check that was asked for, cheap ones first, until one rejects."""
        pair, task, wanted = outcome.pair, outcome.task, self.settings.checks
        assert pair is not None
        if "form" in wanted and not outcome.add("form", check_form(pair, task)):
            return
        verdict, spans = check_evidence(pair, task, source)
        start = outcome.unit.span.start
        outcome.evidence = [Span(start + span.start, start + span.end) for span in spans]
        if "evidence" in wanted and not outcome.add("evidence", verdict):
            return
        if "leak" in wanted and not outcome.add("leak", check_leak_in_question(pair, task)):
            return
        await self._ask_checks(outcome, pair, basis)

    async def _ask_checks(self, outcome: Outcome, pair: Pair, basis: str) -> None:
        task, wanted, affinity = outcome.task, self.settings.checks, outcome.unit.document.sha256
        if self.model and task.asks:
            if "leak" in wanted and not outcome.add("leak", await self.model.leak(pair, task, affinity)):
                return
            if "roundtrip" in wanted and not outcome.add(
                "roundtrip", await self.model.round_trip(pair, task, basis, affinity)
            ):
                return
        if self.judge and "critique" in wanted:
            outcome.add("critique", await self.judge.critique(pair, basis, affinity))


def rejected_row(outcome: Outcome, generator: Mapping[str, object]) -> dict[str, object]:
    """A line of rejected.jsonl."""
    pair = outcome.pair
    return {
        **_origin(outcome),
        "reason": outcome.rejected,
        "detail": outcome.detail,
        "question": pair.question if pair else "",
        "answer": pair.answer if pair else "",
        "evidence": pair.evidence if pair else "",
        "reply": outcome.reply,
        "checks": {
            name: {"passed": v.passed, "score": v.score, "reason": v.reason} for name, v in outcome.checks.items()
        },
        "generator": generator,
    }


def failed_row(outcome: Outcome) -> dict[str, object]:
    """A line of failed.jsonl."""
    return {**_origin(outcome), "reason": outcome.failed, "detail": outcome.detail}


def _origin(outcome: Outcome) -> dict[str, object]:
    document, span = outcome.unit.document, outcome.unit.span
    return {
        "document": {"id": document.id, "path": document.path, "sha256": document.sha256},
        "chunk": {"start": span.start, "end": span.end},
        "task": outcome.task.name,
    }
