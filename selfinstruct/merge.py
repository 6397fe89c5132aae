"""`selfinstruct merge`: the shards of a run joined to the bytes that one undivided run would have written.

Whether a pair is kept and what its record holds depends on those before it: no question twice in a run, evidence spread
evenly over the depth. So not the shards' records are joined but their journals, and the undivided run is made of them.
It asks no model anything; it costs what reading and checking cost, and the documents have to be there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.journal import Journal
from longreach.parts import Part, read_parts
from longreach.run import FINISHED, GENERATE, RunFolder, differing
from selfinstruct.generate import finish, prepare
from selfinstruct.pipeline import Report, Run, require_some
from selfinstruct.replay import NOT_JOURNALLED, engine_of, judge_of, settings_of


def merge_shards(out: Path, folders: Sequence[Path]) -> Report:
    """Join finished shards, in any order, in the run folder `out`; UserError tells what is wrong with them."""
    parts = read_parts(folders, GENERATE, _part)
    manifest = parts[0].manifest
    settings = settings_of(manifest, {"out": str(out), "shard": ""})
    engine, judge = engine_of(manifest["shaping"], out), judge_of(manifest["shaping"], out)
    notes = dict.fromkeys(note for part in parts for note in part.manifest["notes"])
    run = prepare(settings, engine, judge, list(notes))
    _require_same(run, parts[0])
    _join_journals(run, parts)
    return finish(run, accept=partial(_require_sum, parts=parts))


def _part(folder: Path, command: str) -> Part:
    part = Part.of(folder, command)
    if failed := part.manifest["counts"]["requests"]["failed"]:
        raise UserError(f"{folder} is unfinished: {failed:,} requests of shard {part.shard} failed")
    if not (folder / "journal.sqlite").exists():
        raise UserError(f"{folder} has no journal.sqlite any more")
    return replace(part, shaping={**part.shaping, "limit": part.manifest["settings"]["limit"]})


def _require_same(run: Run, part: Part) -> None:
    """What the settings name, prompts and tokenizer, is what it was."""
    changed = differing(part.shaping, {**run.shaping(), "limit": run.settings.limit})
    if changed:
        raise UserError(
            f"changed since the shards were made: {', '.join(changed)}",
            "the prompts and the tokenizer are needed as they were",
        )


def _join_journals(run: Run, parts: Sequence[Part]) -> None:
    """Everything that the shards asked into the journal of the undivided run; where two asked the same, the first."""
    with RunFolder(run.settings.folder) as folder:
        folder.claim(run.shaping())
        with Journal(folder.path / "journal.sqlite") as journal:
            for part in parts:
                journal.adopt(part.folder / "journal.sqlite")


def _require_sum(run: Run, parts: Sequence[Part]) -> None:
    """Refuse a result that is not made of what the shards read and asked, all of it."""
    require_some(run)
    together: Counter[str] = Counter()
    for part in parts:
        together.update(_planned(part.manifest["counts"]))
    now = _planned(run.manifest(FINISHED)["counts"])
    if changed := differing(together, now):
        figures = "; ".join(f"{name}: {now[name]:,} now, {together[name]:,} in the shards" for name in changed)
        raise UserError(f"the documents are not those that the shards read ({figures})", "run the shards again")
    if missing := run.tally.failed[NOT_JOURNALLED]:
        raise UserError(
            f"{missing} of {run.plan.planned} pairs need what no shard asked: the documents were changed, or a model "
            "gave two shards different answers to the same question",
            f"the shards' generate command without --shard and with --out {run.settings.out} asks what is missing",
        )


def _planned(counts: Mapping[str, Any]) -> dict[str, int]:
    """What was read and planned: whatever happens to the pairs, the undivided run has the sum of its shards."""
    documents = {name: number for name, number in counts["documents"].items() if name != "skipped_by_reason"}
    return {**documents, "requests": counts["requests"]["planned"]}
