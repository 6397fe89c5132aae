"""The harness's tasks, on local data: their configs found by folder, their data replaced, their prompts cut.

Only the folders that a suite names are indexed: all 13,000 task files would take nine seconds. The harness itself cuts
a prompt that is too long on its left, as ids, and with it the instruction and the token that begins a text; so prompts
are cut here, as text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from evaluation.harness.data import Data
from evaluation.harness.suites import Cut, Entry, Suite
from longreach.errors import missing_extra

try:
    import lm_eval
    from lm_eval.tasks import TaskManager
except ModuleNotFoundError as error:
    if error.name != "lm_eval":
        raise
    raise missing_extra("lm-eval", "evaluate harness", "harness") from error

from evaluation.harness.scrolls import is_scrolls, scrolls_task

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
        scrolls = self.name in ("scrolls_quality", "scrolls_contractnli", "scrolls_qasper")
        return scrolls or self.config.get("output_type", "generate_until") != "generate_until"

    @property
    def new_tokens(self) -> int:
        """Of an answer, at most."""
        if self.config.get("output_type", "generate_until") != "generate_until":
            return CHOICE_TOKENS
        return int((self.config.get("generation_kwargs") or {}).get("max_gen_toks", DEFAULT_NEW_TOKENS))


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


def cut_prompts(task: Any, cut: Cut, tokens: int, tokenizer: Any) -> None:
    """Have the task write prompts of at most so many `tokens`."""
    whole: Callable[..., str] = task.doc_to_text

    def doc_to_text(*given: Any) -> str:
        return cut_text(whole(*given), cut, tokens, tokenizer)

    task.doc_to_text = doc_to_text


def cut_text(text: str, cut: Cut, tokens: int, tokenizer: Any) -> str:
    """The end of a text, or both its ends, so that it has at most so many `tokens`."""
    if cut == "none" or len(text) <= tokens:  # no token is less than a character
        return text
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    if len(offsets) <= tokens:
        return text
    if cut == "left":
        return text[_start(offsets, tokens) :]
    half = tokens // 2
    return text[: offsets[half - 1][1]] + text[_start(offsets, tokens - half) :]


def _start(offsets: Sequence[tuple[int, int]], tokens: int) -> int:
    """Where the last `tokens` begin."""
    return offsets[-tokens][0]
