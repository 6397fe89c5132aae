"""The built-in engine: pairs that stand in the text word for word, the same every time, else nothing."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.engines.base import Message, Request, Sampling
from selfinstruct.checks.evidence import Source, check_evidence
from selfinstruct.checks.form import check_form
from selfinstruct.extractive import BLANK, ExtractiveEngine, extract
from selfinstruct.parse import Pair, parse_pair, parse_summary
from selfinstruct.quotation import Wording
from selfinstruct.tasks import TASKS

SEEDS = range(30)
CHUNK_TASKS = [name for name in TASKS if name != "summary"]


def pair_of(task: str, text: str, seed: int) -> Pair | None:
    read = parse_pair if TASKS[task].asks else parse_summary
    return read(extract(task, text, seed), False)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_cloze_question_and_its_answer_make_a_sentence_of_the_text(text: str, seed: int) -> None:
    pair = pair_of("short_answer", text, seed)
    assert pair is not None
    assert pair.question.count(BLANK) == 1
    gap = pair.question.partition(': "')[2].rpartition('"')[0]
    assert gap.replace(BLANK, pair.answer) in " ".join(text.split())
    assert pair.answer.lower() not in gap.lower()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_term_that_stands_twice_in_its_sentence_is_never_left_out(seed: int) -> None:
    text = "The merchants of Orvane sold oak to the carpenters of orvane in every single year. " * 2 + (
        "Ropemakers of Velmar and smiths of Velmar shared a common hall for ropemakers."
    )
    pair = pair_of("short_answer", text, seed)
    assert pair is not None
    assert pair.answer.lower() not in ("orvane", "velmar", "ropemakers")


@pytest.mark.parametrize("task", CHUNK_TASKS)
@pytest.mark.parametrize("seed", SEEDS)
def test_every_pair_passes_the_checks_that_need_no_model(text: str, task: str, seed: int) -> None:
    pair = pair_of(task, text, seed)
    assert pair is not None
    assert check_form(pair, TASKS[task]).reason == ""
    verdict, spans = check_evidence(pair, TASKS[task], Source(text))
    assert verdict.reason == ""
    assert spans


@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_answer_is_sentences_of_the_text(text: str, seed: int) -> None:
    pair = pair_of("long_answer", text, seed)
    assert pair is not None
    wording = Wording(text)
    assert all(wording.find(sentence) for sentence in pair.answer.split(". "))
    assert wording.find(pair.evidence)


def test_a_summary_keeps_the_order_of_the_text(text: str) -> None:
    pair = pair_of("section_summary", text, 0)
    assert pair is not None
    places = [found.start for part in pair.answer.split(". ") if (found := Wording(text).find(part))]
    assert len(places) > 2
    assert places == sorted(places)


def test_the_same_request_has_the_same_completion_and_the_seed_chooses(text: str) -> None:
    def ask(seed: int) -> str:
        sampling = Sampling(384, seed=seed)
        request = Request((Message("user", "x"),), sampling, task="short_answer", source=text)
        return asyncio.run(ExtractiveEngine().complete(request)).text

    assert [ask(seed) for seed in SEEDS] == [ask(seed) for seed in SEEDS]
    assert len({ask(seed) for seed in SEEDS}) > 3


@pytest.mark.parametrize("task", CHUNK_TASKS)
@pytest.mark.parametrize("text", ["", " \n", "x = 1\ny = 2\n", "short.", "{}" * 500, "1 2 3 4 5 6 7 8 9 10."])
def test_a_text_without_prose_gives_nothing(task: str, text: str) -> None:
    assert pair_of(task, text, 0) is None or not pair_of(task, text, 0).answer  # type: ignore[union-attr]


@given(text=st.text(st.sampled_from(list("aB. _`*[]()|=1é漢\n:-"))) | st.text(), seed=st.integers(0, 2**31 - 1))
def test_no_text_raises(text: str, seed: int) -> None:
    for task in TASKS:
        assert isinstance(extract(task, text, seed), str)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", [":" * 8_000, '["' * 4_000, "q:" * 4_000, "[x](" * 2_000, "`a" * 4_000, "*" * 8_000])
def test_a_chunk_of_markup_is_read_at_once(text: str) -> None:
    for task in CHUNK_TASKS:
        extract(task, text, 0)


def test_markup_is_left_out_of_questions_and_kept_in_quotations() -> None:
    text = "The call :func:`open_gate` moves the **outer** gate of the old harbour [slowly](x.html). " * 3
    pair = pair_of("short_answer", text, 1)
    assert pair is not None
    assert "`" not in pair.question + pair.answer
    assert "**" not in pair.question + pair.answer
    assert ":func:`open_gate`" in pair.evidence
