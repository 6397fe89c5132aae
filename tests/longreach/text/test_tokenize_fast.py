"""The fast way to ids: what tokenizers gives, for every text and every kind of tokenizer, or not the fast way."""

import json
import logging
import multiprocessing
import pickle
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

from longreach.text import fast, tokenize
from longreach.text.fast import FastEncoder, TokenizerMismatch, Unfit, exact_ids
from longreach.text.special import kept_out, special_tokens
from longreach.text.tokenize import SHIPPED, Encoder, Tokenizer

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
SPECIAL = ["<unk>", "<s>", "</s>"]
PROSE = list(topics.values())[::3]


def splitting(split: str) -> pre_tokenizers.PreTokenizer:
    """By an expression, or the one of GPT-2 for none; then into bytes."""
    into_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not split)
    return (
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(split), "isolated"), into_bytes]) if split else into_bytes
    )


def byte_level(split: str, **model: bool) -> tokenizers.Tokenizer:
    """Byte-level BPE as GPT-2, Llama 3 and Qwen have it, trained on a little prose."""
    made = tokenizers.Tokenizer(models.BPE(**model))
    made.pre_tokenizer = splitting(split)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        PROSE,
        trainers.BpeTrainer(vocab_size=2_000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    return made


def byte_fallback(**parts: object) -> tokenizers.Tokenizer:
    """BPE over characters with bytes for unknown ones, as SentencePiece made it for Llama 2."""
    words = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Metaspace()
    words.train_from_iterator(
        PROSE, trainers.BpeTrainer(vocab_size=2_000, special_tokens=["<unk>"], show_progress=False)
    )
    model = json.loads(words.to_str())["model"]
    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *sorted(model["vocab"], key=model["vocab"].get)[1:]]
    made = tokenizers.Tokenizer(
        models.BPE(
            vocab={name: number for number, name in enumerate(names)},
            merges=[(left, right) for left, right in model["merges"]],
            byte_fallback=True,
            fuse_unk=True,
            unk_token="<unk>",
        )
    )
    made.add_special_tokens(SPECIAL)
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    for name, part in parts.items():
        setattr(made, name, part)
    return made


def with_added_tokens() -> tokenizers.Tokenizer:
    made = byte_level(QWEN2)
    made.normalizer = normalizers.NFC()
    made.add_tokens(["<tool_call>", "</tool_call>", "é", "ab", "abc", "of", " the", AddedToken("==", normalized=False)])
    return made


def gemma() -> tokenizers.Tokenizer:
    made = byte_fallback(normalizer=normalizers.Replace(" ", "▁"))
    made.add_tokens([AddedToken(each * count, normalized=False) for each in "\n▁" for count in range(2, 9)])
    return made


def phi3() -> tokenizers.Tokenizer:
    """The end of a document is an ordinary added token there, which takes the spaces behind it along."""
    content = json.loads(byte_fallback(normalizer=normalizers.Replace(" ", "▁")).to_str())
    content["added_tokens"][2] |= {"special": False, "rstrip": True}
    return tokenizers.Tokenizer.from_str(json.dumps(content))


FAMILIES: dict[str, Callable[[], tokenizers.Tokenizer]] = {
    "shipped": lambda: tokenizers.Tokenizer.from_file(str(SHIPPED)),
    "gpt2": lambda: byte_level(""),
    "llama3": lambda: byte_level(LLAMA3, ignore_merges=True),
    "qwen2": with_added_tokens,
    "llama2": lambda: byte_fallback(normalizer=normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])),
    "llama2-metaspace": lambda: byte_fallback(pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
    "gemma": gemma,
    "phi3": phi3,
}  # fmt: skip


