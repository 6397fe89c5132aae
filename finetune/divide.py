"""Examples on the disk -> those to train on and those held out, chosen anew each time they are opened.

A document, and a conversation that stands more than once, stays on one side, in whatever sources it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune.config import MixSettings
from finetune.item import Source
from finetune.sources import PRETRAIN, Specs
from finetune.store import Store
from finetune.textrows import TextRows
from longreach.errors import UserError
from longreach.model.vocabulary import check_same_tokenizer
from longreach.rows.holdout import held_out
from longreach.rows.rows import Rows

TRAIN, HELD_OUT = "train", "held-out"  # folders of what was given for either
VALIDATION = "validation"  # of packed rows
FAR = 2  # times the share to hold out: worth a word

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Data:
    """What is trained on, what is held out, and what is known of both: a dict for each name."""

    train: Sequence[Source]
    held_out: Mapping[str, Source]
    facts: Mapping[str, Any]  # {"train": {name: ...}, "held-out": {name: ...}}
    notes: Sequence[str]


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
