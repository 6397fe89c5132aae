"""The plan of a mix for people and for programs: a table before the work, the same with what came out after it."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from pretrain.mixplan import Plan

PLANNED = ("source", "length", "documents", "tokens", "epochs", "planned", "share")
REALISED = ("source", "length", "documents", "tokens", "epochs", "planned", "realised", "+/-")


def plan_rows(plan: Plan) -> list[dict[str, Any]]:
    """The `sources` of a manifest: what is taken from each bucket."""
    return [
        {
            "name": bucket.name,
            "bucket": bucket.bucket,
            "documents": bucket.documents,
            "tokens": bucket.tokens,
            "epochs": bucket.epochs,
            "planned_share": bucket.planned_share,
            "realised_share": bucket.realised_share,
        }
        for bucket in plan.buckets
    ]


def print_planned(plan: Plan, *, to_stderr: bool = False) -> None:
    """What there is in each bucket, and what the mix is to take of it; then the notes."""
    rows = [
        (
            bucket.name,
            bucket.bucket,
            f"{bucket.available_documents:,}",
            f"{bucket.available_tokens:,}",
            f"{bucket.epochs:.2f}",
            f"{bucket.planned_tokens:,}",
            f"{bucket.planned_share:.1%}",
        )
        for bucket in plan.buckets
    ]
    documents = sum(bucket.available_documents for bucket in plan.buckets)
    available = sum(bucket.available_tokens for bucket in plan.buckets)
    planned = sum(bucket.planned_tokens for bucket in plan.buckets)
    total = ("total", "", f"{documents:,}", f"{available:,}", f"{planned / available:.2f}", f"{planned:,}", "100.0%")
    console = Console(highlight=False, stderr=to_stderr)
    console.print(_table(PLANNED, rows, total))
    console.print(f"long: documents of {plan.mix.long_tokens:,} tokens and more")
    for note in plan.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)


def print_realised(plan: Plan, *, to_stderr: bool = False) -> None:
    """What the mix has taken from each bucket, beside what was planned; the difference is in points of the whole."""
    rows = [
        (
            bucket.name,
            bucket.bucket,
            f"{bucket.documents:,}",
            f"{bucket.tokens:,}",
            f"{bucket.epochs:.2f}",
            f"{bucket.planned_share:.2%}",
            f"{bucket.realised_share:.2%}",
            f"{100 * (bucket.realised_share - bucket.planned_share):+.2f}",
        )
        for bucket in plan.buckets
    ]
    documents = sum(bucket.documents for bucket in plan.buckets)
    available = sum(bucket.available_tokens for bucket in plan.buckets)
    epochs = f"{plan.tokens / available:.2f}"
    total = ("total", "", f"{documents:,}", f"{plan.tokens:,}", epochs, "100.00%", "100.00%", "")
    Console(highlight=False, stderr=to_stderr).print(_table(REALISED, rows, total))


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]], total: tuple[str, ...]) -> Table:
    """Names left, numbers right, the total under a line."""
    table = Table(box=None, pad_edge=False)
    for place, title in enumerate(head):
        table.add_column(title, justify="left" if place < 2 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    table.add_section()
    table.add_row(*total)
    return table