def for_texts(made: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    return kept_out(made, special_tokens(made, {}))


@cache
def family(name: str) -> tuple[tokenizers.Tokenizer, FastEncoder]:
    exact = for_texts(FAMILIES[name]())
    return exact, FastEncoder(exact)


every_family = pytest.mark.parametrize("name", FAMILIES)


def same(name: str, text: str) -> bool:
    exact, quick = family(name)
    ids = quick.ids(text)
    return ids.dtype == np.uint32 and ids.tolist() == exact.encode(text, add_special_tokens=False).ids


ODD = [
    *" abAB1._'\n\t\r\0\u00a0\u3000\u2028\u200b\u200d\u0301\u0323\u0338\ufeff\u1100\u1161\U0010ffff",
    *"ſKßİ½Ⅷé中가ไ😀",
]
NEWS = [*"\u088f\u0897\u0d3b\U0001faea\U000113c2\U00016d67"]  # to one of the two, or once were
WORDS = "'s 'LL the 12345 <s> </s> <unk> <tool_call> ▁ Ġ <0x0A> == ... naïve of abc".split()
scraps = st.lists(st.sampled_from([*ODD, *NEWS, *WORDS, "  ", "\r\n", " \n ", " the ", "\n\n\n"]), max_size=30).map(
    "".join
)
any_text = st.one_of(st.text(), st.text(st.characters(blacklist_categories=["Cs"]), max_size=12), scraps)


@every_family
@given(text=any_text)
def test_the_ids_are_those_of_tokenizers(name: str, text: str) -> None:
    assert same(name, text)


@every_family
def test_on_real_text(name: str) -> None:
    assert all(same(name, text) for text in [*topics.values()][1::9])


LONG = {
    "letters": "a" * 60_000,
    "spaces": " " * 60_000,
    "lines": "\n" * 60_000,
    "cjk": "".join(map(chr, range(0x4E00, 0x9F00))),
    "base64": "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo" * 2_000,
    "one line": "The harbour of Orvane has 14 basins, and no pier. " * 2_000,
    "emoji": "👩‍👩‍👧 " * 3_000,
    "nul": "\0" * 1_000 + "a\0b",
    "nothing": "",
}


@every_family
@pytest.mark.parametrize("kind", LONG)
def test_on_long_and_odd_texts(name: str, kind: str) -> None:
    assert same(name, LONG[kind])


@every_family
def test_no_text_makes_a_special_token(name: str) -> None:
    _, quick = family(name)
    ids = quick.ids("".join(f"{name} a{name}b\n{name}{name}" for name in SPECIAL))
    assert not set(ids.tolist()) & {1, 2}


# Characters: every one of them


def telling(split: str) -> tokenizers.Tokenizer:
    """A tokenizer that joins any two bytes of which one is not ASCII, so that its ids show where words end."""
    letters = bytes_to_letters()
    vocabulary = {letter: byte for byte, letter in enumerate(letters)}
    first, rest, plain = letters[0xC2:0xF5], letters[0x80:0xC0], [letters[ord(each)] for each in "a 1.\n'"]
    pairs = [(left, right) for left in (*plain, *rest) for right in first] + [
        (left, right) for left in rest for right in plain
    ]
    vocabulary |= {left + right: 256 + number for number, (left, right) in enumerate(pairs)}
    made = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    made.pre_tokenizer = splitting(split)
    made.decoder = decoders.ByteLevel()
    return made


def bytes_to_letters() -> list[str]:
    """The letter that byte-level tokenizers have for each byte."""
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = iter(range(0x100, 0x200))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


@pytest.mark.parametrize("split", ["", LLAMA3])
def test_every_character_that_goes_the_fast_way_is_the_same_to_both(split: str) -> None:
    exact = telling(split)
    quick = FastEncoder(exact)
    known = [chr(code) for code in np.flatnonzero(fast._known())]
    assert len(known) > 150_000
    for begin in range(0, len(known), 1_024):
        text = "".join(f"a{each}1{each} {each}." for each in known[begin : begin + 1_024])
        assert quick._plain(text)
        assert np.array_equal(quick._gigatoken.encode(text), exact_ids(exact, text)), hex(ord(known[begin]))


def test_a_character_that_is_news_to_tokenizers_goes_the_slow_way() -> None:
    """Some two of these are letters to one and nothing to the other; if this fails, both know the same at last."""
    exact = telling(LLAMA3)
    quick = FastEncoder(exact)
    differing = [
        chr(code) for code in (*range(0x088F, 0x0890), *range(0xA7CE, 0xA7D0)) if not quick._plain(f"a{chr(code)}")
    ]
    assert differing
    assert any(
        not np.array_equal(quick._gigatoken.encode(f"a{each}b"), exact_ids(exact, f"a{each}b")) for each in differing
    )
    assert all(quick.ids(f"a{each}b").tolist() == exact_ids(exact, f"a{each}b").tolist() for each in differing)


def test_marks_in_any_order_where_the_tokenizer_wants_normal_form_c() -> None:
    marks = [chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))]
    text = "".join(f"a{mark}\u0301 \u0323{mark} {mark}\u0338>" for mark in marks)
    assert len(marks) > 800
    assert all(same("qwen2", f"a{mark}\u0301 e\u0323{mark} o\u0301{mark}") for mark in marks)
    assert same("qwen2", text)
    assert same("qwen2", unicodedata.normalize("NFC", text))


