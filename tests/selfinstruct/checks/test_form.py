"""Form: questions that stand on their own, answers that are whole; and what is let through on purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfinstruct.checks.form import check_form, check_leak_in_question
from selfinstruct.parse import Pair
from selfinstruct.tasks import TASKS, Task

SHORT, LONG, SUMMARY = TASKS["short_answer"], TASKS["long_answer"], TASKS["section_summary"]
QUESTION = "How long is the main span of the Tarrowmere Bridge?"


def reason(answer: str, task: Task = SHORT, question: str = QUESTION, evidence: str = "", cut_off: bool = False) -> str:
    verdict = check_form(Pair(question if task.asks else "", answer, evidence, cut_off), task)
    assert verdict.passed is (verdict.reason == "")
    return verdict.reason.partition(":")[0]


WHOLE = """212 m|C++|0|π|5 %|$5|Los Alamos|by hand|Harper Lee|U.S.A.|Ja.|42°|東京|Paris|built-in|--help|None of them|No one
Nothing|Chapter 3 of Moby-Dick|Article 5|MAX_WAIT|std::vector|int main()|on Tuesdays at 9|Unknown Pleasures|नई दिल्ली""".replace(
    "\n", "|"
).split("|")


@pytest.mark.parametrize("answer", WHOLE)
def test_a_short_answer_needs_no_full_stop(answer: str) -> None:
    assert reason(answer) == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "empty answer"),
        ("  \n", "empty answer"),
        ("—", "answer without a word"),
        ("...", "answer without a word"),
        ("The span between the", "cut off"),
        ("It is 212 m,", "cut off"),
        ("because", "cut off"),
        ("die Länge der", "cut off"),
        ("not mentioned", "no answer"),
        ("I don't know", "no answer"),
        ("Not answerable.", "no answer"),
        ("The text does not say.", "no answer"),
        ("I'm sorry, I cannot answer that.", "no answer"),
        ("Im Text nicht angegeben", "no answer"),
        ("No se menciona", "no answer"),
        ("Ce n'est pas mentionné.", "no answer"),
        (" ".join(["word"] * 26), "too long for a short answer"),
        ("the length given in this passage", "refers to the passage"),
        (QUESTION, "echo of the question"),
    ],
)
def test_what_is_no_short_answer_is_rejected(answer: str, why: str) -> None:
    assert reason(answer) == why


def test_an_answer_that_ran_out_of_tokens_is_rejected_however_it_ends() -> None:
    assert reason("212 m", cut_off=True) == "cut off"
    assert reason("It is whole.", LONG, cut_off=True) == "cut off"
    assert reason("The pier is long and stands on ten piles of oak.", SUMMARY, cut_off=True) == "cut off"


@pytest.mark.parametrize(
    "answer",
    [
        "It is long. It is also old.",
        "The reasons are:\n- the clay\n- the tide",
        "1. Lower the gate\n2. Wait for the tide",
        "Use this:\n\n    open(gate)\n    close(gate)",
        "Because of the tide, run `make` first, then `make check`",
        'He called it "the last of its kind"',
        "Er nannte sie „die letzte ihrer Art“.",
        "港は広い。船が来る。",
        "The law does not mention bridges, so the council was free to decide about the tolls and the hours of opening.",
        "The chapter of the order met each Tuesday to speak of the passage to Velmar.",
        "It grew to 5 %",
    ],
)
def test_a_whole_long_answer_passes(answer: str) -> None:
    assert reason(answer, LONG, "Why was the crossing built so late?") == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("The strait is wide. The piers rest on solid", "cut off"),
        ("The strait is wide and the", "cut off"),
        ("It was built for two reasons:\n- the clay\n- the tide and", "cut off"),
        ("The document does not mention why it was built so late.", "no answer"),
        ("The passage states that the clay was soft.", "refers to the passage"),
        ("As described above, the clay was soft.", "refers to the passage"),
        ("The crossing was built so late, the crossing was built late.", "echo of the question"),
    ],
)
def test_a_long_answer_that_is_not_whole_is_rejected(answer: str, why: str) -> None:
    assert reason(answer, LONG, "Why was the crossing built so late?") == why


def test_that_nobody_knows_may_be_the_answer() -> None:
    said = "It is not known who built the bridge."
    assert reason("It is not known", question="Who built the bridge?") == "no answer"
    assert reason("It is not known", question="Who built the bridge?", evidence=said) == ""


@pytest.mark.parametrize(
    "question",
    [
        "What does this passage describe?",
        "According to the passage, how long is it?",
        "What does the above section say about tolls?",
        "What happens in the given excerpt?",
        "What is mentioned above?",
        "How does the text describe the bridge?",
        "Which bridge is meant in the text?",
        "Was steht im Text über die Brücke?",
        "Worum geht es in diesem Abschnitt?",
        "¿Según el texto, cuánto mide?",
        "D'après le texte, combien mesure-t-il ?",
    ],
)
def test_a_question_about_the_passage_is_rejected(question: str) -> None:
    assert reason("212 m", question=question) == "refers to the passage"


@pytest.mark.parametrize(
    "question",
    [
        "How was the passage of the strait made before 1881?",
        "What does the text editor do when the disk is full?",
        "How large is the chunk size of the parser?",
        "Which text message did he send?",
        "What is told in chapter 3 of Moby-Dick?",
        "How does text flow around images?",
        "Wie lang ist die Brücke?",
        "橋の長さは何メートルですか？",
    ],
)
def test_the_same_words_may_be_the_subject(question: str) -> None:
    assert reason("212 m", question=question) == ""


@pytest.mark.parametrize("question", ["", "What?", "   "])
def test_a_pair_needs_a_question(question: str) -> None:
    assert reason("212 m", question=question) == "no question"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("The pier is long and stands on ten piles of oak.", ""),
        ("Kurz und gut: Die Brücke ist lang, alt und teuer.", ""),
        ("港は広く、船が多く来る。千八百年に作られた。長さは二百メートルで、木の杭の上に立っている。", ""),
        ("A pier.", "too short for a summary"),
        ("This section is about a pier of oak and its long history.", "refers to the passage"),
        ("", "empty answer"),
    ],
)
def test_a_summary_is_some_words_about_its_subject(answer: str, why: str) -> None:
    assert reason(answer, SUMMARY) == why


def leaks(question: str, answer: str, task: Task = SHORT) -> bool:
    verdict = check_leak_in_question(Pair(question, answer), task)
    assert verdict.passed is (verdict.reason == "")
    return not verdict.passed


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who built Edwin Farraday's bridge, Edwin Farraday?", "Edwin Farraday"),
        ("In which year, 1881, was it opened?", "In 1881"),
        ("What is the Tarrowmere Bridge?", "the Tarrowmere bridge"),
        ("Wie heißt die Ulmer Brücke?", "Die Ulmer Brücke."),
    ],
)
def test_a_question_that_holds_its_answer_leaks(question: str, answer: str) -> None:
    assert leaks(question, answer)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is the gate of oak or of iron?", "oak"),
        ("Was it opened in 1881?", "Yes, in 1881"),
        ("How many of the 17 piers stand?", "7"),
        ("Who built the bridge?", "Bridget Jones"),
        ("Which harbour lies east of Portland?", "Port"),
    ],
)
def test_a_choice_and_a_part_of_a_word_do_not_leak(question: str, answer: str) -> None:
    assert not leaks(question, answer)


def test_only_short_answers_can_stand_in_their_question() -> None:
    assert not leaks("Why is the pier of oak?", "oak", LONG)
    assert not leaks("", "oak", SUMMARY)


@given(question=st.text(), answer=st.text(), evidence=st.text(), cut_off=st.booleans())
def test_no_pair_raises(question: str, answer: str, evidence: str, cut_off: bool) -> None:
    for task in TASKS.values():
        pair = Pair(question, answer, evidence, cut_off)
        verdict = check_form(pair, task)
        assert verdict.passed is (not verdict.reason)
        assert not (cut_off and verdict.passed)
        check_leak_in_question(pair, task)


SLOW = ["a " * 50_000, "(" * 100_000, " " * 100_000, "the " * 25_000, "does not " * 11_000, "- " * 50_000,
        "this " * 20_000, "no " * 33_000, "geht a " * 14_000, "de " * 33_000]  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", SLOW, ids=lambda text: repr(text[:10]))
def test_100_kb_are_read_at_once(text: str) -> None:
    for task in (SHORT, LONG, SUMMARY):
        check_form(Pair(text, "212 m"), task)
        check_form(Pair(QUESTION, text, text), task)
        check_leak_in_question(Pair(text, text), task)
