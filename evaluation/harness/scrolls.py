"""SCROLLS by the harness's prompts, on local files and with this package's scorers.

The harness's own tasks of this name fetch the data and a scorer from the hub each time; the scorer is SCROLLS', which
is the F1 of SQuAD and rouge-score. QuALITY and ContractNLI are told by the likelihood of their choices, as are the
questions of Qasper that are answered by yes or no. Answers may be as long as ZeroSCROLLS allows; the harness would end
each after 256 tokens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from datasets import load_dataset
from lm_eval.tasks._yaml_loader import load_yaml

from evaluation.harness.data import Data
from evaluation.harness.tasks.reading import one_row_each
from evaluation.metrics import ROUGES, f1, rouge, rouge_geo

TELLING = ("scrolls_quality", "scrolls_contractnli", "scrolls_qasper")
ANSWER_TOKENS = {
    "scrolls_govreport": 1024,
    "scrolls_summscreenfd": 512,
    "scrolls_qmsum": 512,
    "scrolls_qasper": 128,
    "scrolls_narrativeqa": 64,
    "scrolls_quality": 64,  # of a choice
    "scrolls_contractnli": 64,
}


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
        self.dataset = {split: one_row_each(rows) for split, rows in found.items()}

    def has_training_docs(self) -> bool:
        """Examples are not shown."""
        return False

    def construct_requests(self, *given: Any, **options: Any) -> Any:
        """With the length of an answer."""
        made = super().construct_requests(*given, **options)  # type: ignore[misc]
        for request in made if isinstance(made, list) else [made]:
            if request.request_type == "generate_until":
                request.arguments[1]["max_gen_toks"] = ANSWER_TOKENS[self.name]
        return made


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
