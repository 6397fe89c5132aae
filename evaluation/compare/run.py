"""evaluate compare: results of several models -> one table, one page, one verdict."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from evaluation.compare.differences import Row, SideMean, rows_of, side_means, warnings
from evaluation.compare.gate import CLOSED, Gate, gates
from evaluation.compare.model import Model, read_models
from evaluation.compare.pictures import draw_curves, draw_differences
from evaluation.compare.text import SideTable, fit_text, mean_as_json, tables
from evaluation.config import CompareSettings
from evaluation.pages import STYLE, render
from longreach.jsonl import write_json, write_whole
from longreach.tables import print_json, print_table

PAGE, FIGURES = "compare.html", "compare.json"
HERE = Path(__file__).parent


def compare_results(paths: Sequence[Path], settings: CompareSettings, *, as_json: bool) -> int:
    """Compare, show, and give the exit status: 0, or that of a closed gate."""
    models = read_models(paths, settings.names)
    rows = rows_of(models)
    means = list(side_means(rows, len(models)))
    found = list(gates([model.name for model in models], rows, means, settings.margin)) if settings.gate else []
    cautions = list(warnings(models, rows))
    figures = _as_json(models, rows, means, found, cautions)
    if settings.out:
        _write(models, rows, means, found, cautions, figures, settings.folder)
    if as_json:
        print_json(figures)
    else:
        _show(models, tables(rows, means), found, cautions)
        if settings.out:
            click.echo(f"the page is {settings.folder / PAGE}")
    return 0 if all(gate.is_open for gate in found) else CLOSED


def _as_json(
    models: Sequence[Model],
    rows: Sequence[Row],
    means: Sequence[SideMean],
    found: Sequence[Gate],
    cautions: Sequence[str],
) -> dict[str, Any]:
    return {
        "models": [{"name": model.name, "folders": [str(folder) for folder, _ in model.parts]} for model in models],
        "rows": [
            {
                **{
                    name: getattr(row, name)
                    for name in ("measure", "task", "metric", "side", "unit", "higher_is_better")
                },
                "figures": [None if figure is None else asdict(figure) for figure in row.figures],
                "differences": [None if each is None else each._asdict() for each in row.differences],
            }
            for row in rows
        ],
        "means": [mean_as_json(mean) for mean in means],
        "gates": [{"name": gate.name, "open": gate.is_open, "reasons": list(gate.reasons)} for gate in found],
        "warnings": list(cautions),
    }


def _show(models: Sequence[Model], sides: Sequence[SideTable], found: Sequence[Gate], cautions: Sequence[str]) -> None:
    names = [model.name for model in models]
    for side in sides:
        click.echo(f"\nthe {side.side} side")
        rows = [
            (line.task, line.metric, *line.figures, *(each.text for each in line.differences)) for line in side.rows
        ]
        if side.mean:
            changes = (each.text for each in side.mean.differences)
            rows.append((f"mean of {side.mean.tasks}", "points", *side.mean.figures, *changes))
        print_table(("task", "metric", *names, *(f"Δ {name}" for name in names[1:])), rows)
    for gate in found:
        click.echo(f"\ngate of {gate.name}: {'open' if gate.is_open else 'closed'}: {'; '.join(gate.reasons)}")
    for caution in cautions:
        click.echo(f"note: {caution}", err=True)


def _write(
    models: Sequence[Model],
    rows: Sequence[Row],
    means: Sequence[SideMean],
    found: Sequence[Gate],
    cautions: Sequence[str],
    figures: dict[str, Any],
    folder: Path,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = render(
        HERE / "page.html.jinja",
        styles=[STYLE],
        names=[model.name for model in models],
        gates=found,
        tables=tables(rows, means),
        warnings=cautions,
        pictures=list(_pictures(models, rows)),
        models=[{"name": model.name, "parts": list(_parts(model))} for model in models],
    )
    write_json(folder / FIGURES, figures)
    write_whole(folder / PAGE, page.encode())


def _pictures(models: Sequence[Model], rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    drawn = {"Differences": draw_differences(models, rows), "By length": draw_curves(models)}
    for title, picture in drawn.items():
        if picture:
            yield {"title": title, "data": f"data:image/png;base64,{base64.b64encode(picture).decode()}"}


def _parts(model: Model) -> Iterator[dict[str, Any]]:
    """What the page says of each result."""
    for _, results in model.parts:
        yield {
            "measure": results.measure,
            "model": results.model,
            "command": " ".join(results.command),
            "fit": fit_text(dict(results.fit) if results.fit else None),
            "notes": results.notes,
            "versions": ", ".join(f"{name} {number}" for name, number in results.versions.items()),
        }