def test_text_in_normal_form_c_goes_the_fast_way() -> None:
    _, quick = family("qwen2")
    assert quick._plain("déjà vu, Ångström, 한국어, हिन्दी")
    assert not quick._plain(unicodedata.normalize("NFD", "déjà vu"))


# Tokenizers that have to do without


def words_as_unknown() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def changed(**changes: object) -> tokenizers.Tokenizer:
    """The GPT-2 kind with something in its model that is not."""
    content = json.loads(FAMILIES["gpt2"]().to_str())
    content["model"] |= changes
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def with_part(name: str, part: object) -> tokenizers.Tokenizer:
    made = FAMILIES["gpt2"]()
    setattr(made, name, part)
    return made


def with_token(**flags: bool) -> tokenizers.Tokenizer:
    made = FAMILIES["gpt2"]()
    made.add_tokens([AddedToken("harbour", **flags)])
    return made


UNFIT: dict[str, tuple[Callable[[], tokenizers.Tokenizer], str]] = {
    "word pieces": (words_as_unknown, "WordPiece"),
    "unigrams": (lambda: tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, False)), "Unigram"),
    "another expression": (lambda: byte_level(r"\w+|\s+|[^\w\s]+"), "regex"),
    "lower case": (lambda: with_part("normalizer", normalizers.Lowercase()), "Lowercase"),
    "the end of a word": (lambda: changed(end_of_word_suffix="</w>"), "gives other ids"),
    "dropout": (lambda: changed(dropout=0.1), "at random"),
    "whole words": (lambda: with_token(single_word=True), "beside them"),
    "spaces before": (lambda: with_token(lstrip=True), "beside them"),
    "spaces behind": (lambda: with_token(rstrip=True), "beside them"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_gigatoken_cannot_do_is_refused_with_the_reason(kind: str) -> None:
    make, reason = UNFIT[kind]
    with pytest.raises(Unfit, match=reason):
        FastEncoder(for_texts(make()))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenize, "PATIENCE_CHARS", 0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.usefixtures("eager")
def test_an_unfit_tokenizer_works_all_the_same_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    encoder = Encoder(words_as_unknown(), "the bees", fast=True)
    assert [encoder.ids(["a b a", "a"])[0].tolist() for _ in range(3)] == [[1, 0, 1]] * 3
    assert len(warnings(caplog)) == 1
    assert "the bees is encoded by tokenizers" in warnings(caplog)[0]
    assert "WordPiece" in warnings(caplog)[0]


@pytest.mark.usefixtures("eager")
def test_without_gigatoken(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gigatoken", None)
    exact = FAMILIES["shipped"]()
    assert Encoder(exact, "x", fast=True).ids(["a b"])[0].tolist() == exact_ids(exact, "a b").tolist()
    assert "pip install 'longreach[prepare]'" in warnings(caplog)[0]


def test_little_text_does_not_load_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    monkeypatch.setattr(tokenize, "FastEncoder", lambda exact: loaded.append(exact) or FastEncoder(exact))
    encoder = Encoder(family("shipped")[0], "x", fast=True)
    encoder.ids(["a" * 1_000] * 60)
    assert not loaded
    encoder.ids(["a" * 1_000] * 6)
    encoder.ids(["a" * 100_000])
    assert len(loaded) == 1


def test_not_fast_is_never_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenize, "FastEncoder", None)
    assert len(Encoder(family("shipped")[0], "x", fast=False).ids(["a" * 200_000])) == 1


# A gigatoken that errs on real text


class Erring:
    """Gigatoken, but for texts with certain words in them."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def encode(self, text: str) -> fast.Ids:
        if "panic" in text:
            raise PanicException("index out of bounds")
        if "interrupt" in text:
            raise KeyboardInterrupt
        ids = self._real.encode(text)
        return np.append(ids, np.uint32(5)) if "poison" in text else ids


class PanicException(BaseException):
    """As Rust code raises it."""


@pytest.fixture
def erring(monkeypatch: pytest.MonkeyPatch, eager: None) -> Encoder:
    load = FastEncoder._load
    monkeypatch.setattr(FastEncoder, "_load", lambda self: Erring(load(self)))
    monkeypatch.setattr(fast, "FIRST_CHARS", 100)
    return Encoder(family("shipped")[0], "longreach-8k", fast=True)


def right(text: str) -> list[int]:
    return exact_ids(family("shipped")[0], text).tolist()


def test_a_difference_in_a_real_text_is_raised_and_then_all_is_exact(
    erring: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    assert erring.ids(["sound"])[0].tolist() == right("sound")
    with pytest.raises(TokenizerMismatch, match=r"part in .*of the well poison"):
        erring.ids(["the water " * 20 + "of the well poison"])
    for text in ("poison", "sound", "more poison"):
        assert erring.ids([text])[0].tolist() == right(text)
    assert len(warnings(caplog)) == 1
    assert "well poison" in warnings(caplog)[0]


def test_counting_goes_on_after_a_difference(erring: Encoder, tokenizer: Tokenizer) -> None:
    counter = replace(tokenizer, encoder=erring)
    assert counter.counts(["sound", "poison"]) == [len(right("sound")), len(right("poison"))]
    assert counter.count("more poison") == len(right("more poison"))


def test_a_failure_inside_gigatoken_ends_nothing(erring: Encoder, caplog: pytest.LogCaptureFixture) -> None:
    assert [ids.tolist() for ids in erring.ids(["sound", "panic", "poison"])] == [
        right("sound"),
        right("panic"),
        right("poison"),
    ]
    assert "fails on 'panic': index out of bounds" in warnings(caplog)[0]


def test_the_users_interrupt_is_no_failure(erring: Encoder) -> None:
    with pytest.raises(KeyboardInterrupt):
        erring.ids(["interrupt"])


def test_the_mismatch_comes_whole_out_of_a_worker_process() -> None:
    assert str(pickle.loads(pickle.dumps(TokenizerMismatch("they part in x")))) == "they part in x"


@pytest.mark.usefixtures("eager")
def test_a_thousandth_of_the_text_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    monkeypatch.setattr(fast, "exact_ids", lambda exact, text: compared.append(len(text)) or exact_ids(exact, text))
    monkeypatch.setattr(fast, "FIRST_CHARS", 5_000)
    quick = FastEncoder(family("shipped")[0])
    compared.clear()
    for _ in range(10_000):
        quick.ids("The harbour. " * 100)
    assert 0 <= sum(compared) - (5_000 + 13_000_000 // 1_000) < 1_300


def test_of_a_long_text_different_slices_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    quick = FastEncoder(family("shipped")[0])
    monkeypatch.setattr(fast, "exact_ids", lambda exact, text: compared.append(text) or exact_ids(exact, text))
    monkeypatch.setattr(fast, "SLICE_CHARS", 1_000)
    monkeypatch.setattr(fast, "FIRST_CHARS", 3_000)
    text = "".join(f"{number} sheep, " for number in range(2_000))
    for _ in range(3):
        assert quick.ids(text).tolist() == right(text)
    assert len(set(compared)) == 3
    assert all(len(part) == 1_000 and part in text for part in compared)


def test_what_it_remembers_is_dropped_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = FastEncoder(family("shipped")[0])
    monkeypatch.setattr(fast, "RENEW_CHARS", 1_000)
    used = []
    for number in range(30):
        text = f"harbour {number} " * 10
        assert quick.ids(text).tolist() == right(text)
        used.append(quick._gigatoken)
    assert len({id(each) for each in used}) == 3


def test_a_forked_process_encodes_too() -> None:
    quick = family("shipped")[1]
    expected = quick.ids("The harbour of Orvane").tolist()
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(in_child, ("The harbour of Orvane",)) == expected


def in_child(text: str) -> list[int]:
    ids: list[int] = family("shipped")[1].ids(text).tolist()
    return ids
