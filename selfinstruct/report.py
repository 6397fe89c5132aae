"""The tables that generate ends with: what was kept, what was not and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from longreach.tables import print_json, print_table, share
from selfinstruct.pipeline import Report


def print_report(report: Report, folder: Path, *, as_json: bool) -> None:
    """Counts of documents and requests, by reason."""
    counts = report.manifest["counts"]
    if as_json:
        print_json({"out": str(folder), **counts, "usage": report.manifest["usage"]})
        return
    documents, requests = counts["documents"], counts["requests"]
    rows = [
        ("documents found", documents["found"], ""),
        ("  read", documents["read"], share(documents["read"], documents["found"])),
        *reasons("skipped", documents["skipped_by_reason"], documents["found"]),
        ("requests planned", requests["planned"], ""),
        ("  kept", requests["kept"], share(requests["kept"], requests["planned"])),
        *reasons("kept", requests["kept_by_task"], requests["planned"], depth=2),
        *reasons("rejected", requests["rejected"], requests["planned"]),
        *reasons("failed", requests["failed_by_reason"], requests["planned"]),
    ]
    print_table(("", "number", "share"), rows)
    click.echo(f"evidence by depth of the context (tenths): {' '.join(map(str, counts['evidence_depth']))}")
    click.echo(f"records: {folder / 'records.jsonl'}   look at them: selfinstruct inspect {folder}")
    if report.failed:
        click.echo(f"{report.failed} requests failed (failed.jsonl); the same command tries them again", err=True)


def print_estimate(figures: Mapping[str, Any], *, as_json: bool) -> None:
    """What a run would ask and take."""
    if as_json:
        print_json(figures)
        return
    documents, requests = figures["documents"], figures["requests"]
    total = sum(requests.values())
    rows = [
        ("documents found", documents["found"], ""),
        ("  read", documents["read"], share(documents["read"], documents["found"])),
        *reasons("skipped", documents["skipped"], documents["found"]),
        ("tokens in documents", figures["tokens"], ""),
        ("chunks", figures["chunks"], ""),
        ("requests, at most", total, ""),
        *((f"  {name}", number, share(number, total)) for name, number in requests.items()),
        ("prompt tokens", figures["prompt_tokens"], ""),
        (
            "  of them in a cached prefix",
            figures["prompt_tokens_cached"],
            share(figures["prompt_tokens_cached"], figures["prompt_tokens"]),
        ),
        ("reply tokens", figures["reply_tokens"], ""),
        *_assumed_hours(figures),
        *(
            [("cost by --price-in and --price-out", f"{figures['cost']:.2f}", "")]
            if figures["cost"] is not None
            else []
        ),
    ]
    print_table(("", "number", "share"), rows)
    if figures["needs"]:
        print_needs(figures["needs"])
    else:
        click.echo(f"GPU hours: {figures['not_planned']}")
    click.echo(f"assumed: {figures['assumed']}. Nothing was asked or written.")


def _assumed_hours(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """By speeds that are assumed, where no GPU hours could be computed."""
    if figures["needs"]:
        return []
    return [
        ("hours", f"{figures['hours']:.2f}", ""),
        ("  without prefix cache", f"{figures['hours_without_prefix_cache']:.2f}", ""),
    ]


def _few(number: float) -> str:
    """Two decimals, or where that would hide it two figures."""
    return f"{number:,.2f}" if number >= 1 else f"{number:.2g}"


def print_needs(needs: Mapping[str, Any]) -> None:
    """GPU hours with the cached prefix and without."""
    click.echo(
        f"\n{needs['model']}: {needs['parameters']:,} parameters, {needs['servers']:,} x {needs['gpus_per_server']} "
        f"{needs['gpu']}; a server's cache holds {needs['cache_tokens']:,} tokens, a batch {needs['batch']:,} requests "
        f"of {needs['tokens_held']:,}"
    )
    columns = (needs["cached"], needs["uncached"])
    rows = [
        ("prompt tokens to read", *(column["prompt_tokens"] for column in columns)),
        ("operations", *(f"{column['flops_dense'] + column['flops_attention']:.3g}" for column in columns)),
        (
            "  attention",
            *(share(each["flops_attention"], each["flops_dense"] + each["flops_attention"]) for each in columns),
        ),
        ("GPU hours", *(_few(column["gpu_hours"]) for column in columns)),
        ("  from, to", *(", ".join(map(_few, column["gpu_hours_range"])) for column in columns)),
        ("  reading prompts", *(_few(column["gpu_hours_reading"]) for column in columns)),
        ("  writing replies", *(_few(column["gpu_hours_writing"]) for column in columns)),
        (f"hours on {needs['gpus']:,} GPU{'s' * (needs['gpus'] > 1)}", *(_few(column["hours"]) for column in columns)),
        *(
            [("cost at --price", *(_few(column["cost"]) for column in columns))]
            if columns[0]["cost"] is not None
            else []
        ),
    ]
    print_table(("", "prefix cached", "not cached"), rows)
    for note in needs["notes"]:
        click.echo(f"note: {note}", err=True)


def reasons(kind: str, numbers: Mapping[str, int], total: int, depth: int = 1) -> list[tuple[str, int, str]]:
    """A row for each reason."""
    return [(f"{'  ' * depth}{kind}: {name}", number, share(number, total)) for name, number in numbers.items()]
