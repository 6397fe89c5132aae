"""What a measure found, in the terminal: figures by task and length, then in words."""

import shutil
from collections.abc import Iterable, Iterator, Sequence

import click

from evaluation.results import Headline, Results, Score
from longreach.tables import WIDE, print_json, print_table

CELL = len("100.0 (99.9–100.0)  ")
NAMES = 40  # columns that the names take

Cells = dict[tuple[str, str, int | None], Score]


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
    cells = {(score.task, score.metric, score.length): score for score in results.scores if score.depth is None}
    if cells:
        _print_figures(cells)
    for headline in results.headline:
        metric = "" if headline.metric == headline.unit else f"{headline.metric} "
        click.echo(f"{headline.task}: {metric}{in_words(headline)}")
    for note in results.notes:
        click.echo(note)


def in_words(headline: Headline) -> str:
    """The figure with its interval."""
    digits = {"nats": 3, "tokens": 0}.get(headline.unit, 1)
    value, low, high = (f"{each:,.{digits}f}" for each in (headline.value, headline.low, headline.high))
    return f"{value} {headline.unit} (95 %: {_between(low, high)}, n {headline.n:,})"


def _print_figures(cells: Cells) -> None:
    """Lengths across, or down where there is but one task."""
    lengths: list[int | None] = [*sorted({length for *_, length in cells if length is not None})]
    if any(length is None for *_, length in cells):
        lengths.append(None)
    names = list(dict.fromkeys((task, metric) for task, metric, _ in cells))
    if len({task for task, _ in names}) == 1:
        head = ("length", *(metric for _, metric in names))
        print_table(head, [(_title(length), *_row(cells, [(*name, length) for name in names])) for length in lengths])
        return
    fits = NAMES + CELL * len(lengths) <= shutil.get_terminal_size((WIDE, 0)).columns
    head = ("task", "metric", *map(_title, lengths))
    places = ([(*name, length) for length in lengths] for name in names)
    print_table(head, [(*row[0][:2], *_row(cells, row, short=not fits)) for row in places])
    if not fits:
        click.echo("(the intervals, too wide for this terminal, are in results.json)")


def _title(length: int | None) -> str:
    return "all" if length is None else f"{length:,}"


def _row(cells: Cells, places: Sequence[tuple[str, str, int | None]], *, short: bool = False) -> Iterator[str]:
    """Empty where nothing was measured."""
    return (_cell(cells[place], short=short) if place in cells else "" for place in places)


def _cell(score: Score, *, short: bool) -> str:
    digits = 3 if score.value < 10 and score.metric in ("loss", "power law") else 1
    value, low, high = (f"{each:.{digits}f}" for each in (score.value, score.low, score.high))
    return value if short else f"{value} ({_between(low, high)})"


def _between(low: str, high: str) -> str:
    """A dash, but for numbers below 0: it would be taken for another sign."""
    return f"{low} to {high}" if low.startswith("-") else f"{low}–{high}"
