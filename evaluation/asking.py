"""samples -> engine -> outputs -> scores: predictions.jsonl of one run, whatever is measured.

Every output is journalled before it counts, so a run that was killed asks nothing twice. Samples go to the engine in
the order in which they come, which shares what their prompts begin with. A prompt that the model refuses stays in the
file with its reason and without scores; where a server could not answer, nothing is concluded: exit status 3, and the
same command tries those again.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from evaluation.config import RunSettings
from evaluation.results import PREDICTIONS
from evaluation.sample import Prediction, Sample
from evaluation.subject import Subject, fingerprint
from longreach.config import written
from longreach.engines.base import Completion, RequestFailed, RequestRefused
from longreach.engines.journalled import Journalled, Usage
from longreach.errors import Unfinished, UserError
from longreach.journal import Journal
from longreach.jsonl import LineWriter
from longreach.ordered import in_order
from longreach.progress import ProgressLine
from longreach.run import FINISHED, RUNNING, RunFolder

PROMPTS = "prompts.jsonl"  # what was asked, by its hash
LOCK, MANIFEST, JOURNAL = ".lock", "run.json", "journal.sqlite"  # and files that SQLite sets beside its own

Scorer = Callable[[Sample, str], Mapping[str, float]]


@contextmanager
def measured(settings: RunSettings, shaping: Mapping[str, Any] | None = None) -> Iterator[RunFolder]:
    """The folder of a run, refused where it was made with other settings or another state of the model.

    `shaping` is what decides the result beside the settings: hashes of documents, say.
    """
    model = getattr(settings, "model", "")
    decides = {
        **written(settings, shaping_only=True),
        **({"model_fingerprint": fingerprint(model)} if model else {}),
        **(shaping or {}),
    }
    with RunFolder(settings.folder) as folder:
        if _holds_any(folder.path):
            folder.claim(decides)
        manifest = {"format": 1, "settings": written(settings), "shaping": decides, "counts": {}}
        folder.write_manifest({**manifest, "status": RUNNING})
        yield folder
        folder.write_manifest({**manifest, "status": FINISHED})


def _holds_any(folder: Path) -> bool:
    """Whether a run left what another one would be mixed with: one that failed before its first answer leaves none."""
    journal = folder / JOURNAL
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".partial")
    if any(path.stat().st_size and not path.name.startswith((LOCK, MANIFEST, JOURNAL)) for path in files):
        return True
    if not journal.exists():
        return False
    with Journal(journal) as answers:
        return len(answers) > 0


def ask(
    subject: Subject, samples: Sequence[Sample], folder: RunFolder, scorer: Scorer, *, title: str
) -> list[Prediction]:
    """Ask everything, and write predictions.jsonl and prompts.jsonl in the samples' order."""
    if not samples:
        raise UserError("there is nothing to ask", "give other lengths, tasks or data")
    for note in subject.notes:
        sys.stderr.write(note + "\n")
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(folder.path / JOURNAL))
        predictions, prompts = (stack.enter_context(LineWriter(folder.path / name)) for name in (PREDICTIONS, PROMPTS))
        line = stack.enter_context(ProgressLine(title, sum(map(_weight, samples))))
        found, unanswered = asyncio.run(_ask_all(subject, samples, journal, scorer, line))
        if unanswered:
            raise Unfinished(
                f"{len(unanswered):,} of {len(samples):,} requests got no answer ({unanswered[0]})",
                "run the same command again: what was answered is kept, the rest is tried again",
            )
        _write_prompts(prompts, subject, samples)
        for prediction in found:
            predictions.write(prediction.as_row())
        prompts.publish()
        predictions.publish()
    return found


def _weight(sample: Sample) -> int:
    """For the ETA: time goes with tokens."""
    return (sample.length or len(sample.text) // 4) + sample.max_tokens


def _write_prompts(file: LineWriter, subject: Subject, samples: Sequence[Sample]) -> None:
    """Each prompt once."""
    known = set()
    for sample in samples:
        sha256 = sample.prompt_sha256(chat=subject.chat)
        if sha256 not in known:
            known.add(sha256)
            asked = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
            file.write({"sha256": sha256, **({"messages": asked} if subject.chat else {"text": sample.text})})


async def _ask_all(
    subject: Subject, samples: Sequence[Sample], journal: Journal, scorer: Scorer, line: ProgressLine
) -> tuple[list[Prediction], list[str]]:
    """The predictions in order, and why those got no answer that may get one later."""
    found: list[Prediction] = []
    unanswered: list[str] = []
    done = 0
    async with AsyncExitStack() as stack:
        engine = Journalled(await stack.enter_async_context(subject.engine), journal, Usage())
        stack.push_async_callback(engine.close)

        async def outcome(sample: Sample) -> tuple[Sample, Completion | RequestFailed]:
            try:
                return sample, await engine.complete(sample.request(chat=subject.chat))
            except RequestFailed as failure:
                return sample, failure

        async for sample, answer in in_order(outcome, (each for each in samples), 2 * subject.engine.concurrency):
            if isinstance(answer, RequestFailed) and not isinstance(answer, RequestRefused):
                unanswered.append(str(answer))
            else:
                found.append(_prediction(sample, answer, scorer, chat=subject.chat))
            done += _weight(sample)
            line.update(done, f"{len(found):,} of {len(samples):,} answered")
    return found, unanswered


def _prediction(sample: Sample, answer: Completion | RequestFailed, scorer: Scorer, *, chat: bool) -> Prediction:
    refused = isinstance(answer, RequestFailed)
    output = "" if isinstance(answer, RequestFailed) else answer.text.strip()
    return Prediction(
        id=sample.id,
        task=sample.task,
        output=output,
        scores={} if refused else dict(scorer(sample, output)),
        references=sample.references,
        length=sample.length,
        depth=sample.depth,
        prompt_sha256=sample.prompt_sha256(chat=chat),
        prompt_tokens=0 if isinstance(answer, RequestFailed) else answer.prompt_tokens,
        finish_reason="" if isinstance(answer, RequestFailed) else answer.finish_reason,
        failed=str(answer) if isinstance(answer, RequestFailed) else "",
        facts=sample.facts,
    )
