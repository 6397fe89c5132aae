"""The command's body: sources -> tokens -> mix -> packed rows, in a folder that a kill does not harm.

A shard ends with its tokens, since the mix and the rows are a matter of all documents: `merge.py` makes them.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from longreach.config import written
from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.progress import ProgressLine
from longreach.rows.shards import RowWriter, token_dtype
from longreach.run import FINISHED, RUNNING, RunFolder, versions
from longreach.text.corpus import Corpus
from longreach.text.fast import TokenizerMismatch
from longreach.text.tokenize import Tokenizer, load_tokenizer
from pretrain.config import PrepareSettings
from pretrain.divide import Divided, divide_documents
from pretrain.fill import Filled, Pass, fill_rows
from pretrain.gathered import Gathered
from pretrain.histogram import draw, histogram
from pretrain.planview import plan_rows
from pretrain.prepareview import show_finished, show_plan, show_rows, show_shard
from pretrain.presets import apply_preset
from pretrain.sources import SourceSpec, parse_sources, reading_of
from pretrain.tokenized import corpora_of, tokenize
from pretrain.tokenstore import DOCUMENTS, SKIPPED, Progress, TokenStore, total

MANIFEST, VALIDATION, TOKENS, PICTURE = "manifest.json", "validation", ".tokens", "lengths.png"
SHARD_TOKENS, FILES = "tokens", "files_sha256"  # of a shard: its store, and what the division was made from
STORE_FORMAT = 2
PACKAGES = ("longreach", "numpy", "tokenizers", "gigatoken")
PRESETTABLE = ("long_share", "upsample_long", "long_tokens", "upsample_over")
OF_TOKENS = ("text_field", "min_chars", "quality_field", "min_quality")  # settings that decide what is tokenized
INDEX_BYTES = 64  # of a row's index, about


def prepare_rows(settings: PrepareSettings, *, dry_run: bool, as_json: bool) -> None:
    """sources -> tokens -> mix -> packed rows; of a shard, its tokens."""
    if settings.shard and dry_run:
        raise UserError("a shard has no plan: the mix is of all documents", "merge the shards with --dry-run")
    job = Job.of(settings)
    with RunFolder(settings.folder) as folder:
        folder.claim(job.shaping)
        before = folder.manifest()
        if before.get("status") == FINISHED:
            show_again(job, before, as_json=as_json)
            return
        if not dry_run:
            folder.write_manifest(job.manifest(RUNNING, before.get("counts", {})))
        store = filled_store(job)
        if settings.shard:
            counts = counts_of(store.progress)
            folder.write_manifest(job.manifest(FINISHED, counts))
            show_shard(counts, settings.shard, settings.folder, as_json=as_json)
            return
        make_rows(job, folder, Gathered.of([store]), dry_run=dry_run, as_json=as_json)
        if not dry_run:
            shutil.rmtree(store.folder)


@dataclass(frozen=True)
class Job:
    """What is asked for, with all that its settings name."""

    given: PrepareSettings
    settings: PrepareSettings  # as the preset, if there is one, completes them
    specs: Sequence[SourceSpec]
    notes: Sequence[str]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, given: PrepareSettings) -> "Job":
        """Everything of the settings that may be wrong shows here."""
        settings, specs, notes = with_preset(given)
        tokenizer = load_tokenizer(settings.tokenizer)
        return cls(given, settings, specs, [*notes, *reading_of(specs), *special_notes(tokenizer)], tokenizer)

    @property
    def shaping(self) -> dict[str, Any]:
        """All that decides the rows, or the tokens of a shard."""
        return {
            **written(self.settings, shaping_only=True),
            "source": [_as_json(spec) for spec in self.specs],
            "tokenizer_sha256": self.tokenizer.sha256,
            **({"shard": self.given.shard} if self.given.shard else {}),
        }

    def manifest(self, status: str, counts: dict[str, Any]) -> dict[str, Any]:
        """What run.json says."""
        return {
            "format": 1,
            "status": status,
            "settings": written(self.given if self.given.shard else self.settings),  # a merge completes them again
            "shaping": self.shaping,
            "versions": versions(*PACKAGES),
            "counts": counts,
        }


def show_again(job: Job, manifest: dict[str, Any], *, as_json: bool) -> None:
    """The same command has come to its end before."""
    folder = job.settings.folder
    if job.settings.shard:
        show_shard(manifest["counts"], job.settings.shard, folder, as_json=as_json)
        return
    shutil.rmtree(folder / TOKENS, ignore_errors=True)  # left by a kill in the last moment
    show_finished(orjson.loads((folder / MANIFEST).read_bytes()), folder, as_json=as_json)


def make_rows(job: Job, folder: RunFolder, gathered: Gathered, *, dry_run: bool, as_json: bool) -> None:
    """tokens -> mix -> packed rows, or what is planned of them."""
    divided = divide_documents(gathered, job.specs, job.settings)
    show_plan(divided, job.notes, as_json=as_json, only=dry_run)
    if dry_run:
        return
    counts = counts_of(gathered.progress)
    require_same(folder, counts)
    folder.write_manifest(job.manifest(RUNNING, counts))
    manifest = publish(gathered, divided, write_rows(divided, job.tokenizer, job.settings, job.specs), job.settings)
    folder.write_manifest(job.manifest(FINISHED, counts))
    show_rows(divided, manifest, counts["documents"], job.settings.folder, as_json=as_json)


def require_same(folder: RunFolder, counts: dict[str, Any]) -> None:
    """Refuse to go on with rows that were made of other documents."""
    before = folder.manifest().get("counts")
    if before and before != counts:
        raise UserError(
            f"{folder.path} holds rows of other documents: the settings are the same, what was read is not",
            "choose another folder, or remove this one to make its rows again",
        )


def with_preset(settings: PrepareSettings) -> tuple[PrepareSettings, tuple[SourceSpec, ...], list[str]]:
    """Settings and sources as the preset, if there is one, makes them; and what it says of that."""
    specs = parse_sources(settings.source)
    if not settings.preset:
        return settings, specs, []
    given = {name: getattr(settings, name) for name in PRESETTABLE}
    applied = apply_preset(settings.preset, specs, given | {"long_tokens": settings.long_tokens or None})
    return replace(settings, **applied.settings), applied.specs, list(applied.notes)


def _as_json(spec: SourceSpec) -> dict[str, Any]:
    return {"name": spec.name, "paths": list(spec.paths), "share": spec.share, "long_share": spec.long_share}


def filled_store(job: Job) -> TokenStore:
    """The tokens of all documents, or of a shard's: those of an earlier try, and the others."""
    settings, specs = job.settings, job.specs
    corpora = corpora_of(specs, settings)
    store = store_of(job, corpora)
    if store.open():
        sys.stderr.write("what an earlier try had tokenized was of other documents; starting anew\n")
    try:
        tokenize(store, specs, corpora, settings)
    except TokenizerMismatch as why:
        sys.stderr.write(f"{why}: tokenizing again from the start, the slow way\n")
        store.clear()
        tokenize(store, specs, corpora, settings, fast=False)
    if not settings.shard:  # a shard may have none
        require_some(store.progress, f"{store.folder / SKIPPED} lists each with its place and the reason")
    return store


