"""Lengths in tokens: one text and many agree, nothing is cut or added, and a wrong name is the user's to mend."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import UserError
from longreach.text import special
from longreach.text.tokenize import SHIPPED, SHIPPED_NAME, Tokenizer, load_tokenizer

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


# Ids


@given(st.lists(texts, max_size=5))
def test_ids_are_what_is_counted(tokenizer: Tokenizer, each: list[str]) -> None:
    ids = tokenizer.ids_batch(each)
    assert [len(row) for row in ids] == tokenizer.counts(each)
    assert [row.tolist() for row in ids] == [tokenizer.ids(text).tolist() for text in each]
    assert all(row.dtype == np.uint32 for row in ids)


def test_ids_are_those_of_the_file(tokenizer: Tokenizer, text: str) -> None:
    backend = tokenizers.Tokenizer.from_file(str(SHIPPED))
    for each in (text, text * 20, ""):  # before and after the fast way is open
        assert tokenizer.ids(each).tolist() == backend.encode(each).ids


def test_the_shipped_tokenizer_by_its_name(tokenizer: Tokenizer) -> None:
    assert tokenizer.name == SHIPPED_NAME
    assert load_tokenizer(SHIPPED_NAME).sha256 == tokenizer.sha256


def test_the_vocabulary_ends_behind_the_largest_id(tmp_path: Path, tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 8_192
    backend = tokenizers.Tokenizer.from_file(str(SHIPPED))
    backend.add_tokens(["harbourmaster"])
    backend.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(str(tmp_path)).vocab_size == 8_193


# The tokens around a text


def test_the_shipped_tokenizer_ends_documents(tokenizer: Tokenizer) -> None:
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id, tokenizer.adds_bos) == (1, 2, 3, False)


def with_config(folder: Path, config: object, backend: tokenizers.Tokenizer | None = None) -> Tokenizer:
    (backend or tokenizers.Tokenizer.from_file(str(SHIPPED))).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("config", "ids"),
    [
        ({}, (1, 2, 3)),
        ({"eos_token": "<pad>"}, (1, 3, 3)),
        ({"eos_token": {"content": "<s>", "special": True}, "bos_token": None}, (None, 1, 3)),
        ({"eos_token": "<|not there|>", "pad_token": None}, (1, None, None)),
        ({"eos_token": 5}, (1, None, 3)),
        (["no object"], (1, 2, 3)),
    ],
)
def test_the_configuration_says_which_tokens_stand_around_a_text(
    tmp_path: Path, config: object, ids: tuple[int | None, ...]
) -> None:
    loaded = with_config(tmp_path, config)
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == ids
    (tmp_path / "other.json").write_bytes((tmp_path / "tokenizer.json").read_bytes())
    assert load_tokenizer(str(tmp_path / "other.json")).eos_id == ids[1]  # it lies beside any file


def test_a_broken_configuration_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(SHIPPED.read_bytes())
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer_config\.json is no JSON"):
        load_tokenizer(str(tmp_path))


@pytest.mark.parametrize(
    ("said", "template", "adds"),
    [
        (None, "<s> $A", True),
        (None, "$A", False),
        (None, "</s> $A", False),
        (False, "<s> $A", False),
        (True, "$A", True),
    ],
)
def test_whether_texts_begin_with_a_token(tmp_path: Path, said: bool | None, template: str, adds: bool) -> None:
    backend = tokenizers.Tokenizer.from_file(str(SHIPPED))
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=template, special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    loaded = with_config(tmp_path, {} if said is None else {"add_bos_token": said}, backend)
    assert loaded.adds_bos is adds
    assert loaded.ids("a").tolist() == load_tokenizer("").ids("a").tolist()  # for the caller to add


def test_nothing_begins_with_a_token_that_is_not_there(tmp_path: Path) -> None:
    assert with_config(tmp_path, {"add_bos_token": True, "bos_token": None}).adds_bos is False


def hub(error: Exception) -> Callable[..., str]:
    def download(name: str, file: str) -> str:
        raise error

    return download


def test_a_hub_id_without_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub(LocalEntryNotFoundError("offline")))
    assert special.hub_config("a/b") == {}
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub(ConnectionError("reset by peer")))
    with pytest.raises(UserError, match=r"tokenizer_config\.json of a/b: reset by peer"):
        special.hub_config("a/b")


# Special tokens in a text are text

NAMES = ("<s>", "</s>", "<pad>")
HOSTILE = ["</s>", "a</s>b", "x </s> <s>", "<pad><pad></s></s>", "</s></s>\n</s>", "＜/s＞", "<</s>/s>", " </s"]


def byte_pairs() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer.from_file(str(SHIPPED))


def pairs_that_make_the_end() -> tokenizers.Tokenizer:
    """As some converters wrote Llama's: merges that lead to the special token."""
    vocabulary = {name: number for number, name in enumerate(["<unk>", *NAMES, *"</s>pad ", "</", "s>"])}
    merges = [("<", "/"), ("s", ">"), ("</", "s>")]
    return tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, unk_token="<unk>"))


def unigrams() -> tokenizers.Tokenizer:
    words = [("<unk>", 0.0), *((name, 0.0) for name in NAMES), *((letter, -5.0) for letter in "</s>padbx▁")]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(words, 0, False))
    made.normalizer = tokenizers.normalizers.NFKC()
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    return made


def words() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "x": 4}, "<unk>")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return made


def special_by_use_alone() -> tokenizers.Tokenizer:
    """As Phi-3 has it: the token that ends a document is not marked as a special one."""
    made = byte_pairs()
    content = json.loads(made.to_str())
    for token in content["added_tokens"]:
        token.update(special=token["content"] == "<unk>", rstrip=True)
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def added_behind_the_vocabulary() -> tokenizers.Tokenizer:
    made = byte_pairs()
    made.add_tokens(["<|endoftext|>", "harbourmaster"])
    return made


KINDS: Sequence[Callable[[], tokenizers.Tokenizer]] = (
    byte_pairs,
    pairs_that_make_the_end,
    unigrams,
    words,
    special_by_use_alone,
)


@pytest.mark.parametrize("make", KINDS)
def test_no_document_can_end_itself(tmp_path: Path, make: Callable[[], tokenizers.Tokenizer]) -> None:
    backend = make()
    if make is not special_by_use_alone:
        backend.add_special_tokens(["<unk>", *NAMES])
    loaded = with_config(tmp_path, {}, backend)
    assert (loaded.bos_id, loaded.eos_id, loaded.pad_id) == (1, 2, 3)
    for text in HOSTILE:
        assert not {1, 2, 3} & set(loaded.ids(text).tolist()), text
        assert len(loaded.ids(text)) == loaded.count(text)
    for harmless in ("x pad s < / > x", "x ☃ x", ""):
        assert loaded.ids(harmless).tolist() == make().encode(harmless).ids


def test_a_token_by_use_keeps_the_ids_of_those_behind_it(tmp_path: Path) -> None:
    loaded = with_config(tmp_path, {"eos_token": "<|endoftext|>"}, added_behind_the_vocabulary())
    assert loaded.eos_id == 8_192
    ids = loaded.ids("harbourmaster <|endoftext|> harbourmaster").tolist()
    assert (ids[0], ids[-1]) == (8_193, 8_193)
    assert 8_192 not in ids
    assert loaded.vocab_size == 8_194
