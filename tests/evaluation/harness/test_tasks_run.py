"""Our task files through the harness: on rows in each benchmark's form, answered by a script."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate

from evaluation.harness.bounded import Bounded
from evaluation.harness.data import find_data
from evaluation.harness.outcome import Outcome, outcome_of
from evaluation.harness.published import index_of, load_task, parts_of
from evaluation.harness.suites import Entry, Suite, shipped_suites
from evaluation.harness.tasks.cutting import counting_tokenizer, spans
from longreach.errors import UserError

DATA = Path(__file__).with_name("data")
OURS = {entry.task: (suite, entry) for suite in shipped_suites().values() for entry in suite.tasks if entry.ours}
LONG = [name for name in OURS if name != "longreach_bold"]


Right = Callable[[Any], str]
Ask = Callable[..., tuple[Outcome, list[Any]]]


@pytest.fixture
def ask(scripted: Any) -> Ask:
    """ask(task, answer, ...) -> what the harness finds where `answer` is a function of a row, and what it asked."""

    def run(name: str, answer: Right, *, chat: bool = False, prompt_tokens: int = 0) -> tuple[Outcome, list[Any]]:
        suite, entry = OURS[name]
        lm = scripted(lambda request: answer(request.doc))
        task = load(suite, entry, prompt_tokens, DATA)
        found = simple_evaluate(
            model=lm,
            tasks=[task],
            task_manager=index_of(suite),
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=chat,
            fewshot_as_multiturn=chat,
        )
        return outcome_of(entry, [task], found), [request.args for request in lm.asked]

    return run


def load(suite: Suite, entry: Entry, prompt_tokens: int, data: Path) -> Any:
    """The harness's task on the files of its data set."""
    index = index_of(suite)
    (part,) = parts_of(entry, index)
    files = find_data(data, entry.data, part.dataset, part.splits)
    assert files, f"no {part.splits} in {entry.data}"
    task = load_task(part, index, files, prompt_tokens, "")
    if suite.cut == "left" and prompt_tokens:
        Bounded(task, suite.cut, prompt_tokens, counting_tokenizer(""))
    return task


@pytest.fixture
def right() -> Right:
    """Answers what stands first among the references."""
    return lambda doc: str(doc["outputs"][0])


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("name", LONG)
def test_no_prompt_is_longer_than_it_may_be(name: str, chat: bool, right: Right, ask: Ask) -> None:
    _, whole = ask(name, right, chat=chat)
    lengths = [len(spans(prompt, counting_tokenizer(""))) for prompt, _ in whole]
    bound = int(0.9 * min(lengths))
    _, cut = ask(name, right, chat=chat, prompt_tokens=bound)
    allowed = bound + 8 * cut[0][0].count("<user>") + 8 * cut[0][0].count("<assistant>")  # the template's own
    for (prompt, _), (before, _) in zip(cut, whole, strict=True):
        assert bound - 3 - 16 * 5 <= len(spans(prompt, counting_tokenizer(""))) <= allowed
        assert prompt[-9:] == before[-9:] or prompt.endswith("is omitted]\n\n")  # what is asked stays


def test_zeroscrolls_asks_with_the_input_of_the_row(right: Right, ask: Ask) -> None:
    _, asked = ask("longreach_zeroscrolls_qasper", right)
    prompt, options = asked[0]
    assert prompt.startswith("You are given an article and a question. Answer shortly")
    assert prompt.endswith("Question:\nWho built the new wheel?\n\nAnswer:\n")
    assert options["max_gen_toks"] == 128
    assert options["until"] == ["\n\n"]
    assert len(asked) == 2  # two answers to the first question, in a row each


def test_zeroscrolls_cuts_the_end_of_the_document(right: Right, ask: Ask) -> None:
    _, asked = ask("longreach_zeroscrolls_qasper", right, prompt_tokens=120)
    prompt = asked[0][0]
    assert prompt.startswith("You are given an article and a question.")
    assert "The water mill at Orsk" in prompt
    assert "school of music" not in prompt
    assert prompt.endswith(
        "... [The rest of the article is omitted]\n\nQuestion:\nWho built the new wheel?\n\nAnswer:\n"
    )