def store_of(job: Job, corpora: Sequence[Corpus]) -> TokenStore:
    """The store of a job, as it was left."""
    chosen, shard = written(job.settings), job.settings.shard
    made_from = {
        "format": STORE_FORMAT,
        "sources": [[spec.name, *spec.paths] for spec in job.specs],
        "tokenizer_sha256": job.tokenizer.sha256,
        **{name: chosen[name] for name in OF_TOKENS},
        **({"shard": shard, FILES: [corpus.files.sha256 for corpus in corpora]} if shard else {}),
    }
    folder = job.settings.folder / (SHARD_TOKENS if shard else TOKENS)
    return TokenStore(folder, len(job.specs), token_dtype(job.tokenizer.vocab_size), made_from)


def require_some(progress: Sequence[Progress], hint: str) -> None:
    """Refuse to make rows of nothing."""
    found = total(progress)
    if not found.documents:
        raise UserError(f"no document could be read: {found.items} inputs were skipped", hint)


def special_notes(tokenizer: Tokenizer) -> Iterator[str]:
    """What the tokenizer's special tokens mean for the rows."""
    if tokenizer.eos_id is None:
        yield f"{tokenizer.name} has no end-of-document token: documents end without a mark"


def write_rows(
    divided: Divided, tokenizer: Tokenizer, settings: PrepareSettings, specs: Sequence[SourceSpec]
) -> dict[str, Any]:
    """All rows, those held out first; returns the manifest of those trained on."""
    rows = divided.plan.tokens // settings.seq_len + 1
    row_bytes = settings.seq_len * token_dtype(tokenizer.vocab_size).itemsize + INDEX_BYTES
    require_room(settings.folder, (rows + divided.held_out_tokens // settings.seq_len) * row_bytes)
    validation: dict[str, Any] = {}
    if divided.held_out_tokens:
        held_out = iter([Pass.of(divided.held_out)])
        validation = write_split(VALIDATION, held_out, divided, tokenizer, settings, specs, lambda _: None)
        write_json(settings.folder / VALIDATION / MANIFEST, validation)
    with ProgressLine("rows", rows) as line:
        written_rows = write_split(
            "", divided.passes(), divided, tokenizer, settings, specs, lambda done: line.update(done, f"{done:,} rows")
        )
    lost = divided.plan.tokens - written_rows["tokens"]
    return written_rows | {
        "lost_tokens": lost,
        "sources": plan_rows(divided.plan),
        "long_tokens": settings.long_from,
        "validation": {name: validation[name] for name in ("rows", "tokens") if name in validation},
    }


def require_room(folder: Path, needed: int) -> None:
    """Refuse before anything is written what the disk cannot hold."""
    there = sum(path.stat().st_size for path in folder.glob("tokens-*.bin*"))
    free = shutil.disk_usage(folder).free + there
    if free < needed:
        raise UserError(
            f"the rows need {needed / 1e6:,.1f} MB and the disk has {free / 1e6:,.1f} MB free",
            "free some space and run the same command: it goes on where it was",
        )


def write_split(
    name: str,
    passes: Iterator[Pass],
    divided: Divided,
    tokenizer: Tokenizer,
    settings: PrepareSettings,
    specs: Sequence[SourceSpec],
    progress: Callable[[int], None],
) -> dict[str, Any]:
    """The rows of one side of the division, and what their manifest says."""
    folder = settings.folder / name
    pad = next((each for each in (tokenizer.pad_id, tokenizer.eos_id) if each is not None), 0)
    dtype = token_dtype(tokenizer.vocab_size)
    with RowWriter(folder, settings.seq_len, dtype, pad, settings.shard_tokens) as writer:
        filled = fill_rows(writer, divided.texts, passes, settings.pack, progress)
        shards = writer.finish()
    return {
        "format": 1,
        "seq_len": settings.seq_len,
        "rows": filled.rows,
        "tokens": filled.total,
        "tokenizer": tokenizer.name,
        "tokenizer_sha256": tokenizer.sha256,
        "vocab_size": tokenizer.vocab_size,
        "dtype": dtype.name,
        "padding_share": padding_share(filled, settings.seq_len),
        "lost_tokens": 0,
        "cut_documents": filled.cut,
        "pack": settings.pack,
        "sources": [
            {"name": spec.name, "tokens": int(tokens)} for spec, tokens in zip(specs, filled.tokens, strict=True)
        ],
        "shards": shards,
    }


def padding_share(filled: Filled, seq_len: int) -> float:
    """How much of the rows holds nothing."""
    return 1 - filled.total / (filled.rows * seq_len) if filled.rows else 0.0


def publish(
    gathered: Gathered, divided: Divided, manifest: dict[str, Any], settings: PrepareSettings
) -> dict[str, Any]:
    """Picture, lists and, last, the manifest, which is returned: with it the rows are there."""
    bins = histogram(divided.stocks, divided.plan)
    draw(bins, settings.folder / PICTURE)
    for name in (SKIPPED, DOCUMENTS):
        partial = settings.folder / f"{name}.partial"
        with partial.open("wb") as file:
            file.writelines(gathered.lines(name))
        partial.replace(settings.folder / name)
    manifest = manifest | {"lengths": bins.as_json()}
    write_json(settings.folder / MANIFEST, manifest)
    return manifest


def counts_of(progress: Sequence[Progress]) -> dict[str, Any]:
    """What became of the inputs."""
    counts = total(progress)
    return {
        "documents": {
            "found": counts.items,
            "read": counts.documents,
            "skipped": counts.items - counts.documents,
            "tokens": counts.tokens,
        },
        "inputs_sha256": [each.chain for each in progress],
    }
