"""documents -> units -> outcomes -> records: one run of generate, from its settings to its folder."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from longreach.config import written
from longreach.engines.base import Engine
from longreach.engines.journalled import Journalled, Usage
from longreach.errors import UserError
from longreach.journal import Journal
from longreach.jsonl import LineWriter
from longreach.ordered import in_order
from longreach.run import FINISHED, RUNNING, RunFolder, versions
from longreach.text.corpus import Corpus
from longreach.text.distinct import distinct
from longreach.text.document import Skipped
from longreach.text.tokenize import Tokenizer
from selfinstruct.assemble import Assembler, evidence_depth
from selfinstruct.checks.duplicates import Duplicates
from selfinstruct.checks.judged import Judge
from selfinstruct.config import GenerateSettings
from selfinstruct.pairs import Outcome, PairWriter, failed_row, rejected_row
from selfinstruct.plan import Plan, Unit
from selfinstruct.prompts import Prompts

FILES = ("records", "rejected", "skipped", "failed")
DEPTH_BINS = 10
PACKAGES = ("longreach", "vllm", "torch", "transformers", "tokenizers", "aiohttp", "jinja2", "numpy")


@dataclass
class Tally:
    """What became of the requests that the plan counts; `planned = kept + rejected + failed`."""

    kept: Counter[str] = field(default_factory=Counter)  # by task
    rejected: Counter[str] = field(default_factory=Counter)  # by reason
    failed: Counter[str] = field(default_factory=Counter)  # by reason
    surplus_pairs: int = 0  # pairs that replies held beyond the first
    depths: list[int] = field(default_factory=lambda: [0] * DEPTH_BINS)  # records by depth of their evidence

    def in_words(self) -> str:
        """For the progress line."""
        failed = f", {self.failed.total():,} failed" if self.failed else ""
        return f"{self.kept.total():,} kept, {self.rejected.total():,} rejected{failed}"

    def check(self, plan: Plan) -> None:
        """Nothing is lost between the plan and the files: the counts balance, or this is a bug."""
        read_or_skipped = plan.read + plan.skipped.total()
        assert plan.found == read_or_skipped, f"documents do not balance: {plan.found} found, {read_or_skipped} ended"
        ended = self.kept.total() + self.rejected.total() + self.failed.total()
        assert plan.planned == ended, f"requests do not balance: {plan.planned} planned, {ended} ended"


@dataclass(frozen=True)
class Report:
    """How a run ended."""

    manifest: dict[str, Any]

    @property
    def failed(self) -> int:
        """Requests that the same command tries again."""
        return int(self.manifest["counts"]["requests"]["failed"])


@dataclass
class Run:
    """The parts of one run and where its outcomes go."""

    settings: GenerateSettings
    tokenizer: Tokenizer
    prompts: Prompts
    engine: Engine
    judge: Engine | None
    notes: list[str]
    progress: Callable[[], None] = lambda: None
    corpus: Corpus = field(init=False)
    plan: Plan = field(init=False)
    tally: Tally = field(default_factory=Tally)
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        settings = self.settings
        self.corpus = Corpus(settings.docs, text_field=settings.text_field, min_chars=settings.min_chars)
        self.plan = Plan(settings, self.tokenizer)

    def shaping(self) -> dict[str, Any]:
        """All that decides the output: settings, engine, hashes of tokenizer and prompts."""
        return {
            **written(self.settings, shaping_only=True),
            "engine": self.engine.name,
            "model": self.engine.model,
            "structured": self._structured,
            "judge": self.judge.model if self.judge else "",
            "tokenizer_sha256": self.tokenizer.sha256,
            "prompts_sha256": dict(self.prompts.sha256),
            **({"shard": self.settings.shard} if self.settings.shard else {}),
        }

    @property
    def _structured(self) -> bool:
        return self.engine.structured and self.settings.structured

    def execute(self, folder: RunFolder, *, claim: bool, accept: Callable[["Run"], None]) -> Report:
        """Run to the end inside a held folder; with `claim`, only in one that was made with the same settings.

        The files take their names together, after the counts were found to balance and `accept` let the result pass.
        """
        if claim and self.engine.model and (self.judge is None or self.judge.model):
            folder.claim(self.shaping())
        with ExitStack() as stack:
            journal = stack.enter_context(Journal(folder.path / "journal.sqlite"))
            files = {name: stack.enter_context(LineWriter(folder.path / f"{name}.jsonl")) for name in FILES}
            asyncio.run(self._drive(folder, journal, files, claim=claim))
            self.tally.check(self.plan)
            accept(self)
            for file in files.values():
                file.publish()
        return Report(self.manifest(FINISHED))

    async def _drive(self, folder: RunFolder, journal: Journal, files: dict[str, LineWriter], *, claim: bool) -> None:
        async with AsyncExitStack() as stack:
            engine = Journalled(await stack.enter_async_context(self.engine), journal, self.usage)
            stack.push_async_callback(engine.close)
            judge = engine
            if self.judge:
                judge = Journalled(await stack.enter_async_context(self.judge), journal, self.usage)
                stack.push_async_callback(judge.close)
            if claim:
                folder.claim(self.shaping())  # again: a server may have told which model it serves
            folder.write_manifest(self.manifest(RUNNING))
            await self._pass_on(self._writer(engine, judge), files)

    def _writer(self, engine: Journalled, judge: Journalled) -> PairWriter:
        """With the checks that this engine can make; the extractive one has no model to ask."""
        settings = self.settings
        has_model = self.engine.name != "extractive"
        judging = partial(Judge, prompts=self.prompts, language=settings.answer_language, min_score=settings.min_score)
        return PairWriter(
            settings,
            self.prompts,
            self.tokenizer,
            engine.complete,
            self._structured,
            model=judging(engine.complete, structured=self._structured) if has_model else None,
            judge=judging(judge.complete, structured=(self.judge or self.engine).structured and settings.structured)
            if has_model or self.judge
            else None,
        )

    async def _pass_on(self, writer: PairWriter, files: dict[str, LineWriter]) -> None:
        """Outcomes in the order of the units, each to its file."""
        sorter = Sorter(self, files)
        units = self.plan.units(distinct(self.corpus, self.settings.near_duplicates))

        async def work(item: Unit | Skipped) -> Skipped | list[Outcome]:
            return item if isinstance(item, Skipped) else await writer.outcomes(item)

        async for result in in_order(work, units, window=2 * self.engine.concurrency):
            if isinstance(result, Skipped):
                sorter.skip(result)
            else:
                sorter.sort(result)
            self.progress()

    def manifest(self, status: str) -> dict[str, Any]:
        """What run.json says."""
        plan, tally = self.plan, self.tally
        return {
            "format": 1,
            "status": status,
            "settings": written(self.settings),
            "shaping": self.shaping(),
            "versions": versions(*PACKAGES),
            "engine": {"name": self.engine.name, "model": self.engine.model},
            "tokenizer": {"name": self.tokenizer.name, "sha256": self.tokenizer.sha256},
            "inputs": {"paths": list(self.settings.docs), "sha256": plan.inputs_sha256},
            "sources": [
                {"source": source, "license": terms, "documents": number}
                for (source, terms), number in sorted(plan.sources.items())
            ],
            "seed": self.settings.seed,
            "counts": {
                "documents": {
                    "found": plan.found,
                    "read": plan.read,
                    "skipped": plan.skipped.total(),
                    "skipped_by_reason": dict(plan.skipped.most_common()),
                    "characters": plan.chars,
                    "tokens": plan.tokens,
                    "chunks": plan.chunks,
                },
                "requests": {
                    "planned": plan.planned,
                    "kept": tally.kept.total(),
                    "kept_by_task": dict(tally.kept.most_common()),
                    "rejected": dict(tally.rejected.most_common()),
                    "failed": tally.failed.total(),
                    "failed_by_reason": dict(tally.failed.most_common()),
                    "surplus_pairs": tally.surplus_pairs,
                },
                "evidence_depth": tally.depths,
            },
            "usage": vars(self.usage),
            "notes": self.notes,
        }


class Sorter:
    """Takes outcomes in order, decides what needs the order (duplicates, depth), and writes each to its file."""

    def __init__(self, run: Run, files: dict[str, LineWriter]) -> None:
        self._tally = run.tally
        self._files = files
        self._duplicates = Duplicates() if "duplicates" in run.settings.checks else None
        generator = {"engine": run.engine.name, "model": run.engine.model}
        self._assembler = Assembler(
            run.prompts, run.tokenizer, run.settings.context_tokens, run.settings.seed, generator
        )

    def skip(self, skipped: Skipped) -> None:
        """An input that gave no document."""
        self._files["skipped"].write(
            {name: getattr(skipped, name) for name in ("path", "line", "byte", "reason", "detail")}
        )

    def sort(self, outcomes: Iterable[Outcome]) -> None:
        """Outcomes of one unit."""
        for outcome in outcomes:
            self._tally.surplus_pairs += outcome.pair.surplus if outcome.pair else 0
            self._write(outcome, self._last_checks(outcome))

    def _last_checks(self, outcome: Outcome) -> int:
        """What needs the order of the run, or the record's length; returns the tokens left for the document."""
        if outcome.failed or outcome.rejected or outcome.pair is None:
            return 0
        room = self._assembler.room_for(outcome)
        if not room:
            outcome.rejected, outcome.detail = "form: too long", "chunk, question and answer exceed --context-tokens"
        elif self._duplicates:
            document = outcome.unit.document.id
            outcome.add("duplicates", self._duplicates.check(outcome.pair, outcome.task, document))
        return room

    def _write(self, outcome: Outcome, room: int) -> None:
        tally = self._tally
        if outcome.failed:
            tally.failed[outcome.failed] += 1
            self._files["failed"].write(failed_row(outcome))
        elif outcome.rejected:
            tally.rejected[outcome.rejected] += 1
            self._files["rejected"].write(rejected_row(outcome, self._assembler.made_by(outcome)))
        else:
            record = self._assembler.record(outcome, room, tally.kept.total())
            tally.kept[outcome.task.name] += 1
            depth = evidence_depth(record)
            if depth is not None:
                tally.depths[min(int(depth * DEPTH_BINS), DEPTH_BINS - 1)] += 1
            self._files["records"].write(record.as_row())


def require_some(run: Run) -> None:
    """A run that read nothing is the user's to mend, and must not replace what an earlier one wrote."""
    if not run.plan.seen:
        reasons = ", ".join(f"{number} {reason}" for reason, number in run.plan.skipped.most_common())
        raise UserError(
            f"no document could be read: {reasons or 'nothing found'}",
            "skipped.jsonl.partial lists each with its place; the folder's other files are as they were",
        )
