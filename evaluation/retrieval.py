"""evaluate retrieval: documents -> text with something hidden in it -> answers -> points by length and depth.

Base and chat models are asked the same, greedily. All samples of one number share their text, whatever the task, up to
where something is hidden in it. They are asked one length after the other, in the order of their prompts: an engine
that keeps what it read last reads what they share once, and a batch is of one length.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from evaluation import metrics
from evaluation.asking import ask, measured
from evaluation.config import RetrievalSettings
from evaluation.effective import Effective, effective_length
from evaluation.heatmap import CURVES, HEATMAP, draw_curves, draw_heatmaps
from evaluation.intervals import mean_interval
from evaluation.results import Headline, Results, Score
from evaluation.sample import Prediction, Sample
from evaluation.subject import Subject, open_subject
from evaluation.tasks import first_sentence, needles, passkey, tracking, wordlists
from evaluation.tasks.haystack import Haystack
from evaluation.tasks.place import Place
from longreach.config import did_you_mean, written
from longreach.errors import UserError
from longreach.text.corpus import Corpus

ALL = "all"
POINTS = (0.0, 100.0)
SCORE, ROUGE_L, EXACT = "score", "rouge_l", "exact"


class Task(NamedTuple):
    """How a sample is made, the tokens its answer may have, whether it has a depth, and its metric."""

    sample: Callable[[Haystack, Place], dict[str, Any] | None]
    max_tokens: int
    has_depth: bool = True
    metric: str = SCORE


TASKS = {
    "first-sentence": Task(first_sentence.sample, first_sentence.MAX_TOKENS, has_depth=False, metric=ROUGE_L),
    "passkey": Task(passkey.sample, passkey.MAX_TOKENS),
    "niah-single": Task(needles.single, needles.MAX_TOKENS),
    "niah-multikey": Task(needles.multikey, needles.MAX_TOKENS_OF_SEVERAL),  # one text with multiquery
    "niah-multivalue": Task(needles.multivalue, needles.MAX_TOKENS_OF_SEVERAL),
    "niah-multiquery": Task(needles.multiquery, needles.MAX_TOKENS_OF_SEVERAL),
    "variable-tracking": Task(tracking.sample, tracking.MAX_TOKENS, has_depth=False),
    "common-words": Task(wordlists.common, wordlists.MAX_TOKENS_COMMON, has_depth=False),
    "frequent-words": Task(wordlists.frequent, wordlists.MAX_TOKENS_FREQUENT, has_depth=False),
}


def measure_retrieval(settings: RetrievalSettings) -> Results:
    """Hide, ask, score, and draw."""
    tasks = _tasks(settings.task)
    subject = open_subject(settings)
    _check_lengths(settings, subject)
    hay = _haystack(settings, subject)
    samples = list(plan(tasks, settings, subject, hay))
    with measured(settings, {"haystack_sha256": hay.sha256, "tokenizer_sha256": subject.tokenizer.sha256}) as folder:
        predictions = ask(subject, samples, folder, score, title="retrieval")
        effective = effective_length(_cells(predictions), settings.threshold, settings.seed)
        notes = [
            *_left_out(tasks, settings, samples),
            *_about_documents(hay, settings),
            *hay.notes,
            *_failed(predictions),
        ]
        results = _results(settings, subject, predictions, effective, notes)
        title = f"Retrieval: {subject.name}"
        headline_scores = [each for each in results.scores if each.metric == TASKS[each.task].metric]
        draw_curves(headline_scores, settings.threshold, effective.length.value, title, folder.path / CURVES)
        draw_heatmaps(headline_scores, folder.path / HEATMAP)
        results.write(folder.path)
    return results


# What is asked


def _tasks(names: Sequence[str]) -> dict[str, Task]:
    if ALL in names:
        return TASKS
    if unknown := [name for name in names if name not in TASKS]:
        problems = (f"there is no task {name!r}{did_you_mean(name, TASKS)}" for name in unknown)
        raise UserError("\n".join(problems), f"tasks: {ALL}, {', '.join(TASKS)}")
    return {name: TASKS[name] for name in TASKS if name in names}


def _check_lengths(settings: RetrievalSettings, subject: Subject) -> None:
    beyond = [f"{length:,}" for length in settings.lengths if length not in subject.fits(settings.lengths)]
    if beyond and not settings.past_window:
        raise UserError(
            f"{subject.name} reads {subject.window:,} tokens: {', '.join(beyond)} are more",
            "give shorter --lengths; or --past-window, to see what becomes of it beyond",
        )


def _haystack(settings: RetrievalSettings, subject: Subject) -> Haystack:
    corpus = Corpus(settings.docs, text_field=settings.text_field, min_chars=settings.min_chars)
    texts = _numbers(settings, has_depth=False)
    return Haystack(corpus, subject.tokenizer, settings.seed, texts=texts, tokens=settings.lengths[-1])


def _numbers(settings: RetrievalSettings, *, has_depth: bool) -> int:
    """Samples of a task at one length, and one depth where it has depths."""
    return settings.samples if has_depth else settings.samples * len(settings.depths)


def plan(tasks: Mapping[str, Task], settings: RetrievalSettings, subject: Subject, hay: Haystack) -> Iterator[Sample]:
    """All samples, those on one text together, by length and in the order of their prompts."""
    for number in range(_numbers(settings, has_depth=False)):
        samples = _on_one_text(number, tasks, settings, subject, hay)
        yield from sorted(samples, key=lambda sample: (sample.length, sample.text))


def _on_one_text(
    number: int, tasks: Mapping[str, Task], settings: RetrievalSettings, subject: Subject, hay: Haystack
) -> Iterator[Sample]:
    for name, task in tasks.items():
        if number >= _numbers(settings, has_depth=task.has_depth):
            continue
        for length in settings.lengths:
            for depth in settings.depths if task.has_depth else (None,):
                room = subject.room(length, task.max_tokens)
                place = Place(name, length, depth, number, room, settings.seed, settings.depths)
                if forms := task.sample(hay, place):
                    yield _sample(task, place, hay, forms)


def _sample(task: Task, place: Place, hay: Haystack, forms: Mapping[str, Any]) -> Sample:
    at = "" if place.depth is None else f"/{place.depth:g}"
    return Sample(
        id=f"{place.task}/{place.length}{at}/{place.number}",
        task=place.task,
        length=place.length,
        depth=place.depth,
        affinity=f"text {place.number}",
        facts={"document": hay.document(place.number).id},
        **{"max_tokens": task.max_tokens, **forms},
    )


def score(sample: Sample, output: str) -> dict[str, float]:
    """Points of an answer."""
    if TASKS[sample.task].metric == ROUGE_L:
        return {
            ROUGE_L: metrics.rouge_l(output, sample.references),
            EXACT: 100.0 * (output.strip().strip('"') in sample.references),
        }
    return {SCORE: metrics.found_share(output, sample.references)}


# What is found


def _cells(predictions: Sequence[Prediction]) -> dict[str, dict[int, list[float]]]:
    """Points by task and length; a prompt that was refused has none."""
    cells: defaultdict[str, defaultdict[int, list[float]]] = defaultdict(partial(defaultdict, list))
    for each in predictions:
        if each.scores and each.length is not None:
            cells[each.task][each.length].append(each.scores[TASKS[each.task].metric])
    if not cells:
        raise UserError(f"no prompt was answered ({predictions[0].failed})", "predictions.jsonl lists all")
    return {task: dict(cells[task]) for task in TASKS if task in cells}


def _results(
    settings: RetrievalSettings,
    subject: Subject,
    predictions: Sequence[Prediction],
    effective: Effective,
    notes: Sequence[str],
) -> Results:
    tokens = Headline(
        "effective length", "tokens", "long", True, "tokens", len(predictions), *effective.length, paired=False
    )
    of_tasks = {
        task: effective_length({task: cells}, settings.threshold, settings.seed).length._asdict()
        for task, cells in _cells(predictions).items()
    }
    return Results(
        measure="retrieval",
        model=subject.name,
        settings=written(settings),
        scores=list(_scores(predictions, settings.seed)),
        headline=[*_headlines(predictions, settings.seed), tokens],
        notes=[effective.in_words(), *notes, *subject.notes],
        further={"effective_length": of_tasks, "mean_by_length": {str(k): v for k, v in effective.means.items()}},
    )


def _scores(predictions: Sequence[Prediction], seed: int) -> Iterator[Score]:
    """Means by task, metric and length: over all depths, then of each."""
    groups: defaultdict[tuple[str, str, int | None, float | None], list[float]] = defaultdict(list)
    for each in predictions:
        for metric, points in each.scores.items():
            groups[each.task, metric, each.length, None].append(points)
            if each.depth is not None:
                groups[each.task, metric, each.length, each.depth].append(points)
    order = list(TASKS)
    for (task, metric, length, depth), values in sorted(groups.items(), key=lambda group: order.index(group[0][0])):
        interval = mean_interval(values, bounds=POINTS, seed=seed)
        yield Score(task, metric, length, depth, len(values), *interval)


def _headlines(predictions: Sequence[Prediction], seed: int) -> Iterator[Headline]:
    """The mean of each task over all lengths and depths."""
    for task, cells in _cells(predictions).items():
        values = [points for by_length in cells.values() for points in by_length]
        interval = mean_interval(values, bounds=POINTS, seed=seed)
        yield Headline(task, TASKS[task].metric, "long", True, "points", len(values), *interval)


def _left_out(tasks: Mapping[str, Task], settings: RetrievalSettings, samples: Sequence[Sample]) -> Iterator[str]:
    """Samples whose question and answer alone are longer than a length, or that no text was found for."""
    there = Counter((sample.task, sample.length) for sample in samples)
    for length in settings.lengths:
        if none := [name for name in tasks if not there[name, length]]:
            yield f"Left out at {length:,} tokens, where they have no room or no fitting text: {', '.join(none)}."
        for name, task in tasks.items():
            wanted = _numbers(settings, has_depth=task.has_depth) * (len(settings.depths) if task.has_depth else 1)
            found = there[name, length]
            if 0 < found < wanted:
                yield f"{name} has {found:,} of {wanted:,} samples at {length:,} tokens: no text fits the others."


def _about_documents(hay: Haystack, settings: RetrievalSettings) -> Iterator[str]:
    needed = _numbers(settings, has_depth=False)
    if hay.documents < needed:
        yield f"{hay.documents:,} documents begin {needed:,} texts: some are used more than once."


def _failed(predictions: Sequence[Prediction]) -> Iterator[str]:
    refused = [each for each in predictions if each.failed]
    if refused:
        yield f"{len(refused):,} of {len(predictions):,} prompts were refused ({refused[0].failed}) and have no score."
