"""Where data lie: every layout that people have."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict, load_dataset

from evaluation.harness.data import Data, find_data, places

ROWS = Dataset.from_list([{"question": "Who?", "answer": "Josef"}, {"question": "When?", "answer": "1912"}])

SHARDS = ("train-00000-of-00002", "train-00001-of-00002")


def make(folder: Path, *names: str) -> None:
    """Empty files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folder: Path, data: str, config: str, splits: Sequence[str]) -> dict[str, list[str]] | None:
    """The files of each split, below the folder."""
    data_found = find_data(folder, data, config, splits)
    if data_found is None:
        return None
    return {split: [str(path.relative_to(folder)) for path in paths] for split, paths in data_found.files.items()}


@pytest.mark.parametrize(
    ("files", "config", "train", "test"),
    [
        (["gsm8k/train.jsonl", "gsm8k/test.jsonl"], "main", ["gsm8k/train.jsonl"], ["gsm8k/test.jsonl"]),
        (
            ["gsm8k/main/train.json", "gsm8k/main/test.json"],
            "main",
            ["gsm8k/main/train.json"],
            ["gsm8k/main/test.json"],
        ),
        (
            [f"gsm8k/main/{name}.parquet" for name in (*SHARDS, "test-00000-of-00001-1a2b3c")],
            "main",
            [f"gsm8k/main/{name}.parquet" for name in SHARDS],
            ["gsm8k/main/test-00000-of-00001-1a2b3c.parquet"],
        ),
        (["gsm8k/data/train.csv", "gsm8k/data/test.csv"], "", ["gsm8k/data/train.csv"], ["gsm8k/data/test.csv"]),
        (
            ["gsm8k/data/main/train.csv", "gsm8k/data/main/test.csv"],
            "main",
            ["gsm8k/data/main/train.csv"],
            ["gsm8k/data/main/test.csv"],
        ),
        (  # as a snapshot of the hub, where the harness names no configuration
            ["gsm8k/gsm_8k/train.parquet", "gsm8k/gsm_8k/test.parquet", "gsm8k/.cache/x", "gsm8k/README.md"],
            "",
            ["gsm8k/gsm_8k/train.parquet"],
            ["gsm8k/gsm_8k/test.parquet"],
        ),
    ],
)
def test_files_of_splits(tmp_path: Path, files: list[str], config: str, train: list[str], test: list[str]) -> None:
    make(tmp_path, *files)
    assert found(tmp_path, "gsm8k", config, ("test", "train")) == {"test": test, "train": train}


def test_a_configuration_goes_before_the_data_set(tmp_path: Path) -> None:
    make(tmp_path, "gsm8k/main/test.jsonl", "gsm8k/test.jsonl")
    assert found(tmp_path, "gsm8k", "main", ("test",)) == {"test": ["gsm8k/main/test.jsonl"]}


def test_a_lone_file_is_the_evaluated_split(tmp_path: Path) -> None:
    make(tmp_path, "humaneval.jsonl", "longbench/qasper.jsonl", "longbench/data/trec.jsonl")
    assert found(tmp_path, "humaneval", "", ("test",)) == {"test": ["humaneval.jsonl"]}
    assert found(tmp_path, "longbench/{config}", "qasper", ("test",)) == {"test": ["longbench/qasper.jsonl"]}
    assert found(tmp_path, "longbench/{config}", "trec", ("test",)) == {"test": ["longbench/data/trec.jsonl"]}
    assert found(tmp_path, "humaneval", "", ("test", "train")) is None


def test_tasks_that_share_a_data_set_take_their_own_configuration_alone(tmp_path: Path) -> None:
    make(tmp_path, "arc/test.jsonl", "arc.jsonl", "arc/data/test.jsonl", "arc/ARC-Challenge/test.jsonl")
    assert found(tmp_path, "arc/{config}", "ARC-Easy", ("test",)) is None
    own = {"test": ["arc/ARC-Challenge/test.jsonl"]}
    assert found(tmp_path, "arc/{config}", "ARC-Challenge", ("test",)) == own


def test_other_names_of_a_split(tmp_path: Path) -> None:
    make(
        tmp_path,
        "a/dev.jsonl",
        "b/val.jsonl",
        "b/dev.jsonl",
        "c/validation.jsonl",
        "c/valid.jsonl",
        "d/validation.jsonl",
    )
    names = [found(tmp_path, name, "", ("validation",)) for name in "abc"]
    assert names == [{"validation": [name]} for name in ("a/dev.jsonl", "b/val.jsonl", "c/validation.jsonl")]
    assert found(tmp_path, "d", "", ("dev",)) is None  # MMLU's dev is no validation


def test_what_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, "a/test_more.jsonl", "a/test.txt", "a/train.jsonl", "b/test.jsonl", "b/train.csv")
    assert found(tmp_path, "a", "", ("test",)) is None
    assert found(tmp_path, "b", "", ("test", "train")) is None  # two forms cannot be read as one
    assert found(tmp_path, "nothing", "x", ("test",)) is None


def test_what_datasets_saved(tmp_path: Path) -> None:
    DatasetDict({"train": ROWS, "test": ROWS}).save_to_disk(tmp_path / "both")
    ROWS.save_to_disk(tmp_path / "one")
    both, one = find_data(tmp_path, "both", "", ("test", "train")), find_data(tmp_path, "one", "", ("validation",))
    for data in (both, one):
        assert data is not None
        options = data.overrides()
        read = load_dataset(str(options["dataset_path"]), **options["dataset_kwargs"])  # type: ignore[call-overload]
        assert all(rows.to_list() == ROWS.to_list() for rows in read.values())
    assert one and list(one.files) == ["validation"]


def test_the_digest_is_of_what_the_files_hold(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text("1"), second.write_text("1")
    assert Data("json", {"test": (first,)}).digest() == Data("json", {"test": (second,)}).digest()
    assert Data("json", {"test": (first,)}).digest() != Data("json", {"train": (first,)}).digest()
    before = Data("json", {"test": (first,)}).digest()
    first.write_text("2")
    assert Data("json", {"test": (first,)}).digest() != before


def test_places_are_told_in_their_order(tmp_path: Path) -> None:
    named = [str(path.relative_to(tmp_path)) for path in places(tmp_path, "gsm8k", "main")]
    assert named == ["gsm8k/main", "gsm8k/data/main", "gsm8k", "gsm8k/data"]
    named = [str(path.relative_to(tmp_path)) for path in places(tmp_path, "mmlu/{config}", "anatomy")]
    assert named == ["mmlu/anatomy", "mmlu/data/anatomy"]
