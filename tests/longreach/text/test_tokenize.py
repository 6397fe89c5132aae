"""Lengths in tokens: one text and many agree, nothing is cut or added, and a wrong name is the user's to mend."""

import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.text.tokenize import SHIPPED, Tokenizer, load_tokenizer

texts = st.text(st.characters(blacklist_categories=["Cs"]))


@given(st.lists(texts, max_size=5))
def test_many_texts_count_as_each_does(tokenizer: Tokenizer, each: list[str]) -> None:
    assert tokenizer.counts(each) == [tokenizer.count(text) for text in each]


@given(texts)
def test_any_text_has_as_many_tokens_as_bytes_at_most(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.count(text) <= len(text.encode())
    assert bool(text) == bool(tokenizer.count(text))  # a byte-level vocabulary drops nothing


def test_the_shipped_tokenizer_loses_no_character() -> None:
    backend = tokenizers.Tokenizer.from_file(str(SHIPPED))
    text = "naïve 日本 😀👩‍👩‍👧 שלום\r\n\t\x01 \u00a0 def f(x): return x**2"
    assert backend.decode(backend.encode(text, add_special_tokens=False).ids) == text


def test_the_shipped_tokenizer_knows_words(tokenizer: Tokenizer) -> None:
    assert tokenizer.count("The number of documents is not known before they were read.") < 20


def saved(folder: Path, prepare: str) -> Path:
    """A tokenizer.json that cuts, pads or adds special tokens by itself."""
    backend = tokenizers.Tokenizer.from_file(str(SHIPPED))
    if prepare == "truncates":
        backend.enable_truncation(8)
    elif prepare == "pads":
        backend.enable_padding(length=64)
    else:
        token = backend.id_to_token(0)
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{token} $A {token}", special_tokens=[(token, 0)]
        )
    backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("prepare", ["truncates", "pads", "adds"])
@pytest.mark.parametrize("words", [2, 50])
def test_nothing_is_cut_or_added_that_the_file_asks_for(
    tmp_path: Path, tokenizer: Tokenizer, prepare: str, words: int
) -> None:
    text = "harbour " * words
    loaded = load_tokenizer(str(saved(tmp_path, prepare)))
    assert loaded.count(text) == tokenizer.count(text)
    assert loaded.counts([text, "a"]) == tokenizer.counts([text, "a"])


def test_a_folder_and_its_file_are_the_same_tokenizer(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "tokenizer.json").write_bytes(SHIPPED.read_bytes())
    by_folder, by_file = load_tokenizer(str(tmp_path)), load_tokenizer(str(tmp_path / "tokenizer.json"))
    assert by_folder.sha256 == by_file.sha256 == tokenizer.sha256
    assert tokenizer.name == "longreach-8k"
    assert by_folder.name == str(tmp_path)


def test_another_vocabulary_has_another_hash(tmp_path: Path, tokenizer: Tokenizer) -> None:
    backend = tokenizers.Tokenizer.from_file(str(SHIPPED))
    backend.add_tokens(["harbourmaster"])
    backend.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(str(tmp_path)).sha256 != tokenizer.sha256


def test_a_folder_without_tokenizer_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no tokenizer\.json\n.*save_pretrained"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{}", b"garbage", b"\xff\xfe"])
def test_a_broken_file_is_the_users_to_mend(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(UserError, match="cannot read the tokenizer"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize("name", ["no-such/tokenizer", "not a name", "/no/such/folder"])
def test_an_unknown_name_is_the_users_to_mend(name: str) -> None:
    script = f"""
from longreach.errors import UserError
from longreach.text.tokenize import load_tokenizer
try:
    load_tokenizer({name!r})
except UserError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], env={"HF_HUB_OFFLINE": "1", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"no tokenizer {name!r}" in ended.stdout
    assert "leave --tokenizer out" in ended.stdout
