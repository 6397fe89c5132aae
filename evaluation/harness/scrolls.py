"""SCROLLS by the harness's prompts, on local files and with this package's scorers.

The harness's own tasks of this name fetch the data and a scorer from the hub each time; the scorer is SCROLLS', which
is the F1 of SQuAD and rouge-score. QuALITY and ContractNLI are told by the likelihood of their choices.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from datasets import load_dataset
from lm_eval.tasks._yaml_loader import load_yaml

from evaluation.harness.data import Data
from evaluation.metrics import ROUGES, f1, rouge, rouge_geo


def is_scrolls(config: Mapping[str, Any]) -> bool:
    """Whether a task is one of these: they are classes, with no data set in their config."""
    return "class" in config and config.get("group") == "scrolls"


class Scorer:
    """Points as SCROLLS publishes them, behind the interface of the scorer on the hub."""

    def compute(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
        """All its figures."""
        pairs = list(zip(predictions, references, strict=True))
        rouges = [rouge(prediction, right) for prediction, right in pairs]
        return {
            "f1": fmean(f1(prediction, right) for prediction, right in pairs),
            "rouge_geo": rouge_geo(rouges),
            **{f"rouge/{name}": fmean(each[name] for each in rouges) for name in ROUGES},
        }


class Local:
    """Goes before a class of the harness: data from files, and `Scorer`."""

    data: Data | None
    name: str

    def __init__(self) -> None:
        from lm_eval.api.task import ConfigurableTask

        config = {"task": self.name, "num_fewshot": 0, "metadata": {"version": getattr(self, "VERSION", 0)}}
        ConfigurableTask.__init__(self, config=config)
        self.metric = Scorer()

    def download(self, *given: Any, **options: Any) -> None:
        """Read the files, whose rows hold one of perhaps several answers each."""
        if self.data is None:
            super().download(*given, **options)  # type: ignore[misc]  # of the harness's class, which comes next
            return
        files = {split: [str(path) for path in paths] for split, paths in self.data.files.items()}
        found = load_dataset(self.data.builder, data_files=files)
        self.dataset = {split: _with_all_answers(rows) for split, rows in found.items()}

    def has_training_docs(self) -> bool:
        """Examples are not shown."""
        return False


class Summary(Local):
    """With the geometric mean of the three ROUGE, which SCROLLS ranks by."""

    def _scrolls_metrics(self) -> dict[str, str]:
        return {"rouge_geo": "rouge_geo"}

    def process_results(self, doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
        """What is scored together at the end."""
        return {"rouge_geo": (results[0], doc["outputs"])}


def scrolls_task(yaml_path: Path, data: Data | None) -> Any:
    """The harness's task in that file, on those data."""
    found = load_yaml(yaml_path)
    published = found["class"]
    summary = any(base.__name__ == "_SCROLLSSummaryTask" for base in published.__mro__)
    local = Summary if summary else Local
    return type(published.__name__, (local, published), {"data": data, "name": found["task"]})()


def _with_all_answers(rows: Any) -> Any:
    """One row for each question, with all its answers."""
    answers: dict[str, list[str]] = {}
    first: list[int] = []
    for number, (key, answer) in enumerate(zip(rows["id"], rows["output"], strict=True)):
        if key not in answers:
            first.append(number)
        answers.setdefault(key, []).append(answer)
    return rows.select(first).remove_columns("output").add_column("outputs", list(answers.values()))
