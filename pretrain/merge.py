"""`pretrain merge`: the tokens of a run's shards become the rows that one undivided run would have written.

The mix, the packing and what is held out depend on the lengths of all documents, so a shard leaves them to the merge,
which does them once. It reads no document and tokenizes nothing: tokens are taken from the shards' folders, where they
stay.
"""

from collections.abc import Sequence
from pathlib import Path

from longreach.config import read_back
from longreach.errors import UserError
from longreach.parts import Part, read_parts
from longreach.rows.shards import token_dtype
from longreach.run import FINISHED, PREPARE, RunFolder, differing
from pretrain.config import PrepareSettings
from pretrain.gathered import Gathered
from pretrain.job import Job
from pretrain.prepare import (
    FILES,
    SHARD_TOKENS,
    STORE_FORMAT,
    TOKENS,
    counts_of,
    make_rows,
    require_same,
    require_some,
    show_again,
)
from pretrain.tokenstore import SKIPPED, TokenStore


def merge_shards(out: Path, folders: Sequence[Path], *, dry_run: bool, as_json: bool) -> None:
    """Make the rows of finished shards, given in any order, in the folder `out`; UserError tells what is wrong."""
    parts = read_parts(folders, PREPARE)
    job = Job.of(read_back(PrepareSettings, {**parts[0].manifest["settings"], "out": str(out), "shard": ""}))
    if changed := differing(parts[0].shaping, job.shaping):
        raise UserError(
            f"changed since the shards were made: {', '.join(changed)}", "the tokenizer is needed as it was"
        )
    stores = [_store(part, job) for part in parts]
    _require_same_files(parts, stores)
    gathered = Gathered.of(stores)
    require_some(gathered.progress, f"{SHARD_TOKENS}/{SKIPPED} of each shard lists them with the reasons")
    with RunFolder(out) as folder:
        folder.claim(job.shaping)
        _require_free(folder)
        require_same(folder, counts_of(gathered.progress))
        if folder.manifest().get("status") == FINISHED:
            show_again(job, folder.manifest(), as_json=as_json)
            return
        make_rows(job, folder, gathered, dry_run=dry_run, as_json=as_json)


def _store(part: Part, job: Job) -> TokenStore:
    """The tokens of a shard, all there."""
    store = TokenStore.finished(part.folder / SHARD_TOKENS, len(job.specs), token_dtype(job.tokenizer.vocab_size))
    if store.made_from.get("format") != STORE_FORMAT:
        raise UserError(f"{store.folder} was written by another version of longreach", "make the shard again")
    if counts_of(store.progress) != part.manifest["counts"]:
        raise UserError(f"{store.folder} holds other tokens than {part.folder / 'run.json'} counts", "run it again")
    return store


def _require_same_files(parts: Sequence[Part], stores: Sequence[TokenStore]) -> None:
    """The division is one of the same files, by name and size."""
    files = [store.made_from[FILES] for store in stores]
    other = [
        f"{part.folder} found other files than {parts[0].folder}"
        for part, each in zip(parts, files, strict=True)
        if each != files[0]
    ]
    if other:
        raise UserError("\n".join(other), "files were added, removed or changed between the shards: run them again")


def _require_free(folder: RunFolder) -> None:
    if (folder.path / TOKENS).exists():
        raise UserError(
            f"{folder.path} holds an unfinished run of all documents",
            "end it by its own command, or choose another OUT",
        )
