"""What tests of the harness share: a folder with rows of every data set, a tiny model, a model that answers by a script.

The rows have the fields and splits that each data set is published with; those of our own task files lie in data/.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import orjson
import pytest
from lm_eval.api.model import LM

from evaluation.config import HarnessSettings
from evaluation.harness import run
from evaluation.results import Results
from tinyllama import make_tiny_llama

DATA = Path(__file__).with_name("data")

MILL = (
    "The water mill at Orsk stood on the left bank until the flood of 1911. When the dam broke, the wheel was carried "
    "two miles down the river. A carpenter from Tarn, Josef Lind, built a new one of larch in one winter."
)

HUMANEVAL = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def add_{n}(a, b):\n    """The sum of a, b and {n}.\n    """\n',
        "canonical_solution": f"    return a + b + {n}\n",
        "test": f"def check(candidate):\n    assert candidate(1, 2) == {3 + n}\n",
        "entry_point": f"add_{n}",
    }
    for n in range(2)
]
MBPP = [
    {
        "task_id": 11 + n,
        "text": f"Write a function to add {n} to a number.",
        "code": f"def more(a):\r\n  return a + {n}",
        "test_list": [f"assert more({each}) == {each + n}" for each in range(3)],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    for n in range(2)
]
GSM8K = [
    {
        "question": f"Ada has {n} plums and buys {n + 1} more. How many has she?",
        "answer": f"She has {n} + {n + 1} = <<{n}+{n + 1}={2 * n + 1}>>{2 * n + 1:,}.\n#### {2 * n + 1:,}",
    }
    for n in range(600, 610)
]
MATH = [
    {
        "problem": f"What is $\\frac{{{n}}}{{7}}$ doubled?",
        "level": "Level 1",
        "type": "Algebra",
        "solution": f"Doubled it is $\\boxed{{\\frac{{{2 * n}}}{{7}}}}$.",
    }
    for n in (3, 5)
]
LETTERS = "ABCDE"


def choices(question: str, right: int, options: int, **more: Any) -> dict[str, Any]:
    """A row of ARC, OpenBookQA or CommonsenseQA."""
    texts = [f"option {LETTERS[n] * (n + 1)}" for n in range(options)]
    labels = list(LETTERS[:options])
    return {**more, question: "Which is it", "choices": {"text": texts, "label": labels}, "answerKey": labels[right]}


def mmlu(subject: str, rows: int) -> list[dict[str, Any]]:
    """Rows of one of MMLU's subjects."""
    return [
        {"question": f"Question {n} on {subject}?", "subject": subject, "choices": list("wxyz"), "answer": n % 4}
        for n in range(rows)
    ]


def trivia(n: int) -> dict[str, Any]:
    """A row of TriviaQA."""
    names = [f"Josef {n}", f"Lind {n}"]
    answer = {"aliases": names, "normalized_aliases": [name.lower() for name in names], "value": names[0]}
    return {
        "question": f"Who built wheel {n}",
        "question_id": f"tc_{n}",
        "question_source": "",
        "entity_pages": {},
        "answer": {**answer, "normalized_value": names[0].lower(), "type": "WikipediaEntity"},
    }


def truthful(n: int) -> dict[str, Any]:
    """A row of TruthfulQA's choices."""
    answers = {"choices": [f"True {n}", f"So {n}", f"False {n}"], "labels": [1, 1, 0]}
    return {"question": f"Is it so {n}?", "mc1_targets": answers, "mc2_targets": answers}


SCROLLS = {
    "gov_report": [("", "A wheel was built."), ("", "The mill stood.")],
    "summ_screen_fd": [("", "Josef builds it."), ("", "The dam breaks.")],
    "contract_nli": [("It was built in one winter.\n\n", "Entailment"), ("It burned.\n\n", "Not mentioned")],
}
LONGBENCH = {
    "passage_count": ["3"],
    "passage_retrieval_en": ["Paragraph 3"],
    "passage_retrieval_zh": ["段落3"],
    "trec": ["Location"],
    "lsht": ["Location"],
    "lcc": ["    wheel = build(larch)"],
    "repobench-p": ["    wheel = build(larch)"],
    "multifieldqa_zh": ["水车在奥尔斯克"],
    "dureader": ["水车在奥尔斯克"],
    "vcsum": ["水车在奥尔斯克"],
}
LONGBENCH_QA = ("narrativeqa", "qasper", "multifieldqa_en", "hotpotqa", "2wikimqa", "musique", "gov_report", "qmsum")
LONGBENCH2 = (
    "government_single legal_single literary financial_single event_ordering academic_single detective "
    "government_multi academic_multi legal_multi financial_multi multinews user_guide_qa new_language_translation "
    "manyshot_learning agent_history_qa dialogue_history_qa code_repo_qa graph_reasoning table_qa"
)


