"""--dry-run: what a run would ask, and what that takes. Reads and chunks the documents; asks nothing, writes nothing.

Counts of documents, chunks, requests and prompt tokens are exact for pair requests. Checks are counted as if every pair
reached them, so they are an upper bound. Reply lengths and speeds are assumptions, printed with the figures.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from longreach.progress import ProgressLine
from longreach.text.corpus import Corpus
from longreach.text.distinct import distinct
from longreach.text.document import Skipped
from longreach.text.tokenize import Tokenizer, load_tokenizer
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import EXTRACTIVE, engine_name
from selfinstruct.plan import Plan, Unit
from selfinstruct.prompts import VARIABLES, Prompts, load_prompts
from selfinstruct.tasks import Task

REPLY_TOKENS = {"short_answer": 90, "long_answer": 260, "section_summary": 160, "summary": 220}  # with the quotation
ANSWER_TOKENS = {True: 12, False: 120}  # of a check's answer, by whether it is short
CRITIQUE_TOKENS = 150
PROMPT_TOKENS_PER_SECOND = 10_000.0  # assumed: one data-centre GPU, a model of about 8B parameters, prefix not cached
REPLY_TOKENS_PER_SECOND = 2_000.0  # assumed: the same, at full batch
EXTRACTIVE_SECONDS = 0.008  # a request, measured on one core of a 2-core machine
SAMPLE = {"structured": False, "short": True, "language": "English", "summaries": ["..."]}


@dataclass
class Estimate:
    """Totals over all units."""

    requests: Counter[str] = field(default_factory=Counter)  # by task, by check
    prompt_tokens: int = 0
    cached_tokens: int = 0  # of the prompts: a chunk's text on its second and later requests
    reply_tokens: int = 0

    def ask(self, kind: str, overhead: int, text: int, reply: int, *, cached: bool) -> None:
        """Count one request on a text."""
        self.requests[kind] += 1
        self.prompt_tokens += overhead + text
        self.cached_tokens += text if cached else 0
        self.reply_tokens += reply


def estimate(settings: GenerateSettings) -> dict[str, Any]:
    """documents -> units -> counts."""
    tokenizer, prompts = load_tokenizer(settings.tokenizer), load_prompts(settings.prompts)
    corpus = Corpus(settings.docs, text_field=settings.text_field, min_chars=settings.min_chars)
    plan, total = Plan(settings, tokenizer), Estimate()
    overhead = _overheads(prompts, tokenizer)
    with ProgressLine("dry run", corpus.total_bytes) as line:
        for unit in plan.units(distinct(corpus, settings.near_duplicates)):
            if not isinstance(unit, Skipped):
                _count(unit, settings, overhead, total)
            line.update(corpus.read_bytes, f"{plan.read:,} documents")
    return _summary(plan, total, settings)


def _overheads(prompts: Prompts, tokenizer: Tokenizer) -> Mapping[str, int]:
    """Tokens of each prompt without its text."""
    blank: Callable[[str], Any] = lambda name: SAMPLE.get(name, "")  # noqa: E731
    return {
        name: tokenizer.count(prompts.render(name, **{variable: blank(variable) for variable in variables}))
        for name, variables in VARIABLES.items()
    }


def _count(unit: Unit, settings: GenerateSettings, overhead: Mapping[str, int], total: Estimate) -> None:
    """All requests of one unit."""
    if unit.parts:
        _count_summary(unit, settings, overhead, total)
        return
    text = unit.outline.tokens_of(unit.first, unit.last)
    for position, task in enumerate(unit.tasks):
        total.ask(task.name, overhead[task.prompt], text, REPLY_TOKENS[task.name], cached=position > 0)
        _count_checks(task, text, settings, overhead, total)


def _count_checks(
    task: Task, text: int, settings: GenerateSettings, overhead: Mapping[str, int], total: Estimate
) -> None:
    has_model = engine_name(settings)[0] != EXTRACTIVE
    if has_model and task.asks and "leak" in settings.checks:
        total.ask("check: leak", overhead["answer_closed_book"], 0, ANSWER_TOKENS[task.short], cached=False)
    if has_model and task.asks and "roundtrip" in settings.checks:
        total.ask("check: roundtrip", overhead["answer_from_text"], text, ANSWER_TOKENS[task.short], cached=True)
    if (has_model or settings.judge_url) and "critique" in settings.checks:
        total.ask("check: critique", overhead["critique"], text, CRITIQUE_TOKENS, cached=not settings.judge_url)


def _count_summary(unit: Unit, settings: GenerateSettings, overhead: Mapping[str, int], total: Estimate) -> None:
    reply = REPLY_TOKENS["section_summary"]
    for part in unit.parts:
        total.ask("summary of a part", overhead["section_summary"], part.tokens, reply, cached=False)
    number, group = len(unit.parts), max(2, settings.chunk_tokens // reply)
    while number > 1:
        merged = -(-number // group)
        for _ in range(merged):
            total.ask(
                "merged summary", overhead["merge_summaries"], group * reply, REPLY_TOKENS["summary"], cached=False
            )
        number = merged
    _count_checks(unit.tasks[0], min(number, group) * reply, settings, overhead, total)


def _summary(plan: Plan, total: Estimate, settings: GenerateSettings) -> dict[str, Any]:
    fresh = total.prompt_tokens - total.cached_tokens
    extractive = engine_name(settings)[0] == EXTRACTIVE
    replies = total.reply_tokens / REPLY_TOKENS_PER_SECOND
    seconds = total.requests.total() * EXTRACTIVE_SECONDS
    return {
        "documents": {"found": plan.found, "read": plan.read, "skipped": dict(plan.skipped.most_common())},
        "characters": plan.chars,
        "tokens": plan.tokens,
        "chunks": plan.chunks,
        "requests": dict(total.requests.most_common()),
        "prompt_tokens": total.prompt_tokens,
        "prompt_tokens_cached": total.cached_tokens,
        "reply_tokens": total.reply_tokens,
        "hours": round((seconds if extractive else fresh / PROMPT_TOKENS_PER_SECOND + replies) / 3600, 3),
        "hours_without_prefix_cache": round(
            (seconds if extractive else total.prompt_tokens / PROMPT_TOKENS_PER_SECOND + replies) / 3600, 3
        ),
        "cost": round((total.prompt_tokens * settings.price_in + total.reply_tokens * settings.price_out) / 1e6, 2),
        "assumed": "the built-in engine on one core"
        if extractive
        else f"{PROMPT_TOKENS_PER_SECOND:,.0f} prompt and {REPLY_TOKENS_PER_SECOND:,.0f} reply tokens a second, "
        "as one GPU gives with a model of about 8B; every pair reaches every check",
    }
