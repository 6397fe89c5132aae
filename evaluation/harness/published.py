"""The harness's tasks, on local data: their configs found by folder, their data replaced.

Only the folders that a suite names are indexed: all 13,000 task files would take nine seconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

from evaluation.harness.data import Data
from evaluation.harness.scrolls import ANSWER_TOKENS, TELLING, is_scrolls, scrolls_task
from evaluation.harness.suites import Entry, Suite

PUBLISHED = Path(lm_eval.__file__).parent / "tasks"
OWN = Path(__file__).with_name("tasks")
DEFAULT_NEW_TOKENS = 256  # of the harness's models
CHOICE_TOKENS = 64  # allowed for a choice behind its question

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """A task of the harness, whole or one of many that make an entry of a suite."""

    name: str
    config: Config
    shots: int

    @property
    def splits(self) -> tuple[str, ...]:
        """The split that is evaluated, then the one that the examples are from, where they are from one."""
        fewshot = self.config.get("fewshot_config") or {}
        if not self.shots or "samples" in fewshot:
            return (self.split,)
        named = self.config.get("fewshot_split") or fewshot.get("split")
        examples = named or self.config.get("training_split") or self.config.get("validation_split")
        return (self.split,) if examples in (None, self.split) else (self.split, examples)

    @property
    def split(self) -> str:
        """What is evaluated."""
        return self.config.get("test_split") or self.config.get("validation_split") or "validation"

    @property
    def dataset(self) -> str:
        """The configuration of the data set."""
        return self.config.get("dataset_name") or ""

    @property
    def tells(self) -> bool:
        """Whether it takes the likelihoods of given answers, which a chat server does not give."""
        return self.name in TELLING or self.config.get("output_type", "generate_until") != "generate_until"

    @property
    def new_tokens(self) -> int:
        """Of an answer, at most."""
        if self.config.get("output_type", "generate_until") != "generate_until":
            return CHOICE_TOKENS
        default = ANSWER_TOKENS.get(self.name, DEFAULT_NEW_TOKENS)
        return int((self.config.get("generation_kwargs") or {}).get("max_gen_toks", default))


def index_of(suite: Suite) -> Any:
    """The harness's task manager over a suite's folders and this package's own task files."""
    folders = [str(PUBLISHED / folder) for folder in suite.folders]
    return TaskManager(include_path=[*folders, str(OWN)], include_defaults=False)


def parts_of(entry: Entry, index: Any) -> list[Part]:
    """The harness's tasks of an entry; none where this version of it has none of that name."""
    names = [name for name in index.all_subtasks if fnmatchcase(name, entry.parts or entry.task)]
    return [_part(name, index.task_index[name].cfg, entry) for name in names]


def _part(name: str, config: Config, entry: Entry) -> Part:
    shots = config.get("num_fewshot", 0) if entry.shots is None else entry.shots
    return Part(name, config, shots or 0)


def load_task(part: Part, index: Any, data: Data | None, prompt_tokens: int, tokenizer: str) -> Any:
    """The harness's task on `data`, or on its own from the hub.

    Tasks that cut their prompts themselves find `prompt_tokens` and `tokenizer` in their config's metadata.
    """
    if is_scrolls(part.config):
        return scrolls_task(index.task_index[part.name].yaml_path, data)
    metadata = {"prompt_tokens": prompt_tokens, "tokenizer": tokenizer}
    overrides = {
        "task": part.name,
        "num_fewshot": part.shots,
        "metadata": {**(part.config.get("metadata") or {}), **metadata},
        **({**data.overrides(), **_without_absent_splits(part)} if data else {}),
    }
    (task,) = index.load({"group": "chosen", "task": [overrides]})["tasks"].values()
    return task


def _without_absent_splits(part: Part) -> dict[str, None]:
    """The harness opens every split that a config names, needed or not."""
    keys = ("training_split", "validation_split", "test_split", "fewshot_split")
    return {key: None for key in keys if part.config.get(key) and part.config[key] not in part.splits}
