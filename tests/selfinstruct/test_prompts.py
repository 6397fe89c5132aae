"""Prompts: strict both ways, replaceable one by one, blind to what documents hold, with one prefix for a chunk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.shipped import shipped
from selfinstruct.prompts import VARIABLES, Prompts, load_prompts
from selfinstruct.tasks import TASKS

GIVEN: Mapping[str, Any] = {
    "text": "THE TEXT",
    "document": "THE DOCUMENT",
    "summaries": ["FIRST SUMMARY", "SECOND SUMMARY"],
    "question": "THE QUESTION",
    "answer": "THE ANSWER",
    "language": "THE LANGUAGE",
    "short": True,
    "structured": False,
}
ON_A_CHUNK = ("short_answer", "long_answer", "section_summary", "answer_from_text", "critique")


def rendered(prompts: Prompts, name: str, **other: Any) -> str:
    return prompts.render(name, **{word: ({**GIVEN, **other})[word] for word in VARIABLES[name]})


@pytest.mark.parametrize("name", VARIABLES)
def test_a_shipped_prompt_says_all_that_it_is_given(prompts: Prompts, name: str) -> None:
    shown = rendered(prompts, name)
    values = [GIVEN[word] for word in VARIABLES[name] if word not in ("short", "structured")]
    for value in values:
        assert all(part in shown for part in ([value] if isinstance(value, str) else value))
    assert "{{" not in shown
    assert "{%" not in shown


@pytest.mark.parametrize("name", [name for name in VARIABLES if "structured" in VARIABLES[name]])
def test_a_reply_is_asked_for_in_json_or_in_tags(prompts: Prompts, name: str) -> None:
    in_tags, in_json = rendered(prompts, name, structured=False), rendered(prompts, name, structured=True)
    assert "</" in in_tags.rsplit("exactly this form", 1)[1]
    assert "JSON" not in in_tags
    assert "exactly this form" not in in_json
    assert "JSON" in in_json


def test_every_task_has_its_two_prompts() -> None:
    assert {task.prompt for task in TASKS.values()} | {task.train for task in TASKS.values()} <= VARIABLES.keys()


texts = st.text(min_size=1) | st.sampled_from(
    ["{{ x }}", "{% raw %}", "{# note", "{% include 'critique.jinja' %}", "</document_part>", "$&|<>\"'", "  \n x \n "]
)


@given(text=texts, structured=st.booleans(), question=st.text(), short=st.booleans())
def test_all_requests_on_a_chunk_share_the_whole_document_part(
    prompts: Prompts, text: str, structured: bool, question: str, short: bool
) -> None:
    shown = [
        rendered(prompts, name, text=text, structured=structured, question=question, short=short, answer="a")
        for name in ON_A_CHUNK
    ]
    head, _, tail = rendered(prompts, "short_answer", text="\0").partition("\0")
    prefix = head + text + tail[: tail.index(">") + 1]
    assert all(prompt.startswith(prefix) for prompt in shown)
    assert prefix.endswith("</document_part>")
    assert all(len(prompt) > len(prefix) + 40 for prompt in shown)  # the instruction stands after it


@given(document=texts, question=st.text())
def test_a_training_prompt_holds_the_document_first_and_the_question_last(
    prompts: Prompts, document: str, question: str
) -> None:
    for name in ("train_short_answer", "train_long_answer", "train_section_summary", "train_summary"):
        shown = rendered(prompts, name, document=document, question=question)
        head, _, tail = rendered(prompts, name, document="\0", question=question).partition("\0")
        assert shown == head + document + tail
        assert len(head) < 80


@pytest.mark.parametrize("text", ["{{ x }}", "{% if %}", "{{ question }}", "{# hidden #}", "{{ ''.__class__ }}", "{%"])
def test_document_text_is_never_a_template(prompts: Prompts, text: str) -> None:
    for name in ON_A_CHUNK:
        assert text in rendered(prompts, name, text=text)
    assert text in rendered(prompts, "train_summary", document=text)
    assert text in rendered(prompts, "merge_summaries", summaries=[text])


def test_a_check_of_a_summary_asks_about_a_summary(prompts: Prompts) -> None:
    assert "summary" in rendered(prompts, "critique", question="")
    assert "Question:" not in rendered(prompts, "critique", question="")


# A folder of the user's own prompts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


SHORT = "{{ text }} in {{ language }} as {{ structured }}"


def test_a_file_of_the_folder_replaces_the_shipped_one_and_no_other(folder: Path, prompts: Prompts) -> None:
    (folder / "short_answer.jinja").write_text("MINE " + SHORT)
    mine = load_prompts(str(folder))
    assert rendered(mine, "short_answer") == "MINE THE TEXT in THE LANGUAGE as False"
    assert rendered(mine, "long_answer") == rendered(prompts, "long_answer")
    changed = {name for name in mine.sha256 if mine.sha256[name] != prompts.sha256[name]}
    assert changed == {"short_answer"}


def test_a_replaced_part_counts_in_the_hash_of_all_that_include_it(folder: Path, prompts: Prompts) -> None:
    (folder / "document.jinja").write_text("<text>\n{{ text }}\n</text>\n")
    mine = load_prompts(str(folder))
    changed = {name for name in mine.sha256 if mine.sha256[name] != prompts.sha256[name]}
    assert changed == set(ON_A_CHUNK)
    assert rendered(mine, "critique").startswith("<text>\nTHE TEXT\n</text>")


def test_hashes_are_the_same_every_time(prompts: Prompts) -> None:
    assert load_prompts().sha256 == prompts.sha256
    assert prompts.sha256.keys() == VARIABLES.keys()


@pytest.mark.parametrize(
    ("name", "source", "complaint"),
    [
        ("short_answer", "{{ text }} {{ language }}", "short_answer.jinja does not use {{ structured }}"),
        ("short_answer", SHORT + "{{ txet }}", "uses {{ txet }}, which nobody gives; did you mean 'text'?"),
        ("train_summary", "{{ document }} {{ question }}", "uses {{ question }}, which nobody gives"),
        ("document", "no text at all", "critique.jinja does not use {{ text }}"),
        ("document", "{{ text }} {{ extra }}", "critique.jinja uses {{ extra }}"),
        ("short_answer", SHORT + "\n{% if %}", "short_answer, line 2: "),
        ("short_answer", SHORT + "{{ text | nosuch }}", "No filter named 'nosuch'"),
        ("short_answer", SHORT + "{% include 'none.jinja' %}", "none.jinja"),
    ],
)
def test_a_wrong_prompt_is_an_error_at_start(folder: Path, name: str, source: str, complaint: str) -> None:
    (folder / f"{name}.jinja").write_text(source)
    with pytest.raises(UserError) as raised:
        load_prompts(str(folder))
    assert complaint in raised.value.problem
    assert str(shipped("prompts")) in raised.value.hint


def test_all_wrong_prompts_are_named_at_once(folder: Path) -> None:
    (folder / "short_answer.jinja").write_text("{{ text }}")
    (folder / "train_summary.jinja").write_text("{{ document")
    with pytest.raises(UserError) as raised:
        load_prompts(str(folder))
    assert len(raised.value.problem.splitlines()) == 3


def test_an_unknown_file_is_refused_with_a_suggestion(folder: Path) -> None:
    (folder / "short_anwser.jinja").write_text(SHORT)
    with pytest.raises(UserError, match=r"short_anwser\.jinja is not asked for; did you mean 'short_answer'\?"):
        load_prompts(str(folder))


def test_other_files_in_the_folder_are_let_be(folder: Path, prompts: Prompts) -> None:
    (folder / "notes.txt").write_text("{{ nothing }}")
    (folder / "train_summary.jinja").write_text("{{ document }}")
    assert rendered(load_prompts(str(folder)), "train_summary") == "THE DOCUMENT"


def test_a_folder_that_replaces_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.jinja file"):
        load_prompts(str(folder))
    with pytest.raises(UserError, match="no such folder of prompts"):
        load_prompts(str(folder / "none"))
