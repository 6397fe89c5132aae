"""What is trained on and what is held out, and when data is read again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from finetune.config import MixSettings
from finetune.divide import check_apart, held_out_masks, repeats
from finetune.sources import SourceSpec, parse_data
from longreach.errors import UserError


@dataclass
class Columns:
    """As much of a store as dividing looks at."""

    groups: np.ndarray
    keys: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.full(len(self.keys), 10)

    def place(self, number: int) -> str:
        return f"file#{number + 1}"


def columns(groups: list[int], keys: list[int]) -> Any:
    return cast(Any, Columns(np.array(groups, np.uint64), np.array(keys, np.uint64)))


def test_a_document_stays_on_one_side_in_all_sources() -> None:
    documents = np.repeat(np.arange(1_000, 1_050), 4)
    records = columns(documents.tolist(), list(range(200)))
    chats = columns([*range(200), *range(5_000, 5_100)], [*range(200), *range(5_000, 5_100)])  # the records, and others
    masks = held_out_masks({"long": records, "short": chats}, 0.1)
    assert 0 < masks["long"].mean() < 0.6
    for group in set(documents.tolist()):
        assert len(set(masks["long"][documents == group].tolist())) == 1
    assert np.array_equal(masks["long"], masks["short"][:200])  # the same conversations
    train, held = (
        {"long": records_of(records, np.flatnonzero(side(masks["long"])))} for side in (np.logical_not, np.asarray)
    )
    assert list(check_apart(train, held)) == []


def records_of(store: Any, chosen: np.ndarray) -> Any:
    return columns(store.groups[chosen].tolist(), store.keys[chosen].tolist())


def test_nothing_is_held_out_where_nothing_is_asked_for() -> None:
    assert not held_out_masks({"long": columns([1, 2] * 10, list(range(20)))}, 0.0)["long"].any()


def test_an_example_on_both_sides_is_refused_and_its_document_noted() -> None:
    train = {"long": columns([1, 1, 2], [10, 11, 12])}
    with pytest.raises(
        UserError, match=r"1 examples held out as test are trained on, too, in long: the first is file#2"
    ):
        list(check_apart(train, {"test": columns([5, 2], [13, 12])}))
    assert list(check_apart(train, {"test": columns([5, 2], [13, 14])})) == [
        "1 examples held out as test are about documents that long trains on"
    ]


def test_repeats_are_counted_over_all_sources() -> None:
    assert list(repeats({"a": columns([1, 2], [1, 2]), "b": columns([2, 3], [2, 3])})) == [
        "1 of 4 examples stand in the data more than once; all are used"
    ]
    assert list(repeats({"a": columns([1], [1])})) == []


def test_names_and_paths_are_gathered() -> None:
    settings = MixSettings(long=("a.jsonl",), data=("code=b.jsonl", "code=c.jsonl", "long=d.jsonl"))
    specs = parse_data(settings)
    assert specs.train == (SourceSpec("long", ("a.jsonl", "d.jsonl")), SourceSpec("code", ("b.jsonl", "c.jsonl")))
    assert specs.rows == ""


@pytest.mark.parametrize("text", ["b.jsonl", "=b.jsonl", "../up=b.jsonl", "code=", ".=x", "a/b=x"])
def test_a_name_is_no_path(text: str) -> None:
    with pytest.raises(UserError, match="--data"):
        parse_data(MixSettings(data=(text,)))


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"status": "running"}')
    (tmp_path / "records.jsonl").touch()
    with pytest.raises(UserError, match="no finished run"):
        parse_data(MixSettings(long=(str(tmp_path),)))
    (tmp_path / "run.json").write_text('{"status": "finished"}')
    assert parse_data(MixSettings(long=(str(tmp_path),))).train[0] == SourceSpec(
        "long", (str(tmp_path / "records.jsonl"),), (str(tmp_path),)
    )
