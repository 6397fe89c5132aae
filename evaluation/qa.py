"""Questions on held-out documents: records of generate, each asked with its document and again without.

What is asked is the record's own prompt: one answer a record, and a second one on a short prompt for the closed book.
A prompt that the model cannot read whole is never cut: it has no score, and that is said.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from evaluation.asking import ask, measured
from evaluation.config import QaSettings
from evaluation.intervals import Interval, difference_interval, mean_interval, share_interval
from evaluation.metrics import exact_match, f1, rouge
from evaluation.qaview import draw
from evaluation.questions import Question, drawn, read_questions
from evaluation.results import Headline, Results, Score
from evaluation.sample import Prediction, Sample
from evaluation.subject import Subject, open_subject
from longreach.config import written
from longreach.errors import UserError

CLOSED = "closed-book "  # before the name of a task
LONG_ANSWERS = ("long_answer", "section_summary", "summary")  # tasks of generate that ROUGE tells most of; else F1
METRICS = ("f1", "exact_match", "rouge_l", "rouge_geo")
DEPTH_BINS = 5
POINTS = (0.0, 100.0)

Points = Mapping[str, float]  # by metric; empty where there is no answer
Cell = tuple[int | None, float | None]  # length and depth


@dataclass(frozen=True, slots=True)
class Pair:
    """A question as it was answered with its document, and without, where that was asked."""

    open: Prediction
    closed: Prediction | None


def measure_qa(settings: QaSettings) -> Results:
    """Ask all questions of the records; results.json, predictions.jsonl and qa.png into the folder."""
    questions, left_out = read_questions(settings.records)
    asked = drawn(questions, settings.samples, settings.seed)
    subject = open_subject(settings)
    samples = list(samples_of(asked, subject, settings))
    with measured(settings, {"questions": _digest(samples)}) as folder:
        pairs = paired(ask(subject, samples, folder, score, title="questions"))
        if not any(pair.open.scores for pair in pairs):
            raise UserError(
                f"none of {len(pairs):,} questions has an answer: {pairs[0].open.failed}",
                "give records of shorter contexts, or a model that reads more",
            )
        leaks = dict(_leaks(pairs, settings.seed))
        results = Results(
            measure="qa",
            model=subject.name,
            settings=written(settings),
            scores=list(scores_of(pairs, settings.seed)),
            headline=list(_headlines(pairs, settings.seed)),
            notes=[*_of_questions(questions, asked, left_out), *_of_failed(pairs), *_of_leaks(leaks)],
            further={"left_out": dict(left_out), "closed_book": {task: leak.as_json() for task, leak in leaks.items()}},
        )
        results.write(folder.path)
        draw(results.scores, results.headline, CLOSED, folder.path / "qa.png")
    return results


def samples_of(questions: Sequence[Question], subject: Subject, settings: QaSettings) -> Iterator[Sample]:
    """Every question with its document; then, where it was found, without."""
    for each in questions:
        length = subject.overhead + sum(subject.tokenizer.count(turn.content) for turn in each.turns)
        yield _sample(each, settings, "", length=length, depth=each.depth, affinity=each.document)
    for each in questions:
        if settings.closed_book and each.closed_book:
            yield _sample(each, settings, CLOSED)


def _sample(question: Question, settings: QaSettings, before: str, **rest: Any) -> Sample:
    turns = question.closed_book if before else question.turns
    return Sample(
        id=before + question.id,
        task=before + question.task,
        messages=turns,
        text="\n\n".join([*(turn.content for turn in turns), "Answer:"]),
        references=(question.answer,),
        max_tokens=settings.max_tokens,
        stop=("\n\n",) if question.task in LONG_ANSWERS else ("\n",),
        facts={"document": question.document},
        **rest,
    )


def _digest(samples: Iterable[Sample]) -> str:
    """What is asked, and what is right."""
    digest = hashlib.sha256()
    for each in samples:
        digest.update(f"{each.id} {each.prompt_sha256(chat=True)} {each.references}\n".encode())
    return digest.hexdigest()


def score(sample: Sample, output: str) -> dict[str, float]:
    """By every metric, for whoever wants another one than the headline's."""
    asked = output, sample.references
    return {"f1": f1(*asked), "exact_match": exact_match(*asked), **rouge(*asked)}


def paired(predictions: Sequence[Prediction]) -> list[Pair]:
    """Each question's two answers."""
    by_id = {each.id: each for each in predictions}
    opened = [each for each in predictions if not each.task.startswith(CLOSED)]
    return [Pair(each, by_id.get(CLOSED + each.id)) for each in opened]


def main_metric(task: str) -> str:
    """That a task is judged by."""
    return "rouge_geo" if task in LONG_ANSWERS else "f1"


