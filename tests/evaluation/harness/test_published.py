"""The harness's tasks on local data: which splits they need, what is read, how long an answer may be."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.harness.data import find_data
from evaluation.harness.published import Part, index_of, load_task, parts_of
from evaluation.harness.suites import Suite, shipped_suites

SUITES = shipped_suites()


@pytest.mark.parametrize(
    ("config", "shots", "splits"),
    [
        ({"test_split": "test", "training_split": "train"}, 0, ("test",)),
        ({"test_split": "test", "training_split": "train"}, 5, ("test", "train")),
        ({"test_split": "test", "fewshot_split": "dev", "training_split": "train"}, 5, ("test", "dev")),
        ({"test_split": "test", "fewshot_config": {"split": "dev"}}, 5, ("test", "dev")),
        ({"test_split": "test", "fewshot_config": {"samples": []}, "training_split": "train"}, 5, ("test",)),
        ({"test_split": "test", "validation_split": "validation"}, 5, ("test", "validation")),
        ({"validation_split": "validation"}, 5, ("validation",)),
        ({"test_split": None, "validation_split": "val"}, 0, ("val",)),
        ({"class": object, "group": "scrolls"}, 0, ("validation",)),
    ],
)
def test_which_splits_are_needed(config: dict[str, Any], shots: int, splits: tuple[str, ...]) -> None:
    assert Part("x", config, shots).splits == splits


@pytest.mark.parametrize(
    ("name", "config", "tells", "new_tokens"),
    [
        ("x", {}, False, 256),
        ("x", {"output_type": "generate_until", "generation_kwargs": {"max_gen_toks": 32}}, False, 32),
        ("x", {"output_type": "multiple_choice"}, True, 64),
        ("scrolls_quality", {"class": object}, True, 64),
        ("scrolls_qasper", {"class": object}, True, 128),
        ("scrolls_govreport", {"class": object}, False, 1024),
    ],
)
def test_what_is_asked_for(name: str, config: dict[str, Any], tells: bool, new_tokens: int) -> None:
    part = Part(name, config, 0)
    assert (part.tells, part.new_tokens) == (tells, new_tokens)


def loaded(name: str, folder: Path) -> tuple[Suite, Any]:
    """A task on the rows of conftest.py."""
    suite, entry = next((suite, each) for suite in SUITES.values() for each in suite.tasks if each.task == name)
    index = index_of(suite)
    (part,) = parts_of(entry, index)
    data = find_data(folder, entry.data, part.dataset, part.splits)
    assert data
    return suite, load_task(part, index, data, 9000, "")


def test_shots_and_data_are_the_suites(data_dir: Path) -> None:
    _, task = loaded("gsm8k", data_dir)
    assert task.config.num_fewshot == 8
    assert task.config.training_split == "train"
    assert len(task.eval_docs) == 2
    _, task = loaded("arc_easy", data_dir)
    assert (task.config.training_split, task.config.validation_split) == (None, None)  # which are not there
    assert task.dataset.keys() == {"test"}


def test_tasks_of_ours_are_told_the_bound(data_dir: Path) -> None:
    _, task = loaded("longreach_leval_tpo", data_dir)
    assert (task.config.metadata["prompt_tokens"], task.config.metadata["tokenizer"]) == (9000, "")
    assert task.config.metadata["before"]


def test_scrolls_answers_may_be_as_long_as_zeroscrolls_allows(data_dir: Path) -> None:
    lengths = {}
    for name in ("scrolls_govreport", "scrolls_qasper", "scrolls_quality"):
        _, task = loaded(name, data_dir)
        made = task.construct_requests(task.eval_docs[0], "?", metadata=(name, 0, 1))
        for request in made if isinstance(made, list) else [made]:
            lengths[name] = request.arguments[1]
    assert lengths["scrolls_govreport"] == {"until": ["\n"], "max_gen_toks": 1024}
    assert lengths["scrolls_qasper"] == {"until": ["\n"], "max_gen_toks": 128}
    assert isinstance(lengths["scrolls_quality"], str)
