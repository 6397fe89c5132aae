"""What a measure found, in the terminal: figures by task and length, then in words."""

from collections.abc import Iterable, Iterator

import click

from evaluation.results import Results, Score
from longreach.tables import print_json, print_table


def show(results: Results, *, as_json: bool) -> None:
    """One table, or the same as one JSON object."""
    if as_json:
        print_json(results.as_json())
        return
    print_results(results)


def show_all(several: Iterable[tuple[str, Results]], *, as_json: bool) -> None:
    """Those of several measures, each as it comes; as JSON, all of them in one object."""
    if as_json:
        print_json({name: results.as_json() for name, results in several})
        return
    for name, results in several:
        click.echo(f"\n{name}")
        print_results(results)


def print_results(results: Results) -> None:
    """Table, headlines and notes on stdout."""
    overall = [score for score in results.scores if score.depth is None]
    lengths = sorted({score.length for score in overall if score.length is not None})
    columns = [*lengths, None] if any(score.length is None for score in overall) else lengths
    if overall:
        head = ("task", "metric", *("all" if length is None else f"{length:,}" for length in columns))
        print_table(head, list(_rows(overall, columns)))
    for headline in results.headline:
        figure = f"{headline.value:.4g}" if headline.unit == "nats" else f"{headline.value:,.1f}"
        click.echo(f"{headline.task}: {headline.metric} {figure}")
    for note in results.notes:
        click.echo(note)


def _rows(scores: list[Score], columns: list[int | None]) -> Iterator[tuple[str, ...]]:
    """One for each task and metric."""
    cells = {(score.task, score.metric, score.length): score for score in scores}
    for task, metric in dict.fromkeys((score.task, score.metric) for score in scores):
        found = [cells.get((task, metric, length)) for length in columns]
        yield task, metric, *("" if score is None else _cell(score) for score in found)


def _cell(score: Score) -> str:
    digits = 3 if score.metric == "loss" else 1
    return f"{score.value:.{digits}f} ({score.low:.{digits}f}–{score.high:.{digits}f})"