def scores_of(pairs: Sequence[Pair], seed: int) -> Iterator[Score]:
    """By task and metric: of all, by length, by depth. The closed book goes by the length and depth of the open one."""
    for task, those in _by_task(pairs).items():
        for before, side, metrics in (("", _open, METRICS), (CLOSED, _closed, (main_metric(task),))):
            cells = _cells(those, side)
            for metric in metrics:
                for (length, depth), found in cells.items():
                    figure = mean_interval([each[metric] for each in found], bounds=POINTS, seed=seed)
                    yield Score(before + task, metric, length, depth, len(found), *figure)


def _open(pair: Pair) -> Points:
    return pair.open.scores


def _closed(pair: Pair) -> Points:
    return pair.closed.scores if pair.closed else {}


def _by_task(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    found = defaultdict(list)
    for pair in pairs:
        found[pair.open.task].append(pair)
    return found


def _cells(pairs: Iterable[Pair], side: Callable[[Pair], Points]) -> dict[Cell, list[Points]]:
    """Of all; by length, up to each power of two; by depth, at the middle of each bin."""
    found: dict[Cell, list[Points]] = defaultdict(list)
    for pair in pairs:
        if not (scores := side(pair)):
            continue
        found[None, None].append(scores)
        if pair.open.length:
            found[1 << (pair.open.length - 1).bit_length(), None].append(scores)
        if pair.open.depth is not None:
            place = min(int(pair.open.depth * DEPTH_BINS), DEPTH_BINS - 1)
            found[None, (2 * place + 1) / (2 * DEPTH_BINS)].append(scores)
    return dict(sorted(found.items(), key=lambda cell: (cell[0][1] or 0.0, cell[0][0] or 0)))


def _headlines(pairs: Sequence[Pair], seed: int) -> Iterator[Headline]:
    for task, those in _by_task(pairs).items():
        metric = main_metric(task)
        values = [pair.open.scores[metric] for pair in those if pair.open.scores]
        if values:
            figure = mean_interval(values, bounds=POINTS, seed=seed)
            yield Headline(task, metric, "long", True, "points", len(values), *figure)


@dataclass(frozen=True, slots=True)
class Leak:
    """What was answered without the document, in points of the task's metric."""

    metric: str
    n: int
    with_document: float
    without: float
    worth: Interval  # of the document, in points
    as_well: Interval  # questions answered as well without it, in per cent: not for nothing, and no worse

    def as_json(self) -> dict[str, Any]:
        """For results.json."""
        return {**asdict(self), "worth": self.worth._asdict(), "as_well": self.as_well._asdict()}


def _leaks(pairs: Sequence[Pair], seed: int) -> Iterator[tuple[str, Leak]]:
    """By task, of the questions that have both scores."""
    for task, those in _by_task(pairs).items():
        metric = main_metric(task)
        both = [(_closed(pair)[metric], _open(pair)[metric]) for pair in those if _closed(pair) and _open(pair)]
        if not both:
            continue
        n = len(both)
        without, with_document = (sum(side) / n for side in zip(*both, strict=True))
        as_well = share_interval(sum(0 < closed >= opened for closed, opened in both), n)
        worth = difference_interval(both, seed)
        yield task, Leak(metric, n, with_document, without, worth, Interval(*(100 * share for share in as_well)))


def _of_leaks(leaks: Mapping[str, Leak]) -> Iterator[str]:
    for task, leak in leaks.items():
        yield (
            f"{task}: {leak.metric} is {leak.without:.1f} without the document and {leak.with_document:.1f} with it, "
            f"{_figure(leak.worth)} more; answered as well without it: {_figure(leak.as_well)} % of {leak.n:,}"
        )


def _figure(found: Interval) -> str:
    return f"{found.value:.1f} ({found.low:.1f}–{found.high:.1f})"


def _of_questions(questions: Sequence[Question], asked: Sequence[Question], left_out: Counter[str]) -> Iterator[str]:
    """What was not asked, and why."""
    for reason, number in left_out.items():
        yield f"{number:,} rows are left out: {reason}"
    if len(asked) < len(questions):
        yield f"{len(asked):,} of {len(questions):,} questions, drawn evenly"
    if lost := sum(each.place is None for each in asked):
        yield f"{lost:,} prompts do not show where their document stands: these have no depth and no closed book"


def _of_failed(pairs: Sequence[Pair]) -> Iterator[str]:
    """Refusals, by reason, with the first one whole."""
    sides = [pair.open for pair in pairs] + [pair.closed for pair in pairs if pair.closed]
    reasons = defaultdict(list)
    for each in sides:
        if each.failed:
            reasons[each.failed.partition(":")[0]].append(each)
    for found in reasons.values():
        yield f"{len(found):,} of {len(sides):,} prompts have no score: {found[0].failed} ({found[0].id}, for one)"
