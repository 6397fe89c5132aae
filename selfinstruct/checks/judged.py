"""Checks that ask a model: leak, round trip, critique.

leak: the question is asked without the document; a right answer means that the record would teach recall, not reading.
round trip: it is asked again with the chunk; the two answers must agree. critique: the paper's self-critique (Sec. 2.2
names it, without its prompt or rule) as a score with a rationale, which was found to judge better than yes or no.
"""

from collections.abc import Awaitable, Callable

from longreach.engines.base import Completion, Message, Request, Sampling
from longreach.record import Verdict
from selfinstruct.checks.wording import agreement
from selfinstruct.parse import Pair, parse_answer, parse_score
from selfinstruct.prompts import Prompts
from selfinstruct.tasks import CRITIQUE_SCHEMA, Task

Ask = Callable[[Request], Awaitable[Completion]]

LEAKED = {True: 0.8, False: 0.6}  # agreement of the closed-book answer, by whether answers are short
AGREES = {True: 0.5, False: 0.25}  # agreement of the answer given with the chunk
MAX_SHORT_TOKENS, MAX_LONG_TOKENS, MAX_CRITIQUE_TOKENS = 64, 512, 512


class Judge:
    """Asks one model about pairs. `min_score` is the critique's threshold, from 1 to 10."""

    def __init__(self, ask: Ask, prompts: Prompts, *, language: str, structured: bool, min_score: float) -> None:
        self._ask = ask
        self._prompts = prompts
        self._language = language
        self._structured = structured
        self._min_score = min_score

    async def leak(self, pair: Pair, task: Task, affinity: str) -> Verdict:
        """Rejects a pair that the model answers without the document."""
        prompt = self._prompts.render(
            "answer_closed_book", question=pair.question, short=task.short, language=self._language
        )
        reply = parse_answer((await self._ask(_greedy(prompt, task, affinity))).text)
        score = agreement(reply, pair.answer, short=task.short)
        leaked = score >= LEAKED[task.short]
        return Verdict(not leaked, round(score, 4), f"answered without the document: {reply[:60]!r}" if leaked else "")

    async def round_trip(self, pair: Pair, task: Task, text: str, affinity: str) -> Verdict:
        """Rejects a pair whose question the model answers otherwise when it sees the chunk."""
        prompt = self._prompts.render(
            "answer_from_text", text=text, question=pair.question, short=task.short, language=self._language
        )
        reply = parse_answer((await self._ask(_greedy(prompt, task, affinity))).text)
        score = agreement(reply, pair.answer, short=task.short)
        agrees = score >= AGREES[task.short]
        return Verdict(agrees, round(score, 4), "" if agrees else f"answered otherwise: {reply[:60]!r}")

    async def critique(self, pair: Pair, text: str, affinity: str) -> Verdict:
        """Rejects a pair that the model scores under the threshold, or whose score cannot be read."""
        prompt = self._prompts.render(
            "critique", text=text, question=pair.question, answer=pair.answer, structured=self._structured
        )
        schema = CRITIQUE_SCHEMA if self._structured else None
        reply = await self._ask(
            Request((Message("user", prompt),), Sampling(MAX_CRITIQUE_TOKENS), schema, affinity, "critique")
        )
        scored = parse_score(reply.text)
        if scored is None:
            return Verdict(False, None, f"no score: {reply.text.strip()[:60]!r}")
        score, rationale = scored
        reason = f"low score: {score:g}, {rationale[:200]}" if score < self._min_score else rationale[:500]
        return Verdict(score >= self._min_score, score, reason)


def _greedy(prompt: str, task: Task, affinity: str) -> Request:
    limit = MAX_SHORT_TOKENS if task.short else MAX_LONG_TOKENS
    return Request((Message("user", prompt),), Sampling(limit), None, affinity, "answer")
