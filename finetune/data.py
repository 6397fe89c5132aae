"""All data of a run: tokenized once into OUT/data, then the same examples for mix, sft and every process of it.

What was read before is used again as long as files, tokenizer, chat template and length are the same; a run that was
killed while reading reads again. Each row of a file ends as an example or as a line of skipped.jsonl, and the counts
balance. Held-out examples are chosen when the data is opened: documents, and conversations that stand more than once,
stay on one side.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from finetune.config import MixSettings
from finetune.item import Source
from finetune.reading import Example, Reader, as_line
from finetune.sources import PRETRAIN, SourceSpec, Specs
from finetune.store import MANIFEST, Store, StoreWriter
from finetune.textrows import TextRows
from longreach.errors import UserError
from longreach.jsonl import LineWriter, write_json
from longreach.model.processes import rank, say
from longreach.model.vocabulary import check_same_tokenizer
from longreach.progress import ProgressLine
from longreach.rows.holdout import held_out
from longreach.rows.rows import Rows
from longreach.text.chat.template import ChatTemplate
from longreach.text.formats.inputs import find
from longreach.text.formats.source import Source as File
from longreach.text.formats.source import as_text
from longreach.text.values import Values

DATA, FACTS, SKIPPED = "data", "data.json", "skipped.jsonl"
TRAIN, HELD_OUT = "train", "held-out"  # folders of what was given for either
VALIDATION = "validation"  # of packed rows
Bools = NDArray[np.bool_]

FAR = 2  # times the share to hold out: worth a word
POLL = 0.5  # seconds between two looks of the processes that wait for the first one


@dataclass(frozen=True)
class Data:
    """What is trained on, what is held out, and what is known of both: a dict for each name."""

    train: Sequence[Source]
    held_out: Mapping[str, Source]
    facts: Mapping[str, Any]  # {"train": {name: ...}, "held-out": {name: ...}}
    notes: Sequence[str]


def open_data(specs: Specs, settings: MixSettings, chat: ChatTemplate, seq_len: int) -> Data:
    """Read what is not read yet (the first process does, the others wait), and divide it."""
    folder = settings.folder / DATA
    made_from = fingerprint(specs, chat, seq_len)
    if rank() == 0 and not is_ready(folder, made_from, settings.strict):
        read_all(specs, folder, Reader(chat, seq_len, settings.strict), made_from)
    while not is_ready(folder, made_from, settings.strict):
        time.sleep(POLL)
    facts = orjson.loads((folder / FACTS).read_bytes())["facts"]
    return divide(specs, settings, seq_len, folder, facts)


# Reading


def fingerprint(specs: Specs, chat: ChatTemplate, seq_len: int) -> dict[str, Any]:
    """What decides the examples. A dataset has its name alone."""
    tokenizer = chat.tokenizer.backend_tokenizer.to_str() + str(chat.tokenizer.chat_template)
    return {
        "seq_len": seq_len,
        "tokenizer": hashlib.sha256(tokenizer.encode()).hexdigest(),
        **{
            kind: [[spec.name, *map(_seen, spec.files)] for spec in each]
            for kind, each in ((TRAIN, specs.train), (HELD_OUT, specs.held_out))
        },
    }


def _seen(path: str) -> list[Any]:
    """A path or glob with what changes when the content of its files does."""
    given = Path(path).expanduser()
    is_glob = has_magic(path) and not given.exists()
    named = [Path(each.path) for each in find([path]) if isinstance(each, File)] if is_glob else [given]
    found = sorted(file for each in named for file in (each, *each.rglob("*")) if file.is_file())
    return [path, [[as_text(str(each)), each.stat().st_size, each.stat().st_mtime_ns] for each in found]]


def is_ready(folder: Path, made_from: Mapping[str, Any], strict: bool) -> bool:
    """Whether everything was read, from just this, and is there; a `strict` reading would have stopped at any flaw."""
    try:
        said = orjson.loads((folder / FACTS).read_bytes())
        before, facts = said["made_from"], said["facts"]
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return False
    if before != orjson.loads(orjson.dumps(made_from)):
        return False
    return all(
        (folder / kind / name / MANIFEST).is_file() and not (strict and each["skipped"])
        for kind, named in facts.items()
        for name, each in named.items()
    )


def read_all(specs: Specs, folder: Path, reader: Reader, made_from: Mapping[str, Any]) -> None:
    """Every source into its store, and what became of its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    facts: dict[str, dict[str, Any]] = {}
    with LineWriter(folder.parent / SKIPPED) as skipped:
        for kind, each in ((TRAIN, specs.train), (HELD_OUT, specs.held_out)):
            facts[kind] = {spec.name: read_source(spec, folder / kind / spec.name, reader, skipped) for spec in each}
        skipped.publish()
    write_json(folder / FACTS, {"made_from": made_from, "facts": facts})


def read_source(spec: SourceSpec, folder: Path, reader: Reader, skipped: LineWriter) -> dict[str, Any]:
    """One source into its store; UserError where nothing of it can be trained on."""
    values = Values(spec.files)
    reasons: Counter[str] = Counter()
    reader.forms.clear()
    with (
        StoreWriter(folder, len(reader.chat.tokenizer)) as store,
        ProgressLine(f"reading {spec.name}", values.total_bytes) as progress,
    ):
        for item in reader.examples(values):
            if isinstance(item, Example):
                tokens = item.encoded
                store.append(tokens.ids, tokens.answer, item.key, item.group, item.cut, item.place)
            else:
                reasons[item.reason] += 1
                skipped.write(as_line(item, spec.name))
            progress.update(values.read_bytes, f"{store.examples:,} examples, {reasons.total():,} skipped")
        if not store.examples:
            raise UserError(
                f"{spec.name}: no example in {', '.join(spec.files)}: {_counted(reasons) or 'no rows'}",
                "docs/finetune.md shows the forms; `--strict` stops at the first row that fits none",
            )
        store.finish()
    forms = _counted(reader.forms)
    say(f"{spec.name}: {store.examples:,} examples ({forms})" + (f", skipped {_counted(reasons)}" if reasons else ""))
    return {
        "examples": store.examples,
        "forms": dict(reader.forms),
        "skipped": dict(reasons),
        "files": list(_files(values)),
        "runs": [{"folder": run, "sha256": _sha256(Path(run) / "run.json")} for run in spec.runs],
        "sha256": Store(folder).sha256,
    }


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.most_common())


