"""`selfinstruct merge`: the shards of a run joined to the bytes that one undivided run would have written.

Whether a pair is kept and what its record holds depends on those before it: no question twice in a run, evidence spread
evenly over the depth. So not the shards' records are joined but their journals, and the undivided run is made of them.
It asks no model anything; it costs what reading and checking cost, and the documents have to be there.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.journal import Journal
from longreach.run import FINISHED, RunFolder, differing, read_finished
from selfinstruct.generate import finish, prepare
from selfinstruct.pipeline import Report, Run, require_some
from selfinstruct.replay import NOT_JOURNALLED, engine_of, judge_of, settings_of
from selfinstruct.shard import Shard


@dataclass(frozen=True)
class Part:
    """A shard that came to its end, in its run folder."""

    folder: Path
    shard: Shard
    manifest: Mapping[str, Any]

    @property
    def shaping(self) -> dict[str, Any]:
        """All that decides the output of the undivided run."""
        shaping = {**self.manifest["shaping"], "limit": self.manifest["settings"]["limit"]}
        del shaping["shard"]
        return shaping


def merge_shards(out: Path, folders: Sequence[Path]) -> Report:
    """Join finished shards, in any order, in the run folder `out`; UserError tells what is wrong with them."""
    parts = read_parts(folders)
    manifest = parts[0].manifest
    settings = settings_of(manifest, {"out": str(out), "shard": ""})
    engine, judge = engine_of(manifest["shaping"], out), judge_of(manifest["shaping"], out)
    notes = dict.fromkeys(note for part in parts for note in part.manifest["notes"])
    run = prepare(settings, engine, judge, list(notes))
    _require_same(run, parts[0])
    _join_journals(run, parts)
    return finish(run, accept=partial(_require_sum, parts=parts))


def read_parts(folders: Sequence[Path]) -> list[Part]:
    """All shards of one run, in order; UserError where one is unfinished, missing, given twice or made otherwise."""
    parts, problems = [], []
    for folder in folders:
        try:
            parts.append(_part(folder))
        except UserError as error:
            problems.append(error.problem)
    if problems:
        hint = "give the --out folders of finished shards; one that is unfinished goes on by its own generate command"
        raise UserError("\n".join(problems), hint)
    parts.sort(key=lambda part: part.shard.index)
    _require_one_division(parts)
    _require_each_once(parts)
    _require_alike(parts)
    return parts


def _part(folder: Path) -> Part:
    manifest = read_finished(folder)
    named, failed = manifest["settings"].get("shard"), manifest["counts"]["requests"]["failed"]
    if not named:
        raise UserError(f"{folder} is no shard: it was made without --shard")
    if failed:
        raise UserError(f"{folder} is unfinished: {failed:,} requests of shard {named} failed")
    if not (folder / "journal.sqlite").exists():
        raise UserError(f"{folder} has no journal.sqlite any more")
    return Part(folder, Shard.of(named), manifest)


def _require_one_division(parts: Sequence[Part]) -> None:
    if len({part.shard.count for part in parts}) > 1:
        shards = "\n".join(f"{part.folder} is shard {part.shard}" for part in parts)
        raise UserError(f"the documents were divided in more than one way:\n{shards}", "give the shards of one run")


def _require_each_once(parts: Sequence[Part]) -> None:
    given: dict[Shard, Path] = {}
    problems = []
    for part in parts:
        if part.shard in given:
            problems.append(f"shard {part.shard} is given twice: {given[part.shard]} and {part.folder}")
        given[part.shard] = part.folder
    count = parts[0].shard.count
    missing = [str(shard) for shard in (Shard(index, count) for index in range(count)) if shard not in given]
    if missing:
        problems.append(f"missing: shard {', '.join(missing)}")
    if problems:
        raise UserError("\n".join(problems), "give the --out folder of every shard once")


def _require_alike(parts: Sequence[Part]) -> None:
    """All made with the settings of the first."""
    first, *others = parts
    problems = [
        f"{other.folder} has {name} {other.shaping.get(name)!r}, but {first.folder} {first.shaping.get(name)!r}"
        for other in others
        for name in differing(first.shaping, other.shaping)
    ]
    if problems:
        raise UserError("\n".join(problems), "run the shards with the same settings, each into an --out of its own")


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
