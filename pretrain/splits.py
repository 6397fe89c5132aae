"""The rows of both sides of the division on disk, those held out and those to train on, and what is said of them."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from longreach.errors import UserError
from longreach.jsonl import write_json
from longreach.progress import ProgressLine
from longreach.rows.shards import RowWriter, token_dtype
from longreach.text.tokenize import Tokenizer
from pretrain.config import PrepareSettings
from pretrain.divide import Divided
from pretrain.fill import Filled, Pass, fill_rows
from pretrain.planview import plan_rows
from pretrain.sources import SourceSpec

MANIFEST, VALIDATION = "manifest.json", "validation"
INDEX_BYTES = 64  # of a row's index, about


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
