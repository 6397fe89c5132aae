"""Duplicates: found, named, and nothing else touched."""

import random
from pathlib import Path

import numpy as np
import pytest

from longreach.errors import UserError
from longreach.text.corpus import Corpus
from longreach.text.distinct import MINIMA, band_rows, distinct, minima_of, shingle_hashes, word_hashes
from longreach.text.document import Document, Skipped
from longreach.text.formats import reasons

WORDS = [f"word{number}" for number in range(5000)]


def prose(seed: int, words: int = 1200) -> list[str]:
    return random.Random(seed).choices(WORDS, k=words)


def documents(*texts: str) -> list[Document]:
    return [Document(f"rows.jsonl#{line}:own", "rows.jsonl", text) for line, text in enumerate(texts, 1)]


def changed(words: list[str], count: int, seed: int = 0) -> list[str]:
    """The words with some of them replaced, far apart: each costs the shingles it stands in."""
    words = list(words)
    for place in random.Random(seed).sample(range(0, len(words), 6), count):
        words[place] = "other"
    return words


def true_similarity(one: str, other: str) -> float:
    first, second = (set(zip(*(text.split()[n:] for n in range(5)), strict=False)) for text in (one, other))
    return len(first & second) / len(first | second)


def test_duplicates_become_notes_and_all_else_passes() -> None:
    one, two = " ".join(prose(1)), " ".join(prose(2))
    near = " ".join(changed(prose(1), 6))
    broken = Skipped("rows.jsonl", reasons.BROKEN_JSON, "x", 9, 99)
    first, second, exact, almost = documents(one, two, one, near)
    items = [first, broken, second, exact, almost]
    found = list(distinct(items))
    assert found[:3] == [first, broken, second]
    assert found[3] == Skipped("rows.jsonl", reasons.EXACT_DUPLICATE, "same text as rows.jsonl#1:own", 3)
    note = found[4]
    assert isinstance(note, Skipped)
    assert (note.reason, note.line) == (reasons.NEAR_DUPLICATE, 4)
    similarity, _, name = note.detail.partition(" similar to ")
    assert name == "rows.jsonl#1:own"
    assert abs(float(similarity) - true_similarity(one, near)) < 0.1
    assert [item.reason for item in distinct(items, near=0) if isinstance(item, Skipped)] == [
        reasons.BROKEN_JSON,
        reasons.EXACT_DUPLICATE,
    ]


@pytest.mark.parametrize("wrong", [-0.1, 1.5])
def test_similarity_out_of_range_is_told_at_once(wrong: float) -> None:
    with pytest.raises(UserError, match=str(wrong)):
        distinct([], near=wrong)


@pytest.mark.parametrize("near", [0.5, 0.7, 0.85, 0.9])
def test_pairs_above_the_threshold_are_found_and_those_below_are_not(near: float) -> None:
    """100 pairs half-way between the threshold and 1, and 100 pairs clearly below it."""
    caught = {True: 0, False: 0}
    for above in caught:
        wished = (near + 1) / 2 if above else near - 0.25
        for seed in range(100):
            words = prose(seed)
            shingles = len(words) - 4
            count = max(1, round(shingles * (1 - wished) / (1 + wished) / 5))
            pair = documents(" ".join(words), " ".join(changed(words, count, seed)))
            caught[above] += isinstance(list(distinct(pair, near))[1], Skipped)
    assert caught[True] >= 95
    assert caught[False] <= 1


def test_estimate_is_unbiased() -> None:
    errors = []
    for seed in range(100):
        words = prose(seed)
        other = changed(words, seed % 50 + 5, seed)
        texts = " ".join(words), " ".join(other)
        mine, theirs = (minima_of(text) for text in texts)
        assert mine is not None and theirs is not None
        errors.append(float((mine == theirs).mean()) - true_similarity(*texts))
    assert abs(float(np.mean(errors))) < 0.015
    assert float(np.std(errors)) < 1.5 * (0.25 / MINIMA) ** 0.5


def test_bands_find_99_of_100() -> None:
    for near in (0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0):
        rows = band_rows(near)
        assert 1 - (1 - near**rows) ** (MINIMA // rows) >= 0.99
    assert band_rows(0.85) == 8


def test_words_are_runs_of_letters_whatever_stands_between_and_however_written() -> None:
    same = word_hashes("Hello, world! It's naïve  déjà-vu 42")
    assert len(same) == 8
    assert (word_hashes("HELLO world\n\n— it’s 'naïve' déjà vu (42)") == same).all()
    assert len(set(word_hashes("ab ba aab aba a b").tolist())) == 6
    assert len(word_hashes("敏捷的棕色狐狸，跳过。ภาษา")) == 13
    assert len(word_hashes("abc敏abc")) == 3
    assert len(word_hashes("?! ...")) == 0
    assert len(shingle_hashes(word_hashes("only four words here"))) == 1
    assert len(shingle_hashes(word_hashes("now here are six whole words"))) == 2


def test_texts_with_few_words_or_none() -> None:
    texts = ["a b", "a  b!", "a c", "?!", "?! ?", "", "…"]
    kinds = [item.reason if isinstance(item, Skipped) else "kept" for item in distinct(documents(*texts))]
    assert kinds == ["kept", reasons.NEAR_DUPLICATE, "kept", "kept", "kept", "kept", "kept"]


def test_chinese_texts_without_spaces() -> None:
    draw = random.Random(3)
    signs = "".join(chr(0x4E00 + draw.randrange(3000)) for _ in range(500))
    items = list(distinct(documents(signs, signs[:250] + "新" + signs[250:], signs[::-1])))
    assert [isinstance(item, Skipped) for item in items] == [False, True, False]


def test_long_text_is_hashed_piecewise(monkeypatch: pytest.MonkeyPatch) -> None:
    text = " ".join(prose(5, 20_000))
    whole = minima_of(text)
    monkeypatch.setattr("longreach.text.distinct.PIECE_CHARS", 5000)
    pieces = minima_of(text)
    assert whole is not None and pieces is not None
    assert float((whole == pieces).mean()) > 0.95


def test_same_everywhere() -> None:
    """Another process, machine or release finds the same duplicates."""
    minima = minima_of("The quick brown fox jumps over the lazy dog.")
    assert minima is not None
    assert minima[:4].tolist() == [1304223136, 487196971, 256705809, 550074935]


def test_after_a_corpus(tmp_path: Path) -> None:
    for name, words in (("a.txt", prose(1)), ("b.md", changed(prose(1), 2)), ("c.txt", prose(1)), ("d.txt", prose(2))):
        (tmp_path / name).write_text(" ".join(words))
    items = list(distinct(Corpus([str(tmp_path)])))
    assert [getattr(item, "reason", "kept") for item in items] == [
        "kept",
        reasons.NEAR_DUPLICATE,
        reasons.EXACT_DUPLICATE,
        "kept",
    ]
    assert [item.line for item in items if isinstance(item, Skipped)] == [None, None]