def _files(values: Values) -> Iterator[dict[str, str]]:
    """The files that were read, with their hashes; a dataset has none."""
    for file in values.files.found:
        if isinstance(file, File):
            yield {"path": file.name, "sha256": _sha256(Path(file.path)) if Path(file.path).is_file() else ""}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Dividing


def divide(
    specs: Specs, settings: MixSettings, seq_len: int, folder: Path, facts: Mapping[str, Mapping[str, Any]]
) -> Data:
    """Which examples are trained on and which are held out; UserError where one is both."""
    stores = {spec.name: Store(folder / TRAIN / spec.name) for spec in specs.train}
    given = {spec.name: Store(folder / HELD_OUT / spec.name) for spec in specs.held_out}
    share = 0.0 if given else settings.validation
    masks = held_out_masks(stores, share)
    train = {name: store.select(np.flatnonzero(~masks[name])) for name, store in stores.items()}
    apart = {name: store.select(np.flatnonzero(masks[name])) for name, store in stores.items() if masks[name].any()}
    apart |= given
    notes = [*check_apart(train, apart), *repeats(train), *(check_share(masks, share) if share else ())]
    if not specs.rows:
        return Data(list(train.values()), apart, facts, notes)
    rows = open_rows(Path(specs.rows), settings.base, seq_len)
    of_rows = {
        PRETRAIN: {"files": [{"path": specs.rows, "sha256": rows.sha256}], "rows": len(rows), "sha256": rows.sha256}
    }
    return Data(
        [*train.values(), TextRows(PRETRAIN, rows)],
        {**apart, **held_out_rows(Path(specs.rows), settings.base, seq_len)},
        {**facts, TRAIN: {**facts[TRAIN], **of_rows}},
        notes,
    )


def held_out_masks(stores: Mapping[str, Store], share: float) -> dict[str, Bools]:
    """About this share of each source; a document or a conversation that one holds out, none trains on."""
    masks = {name: held_out(store.lengths, store.groups, 0, share) for name, store in stores.items()}
    while True:
        groups, keys = (_of_masks(stores, masks, column) for column in ("groups", "keys"))
        grown = {
            name: np.isin(store.groups, groups) | np.isin(store.keys, keys)  # a chat may be a record, too
            for name, store in stores.items()
        }
        if all(np.array_equal(grown[name], mask) for name, mask in masks.items()):
            return masks
        masks = grown


def _of_masks(stores: Mapping[str, Store], masks: Mapping[str, Bools], column: str) -> NDArray[np.uint64]:
    return np.concatenate(
        [np.zeros(0, np.uint64), *(getattr(stores[name], column)[mask] for name, mask in masks.items())]
    )


def check_share(masks: Mapping[str, Bools], share: float) -> Iterator[str]:
    """A note where another share is held out than was asked for, as documents stay on one side; UserError for all."""
    for name, mask in masks.items():
        held = int(mask.sum())
        if held and held == len(mask):
            raise UserError(
                f"all {held:,} examples of {name} would be held out: they are about one document, or are the same",
                "--validation 0 holds out none; --validation-data NAME=F brings others",
            )
        if not held:
            yield f"nothing of {name} is held out: it has too few examples"
        elif held > 1 and held > FAR * share * len(mask):
            yield f"{held:,} of {len(mask):,} examples of {name} are held out, to keep a document on one side"


def check_apart(train: Mapping[str, Store], apart: Mapping[str, Store]) -> Iterator[str]:
    """UserError where an example is trained on and held out; a note where only its document is in both."""
    for name, held in apart.items():
        for source, store in train.items():
            same = np.flatnonzero(np.isin(held.keys, store.keys))
            if len(same):
                raise UserError(
                    f"{len(same):,} examples held out as {name} are trained on, too, in {source}: the first is "
                    f"{held.place(int(same[0]))}",
                    "take them out of one of the two",
                )
            about = np.isin(held.groups, store.groups).sum()
            if about:
                yield f"{about:,} examples held out as {name} are about documents that {source} trains on"


def repeats(train: Mapping[str, Store]) -> Iterator[str]:
    """A note where conversations stand more than once."""
    keys = np.concatenate([np.zeros(0, np.uint64), *(store.keys for store in train.values())])
    more = len(keys) - len(np.unique(keys))
    if more:
        yield f"{more:,} of {len(keys):,} examples stand in the data more than once; all are used"


def open_rows(folder: Path, base: str, seq_len: int) -> Rows:
    """Packed rows of the base's tokenizer, none longer than this run's."""
    rows = Rows(folder)
    if base:
        check_same_tokenizer(rows, base)
    return rows if rows.seq_len <= seq_len else rows.split(seq_len)


def held_out_rows(folder: Path, base: str, seq_len: int) -> dict[str, Source]:
    """What prepare held out, if anything."""
    if not (folder / VALIDATION).is_dir():
        return {}
    return {PRETRAIN: TextRows(PRETRAIN, open_rows(folder / VALIDATION, base, seq_len))}
