"""The command's body: sources -> tokens -> mix -> packed rows, in a folder that a kill does not harm.

A shard ends with its tokens, since the mix and the rows are a matter of all documents: `merge.py` makes them.
"""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import orjson

from longreach.config import written
from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.rows.shards import token_dtype
from longreach.run import FINISHED, RUNNING, RunFolder
from longreach.text.corpus import Corpus
from longreach.text.fast import TokenizerMismatch
from pretrain.config import PrepareSettings
from pretrain.divide import Divided, divide_documents
from pretrain.gathered import Gathered
from pretrain.histogram import draw, histogram
from pretrain.job import Job
from pretrain.prepareview import show_finished, show_plan, show_rows, show_shard
from pretrain.splits import MANIFEST, write_rows
from pretrain.tokenized import corpora_of, tokenize
from pretrain.tokenstore import DOCUMENTS, SKIPPED, Progress, TokenStore, total

TOKENS, PICTURE = ".tokens", "lengths.png"
SHARD_TOKENS, FILES = "tokens", "files_sha256"  # of a shard: its store, and what the division was made from
STORE_FORMAT = 2
OF_TOKENS = ("text_field", "min_chars", "quality_field", "min_quality")  # settings that decide what is tokenized


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
