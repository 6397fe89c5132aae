"""Two models that were asked the same: result folders as the measures write them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from evaluation.asking import PROMPTS
from evaluation.results import PREDICTIONS, Results
from evaluation.sample import Prediction, Sample, question
from evaluation.sidebyside.examples import Pairing, pair
from longreach.jsonl import LineWriter

Answers = Mapping[int, str]
Folders = Callable[..., tuple[Path, Path]]


@pytest.fixture
def results_of(tmp_path: Path) -> Callable[..., Path]:
    """results_of(name, answers by number of the question) -> the folder; `words` are asked instead of the usual."""

    def write(
        name: str,
        answers: Answers,
        *,
        chat: bool = True,
        failed: Sequence[int] = (),
        words: Mapping[int, str] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        Results("qa", f"model-{name}", {}, [], []).write(folder)
        with LineWriter(folder / PREDICTIONS) as predictions, LineWriter(folder / PROMPTS) as prompts:
            for number, output in answers.items():
                sample = _sample(number, (words or {}).get(number, "Is it so?"))
                sha256 = sample.prompt_sha256(chat=chat)
                reason = "prompt too long" if number in failed else ""
                prediction = Prediction(
                    sample.id, sample.task, output, {}, length=sample.length, prompt_sha256=sha256, failed=reason
                )
                predictions.write(prediction.as_row())
                turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
                prompts.write({"sha256": sha256, **({"messages": turns} if chat else {"text": sample.text})})
            predictions.publish()
            prompts.publish()
        return folder

    return write


def _sample(number: int, words: str) -> Sample:
    """A question on a context that no other has."""
    return Sample(
        id=f"qa/{number}",
        task="odd" if number % 2 else "even",
        references=("yes",),
        max_tokens=8,
        length=1024 if number < 4 else 2048,
        **question(f"The context of {number}.", words, "Answer:"),
    )


@pytest.fixture
def folders(results_of: Callable[..., Path]) -> Folders:
    """folders(answers of a, answers of b) -> the two folders; by default eight questions, one with the same answer."""

    def make(a: Answers | None = None, b: Answers | None = None) -> tuple[Path, Path]:
        of_a = a if a is not None else {number: f"A says {number}" for number in range(8)} | {7: "same"}
        of_b = b if b is not None else {number: f"B says {number}" for number in range(8)} | {7: "same"}
        return results_of("alpha", of_a), results_of("beta", of_b)

    return make


@pytest.fixture
def pairing(folders: Folders) -> Pairing:
    return pair(*folders(), samples=0, seed=0)
