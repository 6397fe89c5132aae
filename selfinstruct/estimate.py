"""--dry-run: what a run would ask, and what that takes. Reads and chunks the documents; asks nothing, writes nothing.

Counts of documents, chunks, requests and prompt tokens are exact for pair requests. Checks are counted as if every pair
reached them, so they are an upper bound. Reply lengths are assumptions; so are the speeds, printed with the figures,
where the model's configuration is not known (selfinstruct.needs).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from longreach.plan.serving import BEST, USUAL, WORST, Load
from longreach.progress import ProgressLine
from longreach.text.corpus import Corpus
from longreach.text.distinct import distinct
from longreach.text.document import Skipped
from longreach.text.tokenize import Tokenizer, load_tokenizer
from selfinstruct.config import GenerateSettings
from selfinstruct.engine import EXTRACTIVE, engine_name
from selfinstruct.needs import Needs, needs
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
    """Totals over all units: of the generator, and of a judge that is another model."""

    requests: Counter[str] = field(default_factory=Counter)  # by task, by check
    own: Load = field(default_factory=Load)
    judged: Load = field(default_factory=Load)
    asked: set[tuple[str, int]] = field(default_factory=set)  # chunks of the document at hand that were asked about

    def ask(self, kind: str, overhead: int, text: int, reply: int, *, cached: bool, judge: bool = False) -> None:
        """Count one request on a text, which is `cached` where a request before it was on the same."""
        self.requests[kind] += 1
        (self.judged if judge else self.own).add(overhead + text, text if cached else 0, reply)


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
    total.asked = {chunk for chunk in total.asked if chunk[0] == unit.document.id} | {(unit.document.id, unit.first)}
    text = unit.outline.tokens_of(unit.first, unit.last)
    for position, task in enumerate(unit.tasks):
        total.ask(task.name, overhead[task.prompt], text, REPLY_TOKENS[task.name], cached=position > 0)
        _count_checks(task, text, settings, overhead, total, first=position == 0)


def _count_checks(
    task: Task,
    text: int,
    settings: GenerateSettings,
    overhead: Mapping[str, int],
    total: Estimate,
    *,
    first: bool,
    cached: bool = True,
) -> None:
    """Those of one pair; `first` on its text, which the generator has `cached`."""
    has_model, judge = engine_name(settings)[0] != EXTRACTIVE, bool(settings.judge_url or settings.judge_model)
    if has_model and task.asks and "leak" in settings.checks:
        total.ask("check: leak", overhead["answer_closed_book"], 0, ANSWER_TOKENS[task.short], cached=False)
    if has_model and task.asks and "roundtrip" in settings.checks:
        total.ask("check: roundtrip", overhead["answer_from_text"], text, ANSWER_TOKENS[task.short], cached=cached)
    if (has_model or judge) and "critique" in settings.checks:
        known = not first if judge else cached
        total.ask("check: critique", overhead["critique"], text, CRITIQUE_TOKENS, cached=known, judge=judge)


def _count_summary(unit: Unit, settings: GenerateSettings, overhead: Mapping[str, int], total: Estimate) -> None:
    """Summaries of the parts, merged upward; the last is checked against what it was written from."""
    reply = REPLY_TOKENS["section_summary"]
    for part in unit.parts:
        known = (unit.document.id, part.first) in total.asked
        total.ask("summary of a part", overhead["section_summary"], part.tokens, reply, cached=known)
    number, group = len(unit.parts), max(2, settings.chunk_tokens // reply)
    basis, whole = unit.outline.tokens_of(unit.first, unit.last), number == 1
    while number > 1:
        basis, merged = number * reply, -(-number // group)
        for _ in range(merged):
            total.ask(
                "merged summary",
                overhead["merge_summaries"],
                basis // merged,
                REPLY_TOKENS["summary"],
                cached=False,
            )
        number = merged
    _count_checks(unit.tasks[0], basis, settings, overhead, total, first=True, cached=whole)


def _summary(plan: Plan, total: Estimate, settings: GenerateSettings) -> dict[str, Any]:
    found = needs(settings, total.own, total.judged)
    loads = (total.own, total.judged)
    prompt, cached, reply = (
        sum(getattr(load, name) for load in loads) for name in ("prompt_tokens", "cached_tokens", "reply_tokens")
    )
    return {
        "documents": {"found": plan.found, "read": plan.read, "skipped": dict(plan.skipped.most_common())},
        "characters": plan.chars,
        "tokens": plan.tokens,
        "chunks": plan.chunks,
        "requests": dict(total.requests.most_common()),
        "prompt_tokens": prompt,
        "prompt_tokens_cached": cached,
        "reply_tokens": reply,
        **_hours(found, settings, total.requests.total(), prompt, cached, reply),
        "cost": _cost(settings, prompt, reply),
        "needs": found.as_object() if isinstance(found, Needs) else None,
        "not_planned": "" if isinstance(found, Needs) else found,
    }


def _cost(settings: GenerateSettings, prompt: int, reply: int) -> float | None:
    """In dollars, of a server that is paid by the token; None where nobody said its prices."""
    if not (settings.price_in or settings.price_out):
        return None
    return round((prompt * settings.price_in + reply * settings.price_out) / 1e6, 2)


def _hours(
    found: Needs | str, settings: GenerateSettings, requests: int, prompt: int, cached: int, reply: int
) -> dict[str, Any]:
    """Hours with and without a cached prefix, and what they rest on: the model's shape, or speeds that are assumed."""
    if isinstance(found, Needs):
        told = found.as_object()
        with_cache, without, assumed = told["cached"]["hours"], told["uncached"]["hours"], _shares(found)
    elif engine_name(settings)[0] == EXTRACTIVE:
        with_cache = without = requests * EXTRACTIVE_SECONDS / 3600
        assumed = "the built-in engine on one core"
    else:
        writing = reply / REPLY_TOKENS_PER_SECOND
        with_cache, without = (
            (tokens / PROMPT_TOKENS_PER_SECOND + writing) / 3600 for tokens in (prompt - cached, prompt)
        )
        assumed = (
            f"{PROMPT_TOKENS_PER_SECOND:,.0f} prompt and {REPLY_TOKENS_PER_SECOND:,.0f} reply tokens a second, "
            "as one GPU gives with a model of about 8B; every pair reaches every check"
        )
    return {"hours": round(with_cache, 3), "hours_without_prefix_cache": round(without, 3), "assumed": assumed}


def _shares(found: Needs) -> str:
    return (
        f"reading at {USUAL.peak:.0%} of the {found.gpu.name}'s peak ({WORST.peak:.0%} to {BEST.peak:.0%}), writing at "
        f"{USUAL.bandwidth:.0%} of its bandwidth ({WORST.bandwidth:.0%} to {BEST.bandwidth:.0%}); every pair reaches "
        "every check"
    )
