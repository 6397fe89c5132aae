"""What prepare prints: the plan before any row is written, what came out, and loudly what came out otherwise."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from longreach.tables import print_json
from pretrain.divide import Divided
from pretrain.mixplan import offenders
from pretrain.planview import plan_rows, print_planned, print_realised
from pretrain.tokenstore import SKIPPED

PADDED = 0.01  # from this share on, padding is worth a word


def show_plan(divided: Divided, notes: Iterable[str], *, as_json: bool, only: bool) -> None:
    """The table of what is planned; `only` where nothing comes after it."""
    if as_json and only:
        print_json({"sources": plan_rows(divided.plan), "tokens": divided.plan.tokens})
        return
    print_planned(divided.plan, to_stderr=as_json)
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
    if only:
        sys.stderr.write("no rows were written; the tokens are kept for the run\n")


def show_finished(manifest: dict[str, Any], folder: Path, *, as_json: bool) -> None:
    """The result of an earlier run, when the same command comes again."""
    if as_json:
        print_json(manifest)
    else:
        sys.stderr.write(f"{folder} was finished before, with these settings: nothing to do\n")


def show_shard(counts: dict[str, Any], shard: str, folder: Path, *, as_json: bool) -> None:
    """What a shard holds, and what comes next."""
    documents = counts["documents"]
    if as_json:
        print_json(documents)
        return
    sys.stdout.write(
        f"shard {shard}: {documents['read']:,} documents, {documents['skipped']:,} skipped inputs, "
        f"{documents['tokens']:,} tokens -> {folder}\n"
    )
    sys.stderr.write("when all shards are there: pretrain merge OUT SHARD...\n")


def show_rows(
    divided: Divided, manifest: dict[str, Any], inputs: dict[str, int], folder: Path, *, as_json: bool
) -> None:
    """The table of what came out, and loudly what came out other than planned; `inputs`: what became of them."""
    if as_json:
        print_json(manifest)
    else:
        print_realised(divided.plan)
        sys.stdout.write(
            f"{manifest['rows']:,} rows of {manifest['seq_len']:,} tokens, {manifest['padding_share']:.3%} padding, "
            f"{manifest['cut_documents']:,} documents cut, {manifest['lost_tokens']:,} tokens lost -> {folder}\n"
        )
        held_out = sum(map(len, divided.held_out))
        sys.stdout.write(
            f"{inputs['found']:,} inputs: {inputs['read']:,} documents, {held_out:,} of them held out for validation; "
            f"{inputs['skipped']:,} skipped" + (f", listed in {folder / SKIPPED}\n" if inputs["skipped"] else "\n")
        )
    for offence in offenders(divided.plan):
        sys.stderr.write(f"warning: not as planned: {offence}\n")
    if manifest["padding_share"] > PADDED:
        sys.stderr.write(
            f"warning: {manifest['padding_share']:.1%} of the rows is padding: too few short documents to fill them; "
            "--pack concat leaves none\n"
        )