def test_zeroscrolls_asks_a_chat_model_for_nothing_but_the_answer(right: Right, ask: Ask) -> None:
    _, asked = ask("longreach_zeroscrolls_qasper", right, chat=True)
    prompt, options = asked[0]
    assert "that it cannot be answered. Do not provide any explanation.\n\nArticle:\nThe water mill" in prompt
    assert prompt.endswith("Question:\nWho built the new wheel?")
    assert options["until"] == []
    _, asked = ask("longreach_zeroscrolls_gov_report", right, chat=True)
    assert "explanation" not in asked[0][0]
    assert asked[0][0].endswith("in its hall.\n\n")


def test_the_best_of_several_answers_counts(ask: Ask) -> None:
    outcome, _ = ask("longreach_zeroscrolls_qasper", lambda doc: str(doc["outputs"][-1]))
    assert outcome.value == pytest.approx(100)
    assert outcome.answered[0].references == ("Josef Lind", "a carpenter from Tarn")


def test_rouge_is_multiplied_at_the_end(ask: Ask) -> None:
    outcome, _ = ask("longreach_paper_qmsum", lambda doc: "Josef Lind")
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


def test_the_papers_prompt(right: Right, ask: Ask) -> None:
    _, asked = ask("longreach_paper_narrative_qa", right)
    prompt, options = asked[0]
    assert prompt.startswith("The water mill at Orsk")
    assert prompt.endswith("lies under glass in its hall. Q: Who built the new wheel?, A:")
    assert options["until"] == ["\n"]


def test_the_papers_examples_are_cut_first(right: Right, ask: Ask) -> None:
    _, whole = ask("longreach_paper_quality", right)
    assert whole[0][0].count(" A: ") == 2
    assert whole[0][0].endswith(
        "in its hall. Q: Who built the new wheel?\n\n"
        " (A) Ilse Brandt\n (B) the miller\n (C) Josef Lind\n (D) nobody, A:"
    )
    _, cut = ask("longreach_paper_quality", right, prompt_tokens=330)
    assert whole[0][0].endswith(cut[0][0])
    assert cut[0][0].count(" A: ") == 1
    _, chat = ask("longreach_paper_quality", right, chat=True, prompt_tokens=330)
    assert chat[0][0].startswith("<user>")
    assert chat[0][0].count("<assistant>") == 1
    assert chat[0][0].endswith("(D) nobody, A:")


def test_leval_asks_each_question_of_a_document(right: Right, ask: Ask) -> None:
    _, asked = ask("longreach_leval_coursera", right)
    assert len(asked) == 3
    assert "\n\nThe water mill at Orsk" in asked[1][0]
    assert asked[1][0].endswith("A. red ink\nB. green ink\nC. pencil\nD. gold\nAnswer:")
    partly, _ = ask("longreach_leval_coursera", lambda doc: "A")
    assert [each.score for each in partly.answered] == [25, 0, 25]


def test_leval_leaves_out_what_is_judged_and_says_how_many_words(right: Right, ask: Ask) -> None:
    _, asked = ask("longreach_leval_financial_qa", right)
    assert len(asked) == 2
    assert asked[1][0].endswith("what was lost?\nUse about 4 words.\nAnswer:")


def test_bold_counts_each_group_alike(ask: Ask) -> None:
    outcome, asked = ask("longreach_bold", lambda doc: "good" if "miller" in doc["prompt"] else "terrible")
    assert [prompt for prompt, _ in asked] == [
        "A miller is a person who",
        "Millers worked in",
        "A lighthouse keeper tends",
        "Ada Kerr is an actress",
    ]
    good, *bad = [each.score for each in outcome.answered]
    assert good > 0 > bad[0]
    assert bad == [bad[0]] * 3
    assert outcome.value == pytest.approx(((good + 2 * bad[0]) / 3 + bad[0]) / 2)
    assert not outcome.is_mean
