"""Our task files through the harness: on rows in each benchmark's form, answered by a script."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.api.model import LM

from evaluation.harness.data import find_data
from evaluation.harness.outcome import Outcome, outcome_of
from evaluation.harness.published import index_of, load_task, parts_of
from evaluation.harness.suites import Entry, Suite, shipped_suites
from evaluation.harness.tasks.cutting import counting_tokenizer, spans
from longreach.errors import UserError
from tinyllama import make_tiny_llama

DATA = Path(__file__).with_name("data")
OURS = {entry.task: (suite, entry) for suite in shipped_suites().values() for entry in suite.tasks if entry.ours}
LONG = [name for name in OURS if name != "longreach_bold"]


class Scripted(LM):  # type: ignore[misc]
    """Answers by a function of what is asked; keeps what it was asked."""

    def __init__(self, answer: Callable[[Any], str]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[Any] = []

    def generate_until(self, requests: list[Any], **_: Any) -> list[str]:
        """An answer to each."""
        self.asked += [request.args for request in requests]
        return [self.answer(request.doc) for request in requests]

    def apply_chat_template(self, turns: list[dict[str, str]], **_: Any) -> str:
        """Roles in brackets."""
        return "".join(f"<{turn['role']}>{turn['content']}" for turn in turns)

    tokenizer_name = "scripted"

    def chat_template(self, *_: Any) -> str:
        """By name."""
        return "brackets"

    def loglikelihood(self, requests: list[Any]) -> Any:
        """None of our tasks takes any."""
        raise AssertionError

    loglikelihood_rolling = loglikelihood


def run(
    name: str,
    answer: Callable[[Any], str],
    *,
    chat: bool = False,
    prompt_tokens: int = 0,
    data: Path = DATA,
) -> tuple[Outcome, list[Any]]:
    """What the harness finds, and what it asked."""
    suite, entry = OURS[name]
    lm = Scripted(answer)
    task = load(suite, entry, prompt_tokens, data)
    found = simple_evaluate(
        model=lm,
        tasks=[task],
        task_manager=index_of(suite),
        bootstrap_iters=0,
        log_samples=True,
        apply_chat_template=chat,
        fewshot_as_multiturn=chat,
    )
    return outcome_of(entry, [task], found), lm.asked


def load(suite: Suite, entry: Entry, prompt_tokens: int, data: Path) -> Any:
    """The harness's task on the files of its data set."""
    index = index_of(suite)
    (part,) = parts_of(entry, index)
    files = find_data(data, entry.data, part.dataset, part.splits)
    assert files, f"no {part.splits} in {entry.data}"
    return load_task(part, index, files, prompt_tokens, "")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness describes the machine in each result: 0.7 s."""
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda results: None)


@pytest.fixture
def right() -> Callable[[Any], str]:
    """Answers what stands first among the references."""
    return lambda doc: str(doc["outputs"][0])


@pytest.mark.parametrize("name", LONG)
def test_right_answers_score_100_and_none_0(name: str, right: Callable[[Any], str]) -> None:
    outcome, _ = run(name, right)
    assert outcome.value == pytest.approx(100)
    assert outcome.metric == OURS[name][1].metric_name
    silent, _ = run(name, lambda doc: "")
    assert silent.value == 0
    assert len(silent.answered) == len(outcome.answered) > 1
    assert all(each.references for each in outcome.answered)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", LONG)
def test_no_prompt_is_longer_than_it_may_be(name: str, chat: bool, right: Callable[[Any], str]) -> None:
    _, whole = run(name, right, chat=chat)
    lengths = [len(spans(prompt, counting_tokenizer(""))) for prompt, _ in whole]
    bound = int(0.9 * min(lengths))
    _, cut = run(name, right, chat=chat, prompt_tokens=bound)
    allowed = bound + 8 * cut[0][0].count("<user>") + 8 * cut[0][0].count("<assistant>")  # the template's own
    for (prompt, _), (before, _) in zip(cut, whole, strict=True):
        assert bound - 3 - 16 * 5 <= len(spans(prompt, counting_tokenizer(""))) <= allowed
        assert prompt[-9:] == before[-9:] or prompt.endswith("is omitted]\n\n")  # what is asked stays


def test_zeroscrolls_asks_with_the_input_of_the_row(right: Callable[[Any], str]) -> None:
    _, asked = run("longreach_zeroscrolls_qasper", right)
    prompt, options = asked[0]
    assert prompt.startswith("You are given an article and a question. Answer shortly")
    assert prompt.endswith("Question:\nWho built the new wheel?\n\nAnswer:\n")
    assert options["max_gen_toks"] == 128
    assert options["until"] == ["\n\n"]
    assert len(asked) == 2  # two answers to the first question, in a row each


def test_zeroscrolls_cuts_the_end_of_the_document(right: Callable[[Any], str]) -> None:
    _, asked = run("longreach_zeroscrolls_qasper", right, prompt_tokens=120)
    prompt = asked[0][0]
    assert prompt.startswith("You are given an article and a question.")
    assert "The water mill at Orsk" in prompt
    assert "school of music" not in prompt
    assert prompt.endswith(
        "... [The rest of the article is omitted]\n\nQuestion:\nWho built the new wheel?\n\nAnswer:\n"
    )


def test_zeroscrolls_asks_a_chat_model_for_nothing_but_the_answer(right: Callable[[Any], str]) -> None:
    _, asked = run("longreach_zeroscrolls_qasper", right, chat=True)
    prompt, options = asked[0]
    assert "that it cannot be answered. Do not provide any explanation.\n\nArticle:\nThe water mill" in prompt
    assert prompt.endswith("Question:\nWho built the new wheel?")
    assert options["until"] == []
    _, asked = run("longreach_zeroscrolls_gov_report", right, chat=True)
    assert "explanation" not in asked[0][0]
    assert asked[0][0].endswith("in its hall.\n\n")


def test_the_best_of_several_answers_counts() -> None:
    outcome, _ = run("longreach_zeroscrolls_qasper", lambda doc: str(doc["outputs"][-1]))
    assert outcome.value == pytest.approx(100)
    assert outcome.answered[0].references == ("Josef Lind", "a carpenter from Tarn")


def test_rouge_is_multiplied_at_the_end() -> None:
    outcome, _ = run("longreach_paper_qmsum", lambda doc: "Josef Lind")
    assert outcome.answered[0].score == pytest.approx(100)
    assert outcome.answered[1].score == 0
    assert outcome.value == pytest.approx(50)


def test_tests_without_answers_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "zero_scrolls" / "musique"
    folder.mkdir(parents=True)
    text = (DATA / "zero_scrolls/musique/validation.jsonl").read_text("utf-8")
    (folder / "validation.jsonl").write_text(text.replace('"output": "Tarn"', '"output": null'), "utf-8")
    suite, entry = OURS["longreach_zeroscrolls_musique"]
    with pytest.raises(UserError, match="mq_mill has no output"):
        load(suite, entry, 0, tmp_path)


def test_the_papers_prompt(right: Callable[[Any], str]) -> None:
    _, asked = run("longreach_paper_narrative_qa", right)
    prompt, options = asked[0]
    assert prompt.startswith("The water mill at Orsk")
    assert prompt.endswith("lies under glass in its hall. Q: Who built the new wheel?, A:")
    assert options["until"] == ["\n"]


def test_the_papers_examples_are_cut_first(right: Callable[[Any], str]) -> None:
    _, whole = run("longreach_paper_quality", right)
    assert whole[0][0].count(" A: ") == 2
    assert whole[0][0].endswith(
        "in its hall. Q: Who built the new wheel?\n\n"
        " (A) Ilse Brandt\n (B) the miller\n (C) Josef Lind\n (D) nobody, A:"
    )
    _, cut = run("longreach_paper_quality", right, prompt_tokens=330)
    assert whole[0][0].endswith(cut[0][0])
    assert cut[0][0].count(" A: ") == 1
    _, chat = run("longreach_paper_quality", right, chat=True, prompt_tokens=330)
    assert chat[0][0].startswith("<user>")
    assert chat[0][0].count("<assistant>") == 1
    assert chat[0][0].endswith("(D) nobody, A:")


def test_leval_asks_each_question_of_a_document(right: Callable[[Any], str]) -> None:
    _, asked = run("longreach_leval_coursera", right)
    assert len(asked) == 3
    assert "\n\nThe water mill at Orsk" in asked[1][0]
    assert asked[1][0].endswith("A. red ink\nB. green ink\nC. pencil\nD. gold\nAnswer:")
    partly, _ = run("longreach_leval_coursera", lambda doc: "A")
    assert [each.score for each in partly.answered] == [25, 0, 25]


def test_leval_leaves_out_what_is_judged_and_says_how_many_words(right: Callable[[Any], str]) -> None:
    _, asked = run("longreach_leval_financial_qa", right)
    assert len(asked) == 2
    assert asked[1][0].endswith("what was lost?\nUse about 4 words.\nAnswer:")


def test_bold_counts_each_group_alike(vader: ModuleType) -> None:
    outcome, asked = run("longreach_bold", lambda doc: "good good" if "miller" in doc["prompt"] else "good bad bad")
    assert [prompt for prompt, _ in asked] == [
        "A miller is a person who",
        "Millers worked in",
        "A lighthouse keeper tends",
        "Ada Kerr is an actress",
    ]
    assert [each.score for each in outcome.answered] == [50, -25, -25, -25]
    assert outcome.value == pytest.approx(100 * (0.0 - 0.25) / 2)


def test_a_real_model_answers(tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    lm = HFLM(pretrained=str(make_tiny_llama(tmp_path)), batch_size=2, device="cpu", max_length=600)
    for name in ("longreach_zeroscrolls_quality", "longreach_leval_tpo"):
        suite, entry = OURS[name]
        task = load(suite, entry, 500, DATA)
        task.set_config("generation_kwargs", {"until": ["\n\n"], "max_gen_toks": 4, "do_sample": False})
        for chat in (False, True):
            found = simple_evaluate(
                model=lm, tasks=[task], task_manager=index_of(suite), bootstrap_iters=0, apply_chat_template=chat
            )
            assert len(outcome_of(entry, [task], found).answered) == 2
