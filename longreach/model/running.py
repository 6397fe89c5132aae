"""A training run in its folder: held by one process, claimed for its settings, and gone on with by the same command."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any

from longreach.model.train import TrainReport
from longreach.ranks import rank
from longreach.run import FINISHED, RUNNING, RunFolder, versions
from longreach.tables import print_json

PACKAGES = ("longreach", "torch", "transformers", "trl", "peft", "accelerate")


def run(
    folder: RunFolder,
    shaping: Mapping[str, Any],
    manifest: Mapping[str, Any],
    go: Callable[[], TrainReport],
    *,
    as_json: bool,
) -> None:
    """Train in the folder, say what came of it and leave with its status; `shaping` is all that decides the weights."""
    if rank() > 0:  # the first process holds the folder
        raise SystemExit(_status(go()))
    logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
    with folder:
        folder.claim(shaping)
        said = {"format": 1, **manifest, "shaping": dict(shaping), "versions": versions(*PACKAGES)}
        folder.write_manifest({"status": RUNNING, **said})
        report = go()
        if not report.stopped_by:
            folder.write_manifest({"status": FINISHED, **said})
    show(report, as_json=as_json)
    raise SystemExit(_status(report))


def show(report: TrainReport, *, as_json: bool) -> None:
    """How far it came, on stdout."""
    finished = not report.stopped_by
    if as_json:
        found = {"out": str(report.folder), "steps": report.steps, "tokens": report.tokens, "finished": finished}
        print_json(found)
    elif finished:
        sys.stdout.write(f"{report.steps:,} steps, {report.tokens:,} tokens -> {report.folder}\n")


def _status(report: TrainReport) -> int:
    return 128 + report.stopped_by if report.stopped_by else 0
