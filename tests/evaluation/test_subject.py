"""The model that is asked: style, window, and room for a prompt, told before its weights are loaded."""

from pathlib import Path

import pytest

from evaluation.config import QaSettings
from evaluation.sample import Sample, question
from evaluation.subject import UNSEEN_TEMPLATE, open_subject
from longreach.errors import UserError
from tinyllama import make_tiny_llama


def settings(out: Path, **given: object) -> QaSettings:
    return QaSettings(records=("r",), out=str(out), **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("base"), chat_template=None)


def test_a_model_with_a_template_is_asked_as_a_chat(chat: Path, base: Path, tmp_path: Path) -> None:
    assert open_subject(settings(tmp_path, model=str(chat))).chat
    assert not open_subject(settings(tmp_path, model=str(chat), style="text")).chat
    assert not open_subject(settings(tmp_path, model=str(base))).chat
    with pytest.raises(UserError, match="no chat template"):
        open_subject(settings(tmp_path, model=str(base), style="chat"))


@pytest.mark.parametrize("style", ["chat", "text"])
def test_a_prompt_that_fills_its_room_makes_the_length(chat: Path, tmp_path: Path, style: str) -> None:
    """Counted by transformers, template and special tokens and all."""
    from transformers import AutoTokenizer

    subject = open_subject(settings(tmp_path, model=str(chat), style=style))
    room = subject.room(200, 16)
    asked = "What?\nAnswer:"
    text = "ka"
    while subject.tokenizer.count(f"{text} lo\n\n{asked}") <= room:
        text += " lo"
    sample = Sample("1", "t", references=(), max_tokens=16, **question(text, "What?", "Answer:"))
    theirs = AutoTokenizer.from_pretrained(chat)
    if style == "chat":
        turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
        tokens = len(theirs.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))
    else:
        tokens = len(theirs(sample.text)["input_ids"])
    assert 200 - 12 <= tokens + 16 <= 200


def test_the_window_is_known_and_lengths_beyond_it_are_told_apart(chat: Path, tmp_path: Path) -> None:
    subject = open_subject(settings(tmp_path, model=str(chat)))
    assert subject.window == 2048
    assert subject.fits((512, 2048, 2049)) == (512, 2048)


def test_a_served_model_says_how_it_is_counted(chat: Path, tmp_path: Path) -> None:
    url = ("http://127.0.0.1:1/v1",)
    unknown = open_subject(settings(tmp_path, model="m", base_url=url))
    assert unknown.overhead == UNSEEN_TEMPLATE and unknown.window == 0 and unknown.chat
    assert any("--tokenizer" in note for note in unknown.notes)
    known = open_subject(settings(tmp_path, model="m", base_url=url, tokenizer=str(chat)))
    assert known.overhead == open_subject(settings(tmp_path, model=str(chat))).overhead
    assert not any("--tokenizer" in note for note in known.notes)
    assert not open_subject(settings(tmp_path, model="m", base_url=url, style="text")).chat


def test_what_is_no_model_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json|no model"):
        open_subject(settings(tmp_path, model=str(tmp_path)))
    with pytest.raises(UserError, match="no model: give --model"):
        settings(tmp_path)
    with pytest.raises(UserError, match="--engine http needs --base-url"):
        settings(tmp_path, model="m", engine="http")
