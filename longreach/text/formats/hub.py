"""Rows of a dataset of the `datasets` library: streamed by its name, or a folder that it saved. Rows count from 1.

A name is that of the split `train`, or says another one: `HuggingFaceH4/ultrachat_200k:train_sft`.
"""

from collections.abc import Iterator
from pathlib import Path

import datasets
from datasets.exceptions import DatasetsError

from longreach.errors import UserError
from longreach.text.document import Skipped
from longreach.text.formats import reasons
from longreach.text.formats.fields import missing_field
from longreach.text.formats.source import Damaged, Row, Source

SPLIT = "train"
DATASET_ERRORS = (OSError, ValueError, RuntimeError, DatasetsError)


def rows_of(name: str) -> datasets.IterableDataset:
    """The rows of a split; UserError when they cannot be had."""
    try:
        if not Path(name).is_dir():
            repository, _, split = name.partition(":")
            return datasets.load_dataset(repository, split=split or SPLIT, streaming=True)
        saved = datasets.load_from_disk(name)
    except DATASET_ERRORS as error:
        problem = f"{name}: no such file or folder, and no dataset that could be reached: {error}"
        raise UserError(problem, "check the spelling and the network, or give a path") from error
    if isinstance(saved, datasets.DatasetDict):
        if SPLIT not in saved:
            raise UserError(f"{name}: no split {SPLIT!r}", f"give one of its folders: {', '.join(sorted(saved))}")
        saved = saved[SPLIT]
    return saved.to_iterable_dataset()


def read(source: Source) -> Iterator[Row | Skipped]:
    """A row or a note for each row; where the stream ends early, the rows so far stand."""
    rows = rows_of(source.path)
    number = 0
    try:
        if source.required and rows.column_names:
            if source.required not in rows.column_names:
                raise Damaged(reasons.NO_TEXT_FIELD, missing_field(source.required, rows.column_names))
            rows = rows.select_columns([name for name in source.fields if name in rows.column_names])
        for number, row in enumerate(rows, 1):
            yield Row(row, number)
    except DATASET_ERRORS as error:
        raise Damaged(reasons.UNREADABLE, f"row {number + 1} and all after it: {error}", number + 1) from error