def longbench(answers: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of LongBench v1."""
    row = {
        "context": MILL,
        "answers": list(answers),
        "length": 40,
        "language": "en",
        "all_classes": ["Location", "Year"],
    }
    return [{**row, "question": f"Who built it ({n})?", "_id": str(n)} for n in range(2)]


def published() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Files of each data set, and their rows."""
    yield "humaneval/test.jsonl", HUMANEVAL
    yield "mbpp/full/test.jsonl", MBPP
    yield "gsm8k/main/train.jsonl", GSM8K[2:]
    yield "gsm8k/main/test.jsonl", GSM8K[:2]
    for subject in ("algebra", "geometry"):
        yield f"math/{subject}/test.jsonl", MATH
    for subject, rows in (("anatomy", 4), ("astronomy", 2), ("virology", 2)):
        yield f"mmlu/{subject}/test.jsonl", mmlu(subject, rows)
        yield f"mmlu/{subject}/dev.jsonl", mmlu(subject, 5)
    yield (
        "piqa/validation.jsonl",
        [{"goal": "Grind rye", "sol1": "a mill", "sol2": "a pond", "label": n} for n in (0, 1)],
    )
    answers = {"answerA": "tired", "answerB": "glad", "answerC": "cold"}
    asked = {"context": "Ada rowed.", "question": "How is she?"}
    yield "siqa/validation.jsonl", [{**asked, **answers, "label": str(n)} for n in (1, 3)]
    ctx = {"activity_label": "Rowing", "ctx_a": "Ada rows.", "ctx_b": "she", "ctx": "Ada rows. she"}
    endings = ["[title] rests.", "sings on.", "sinks.", "lands the boat."]
    yield "hellaswag/validation.jsonl", [{"ind": n, **ctx, "endings": endings, "label": str(n)} for n in (1, 3)]
    sentence = {
        "sentence": "The mill fell and not the bridge as the _ was old.",
        "option1": "mill",
        "option2": "bridge",
    }
    yield "winogrande/winogrande_xl/validation.jsonl", [{**sentence, "answer": n} for n in "12"]
    for name in ("ARC-Easy", "ARC-Challenge"):
        yield f"arc/{name}/test.jsonl", [choices("question", right, 4, id=str(right)) for right in (2, 0)]
    yield "openbookqa/main/test.jsonl", [choices("question_stem", right, 4, id=str(right)) for right in (3, 1)]
    asked = {"question_concept": "mill"}
    yield "commonsense_qa/validation.jsonl", [choices("question", right, 5, **asked) for right in (4, 0)]
    yield "commonsense_qa/train.jsonl", [choices("question", n % 5, 5, question_concept=str(n)) for n in range(8)]
    nq = [{"question": f"who built wheel {n}", "answer": [f"Josef {n}", f"The Lind {n}"]} for n in range(8)]
    yield "nq_open/validation.jsonl", nq[:2]
    yield "nq_open/train.jsonl", nq[2:]
    yield "triviaqa/rc.nocontext/validation.jsonl", [trivia(n) for n in range(2)]
    yield "triviaqa/rc.nocontext/train.jsonl", [trivia(n) for n in range(2, 8)]
    yield "truthfulqa/multiple_choice/validation.jsonl", [truthful(n) for n in range(2)]
    toxic = [{"text": f"Statement {n}", "toxicity_ai": n, "toxicity_human": n} for n in (1.0, 5.0)]
    yield "toxigen/annotated/test.jsonl", toxic
    for name, pairs in SCROLLS.items():
        rows = [
            {"id": f"{name}_{n}", "pid": f"{name}_{n}_0", "input": question + MILL, "output": output}
            for n, (question, output) in enumerate(pairs)
        ]
        yield f"scrolls/{name}/validation.jsonl", rows
    for name in (*LONGBENCH, *LONGBENCH_QA, "multi_news", "triviaqa", "samsum"):
        yield f"longbench/{name}.jsonl", longbench(LONGBENCH.get(name, ["Josef Lind of Tarn"]))
    for name in LONGBENCH2.split():
        rows = [
            {"context": MILL, "question": "Who?", "choices": ["Ada", "Josef", "Ilse", "Tom"], "answer": n}
            for n in (1, 3)
        ]
        yield f"longbench2/{name}/train.jsonl", rows


@pytest.fixture(scope="session", autouse=True)
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Data sets are not prepared in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A --data-dir with rows for every task."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(DATA, folder, dirs_exist_ok=True)
    for name, rows in published():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a window of 4,096 tokens."""
    return make_tiny_llama(tmp_path_factory.mktemp("tiny"), window=4096)


class Scripted(LM):  # type: ignore[misc]
    """Answers by functions of what is asked; keeps what it was asked.

    `answer` writes, `choose` tells which of a row's given answers are likely.
    """

    tokenizer_name = "scripted"

    def __init__(self, answer: Callable[[Any], str], choose: Callable[[Any], set[int]] = lambda request: set()) -> None:
        super().__init__()
        self.answer, self.choose = answer, choose
        self.asked: list[Any] = []

    def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
        """An answer to each."""
        self.asked += requests
        return [self.answer(request) for request in requests]

    def loglikelihood(self, requests: list[Any], **_: Any) -> list[tuple[float, bool]]:
        """Likely or not."""
        self.asked += requests
        return [(0.0 if request.idx in self.choose(request) else -90.0, False) for request in requests]

    def loglikelihood_rolling(self, requests: list[Any], **_: Any) -> Any:
        """No task takes any."""
        raise AssertionError

    def apply_chat_template(self, turns: list[dict[str, str]], **_: Any) -> str:
        """Roles in brackets."""
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns)

    def chat_template(self, *_: Any) -> str:
        """By name."""
        return "brackets"


@pytest.fixture(scope="session")
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def measure(data_dir: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Results]:
    """measure(suite, ..., lm=None, **settings) -> the results, in tmp_path / "out"; `lm` takes the place of the model."""

    def measured(*suite: str, lm: Any = None, **given: Any) -> Results:
        if lm is not None:
            monkeypatch.setattr(run, "open_model", lambda *_: lm)
        chosen = {"model": str(tiny), "data_dir": str(data_dir), "out": str(tmp_path / "out"), **given}
        return run.measure_harness(HarnessSettings(suite=suite, **chosen))

    return measured
