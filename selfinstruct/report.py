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
        ("hours", f"{figures['hours']:.2f}", ""),
        ("  without prefix cache", f"{figures['hours_without_prefix_cache']:.2f}", ""),
        ("cost in dollars", f"{figures['cost']:.2f}", ""),
    ]
    print_table(("", "number", "share"), rows)
    click.echo(f"assumed: {figures['assumed']}. Nothing was asked or written.")


def reasons(kind: str, numbers: Mapping[str, int], total: int, depth: int = 1) -> list[tuple[str, int, str]]:
    """A row for each reason."""
    return [(f"{'  ' * depth}{kind}: {name}", number, share(number, total)) for name, number in numbers.items()]
