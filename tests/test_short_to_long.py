"""recipes/short_to_long.py works from text to picture; what it finds is for docs/experiments.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tokenizers import Tokenizer

from longreach.errors import UserError
from recipescript import OneAfterTheOther, in_this_process, recipe_script


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with recipe_script("short_to_long", monkeypatch) as script:
        yield script


def test_from_text_to_picture(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe, "command", in_this_process)
    monkeypatch.setattr(recipe, "ThreadPoolExecutor", OneAfterTheOther)
    recipe.main([], tmp_path, 0, recipe.QUICK)

    result = json.loads((tmp_path / "result.json").read_text())
    by_length = {
        "loss": ["64", "128", "256", "512"],
        "context": [str(n) for n in recipe.CONTEXTS],
        "rouge_l": [str(n) for n in recipe.LENGTHS],
    }
    for measure, lengths in by_length.items():
        assert list(result[measure]) == ["base", "none", "PI", "ABF"]
        assert all(list(row) == lengths for row in result[measure].values())
    assert len({row["512"] for row in result["loss"].values()}) == 4  # no arm is another, none is the base
    assert "first sentence" not in capsys.readouterr().err
    assert (tmp_path / "result.png").read_bytes().startswith(b"\x89PNG")

    rope = {arm: json.loads((tmp_path / arm / "config.json").read_text())["rope_parameters"] for arm in recipe.ARMS}
    assert rope["ABF"]["rope_theta"] == 50 * rope["none"]["rope_theta"]
    assert rope["PI"]["factor"] == 8


def test_documents(recipe: Any) -> None:
    from first_sentence import QUESTION, TOKENS, Source, train_tokenizer

    text = "One two three four. Five, six and seven: eight! Nine ten? " * 40
    tokenizer: Tokenizer = train_tokenizer([text], 300)
    source = Source([text], tokenizer, 0)
    documents = source.documents(64)
    asking = plain = 0
    for document in (next(documents) for _ in range(500)):
        tokens = len(tokenizer.encode(str(document), add_special_tokens=False)) + 2
        assert document.tokens - 1 <= tokens <= document.tokens <= 64  # a stop and the line end after it may be one
        assert f"{document.text} ".startswith(f"{document.first} ") or not document.asks
        assert document.first in text
        assert document.first[-1] in ".!?"
        assert not any(mark in document.first[:-1] for mark in ".!?")
        assert len(tokenizer.encode(document.first, add_special_tokens=False)) in TOKENS
        if document.asks:
            asking += 1
            assert str(document) == document.text + QUESTION + document.first
        else:
            plain += 1
            assert str(document) == document.text
    assert 0.05 < plain / (asking + plain) < 0.16
    questions = source.questions(48)
    assert all(44 <= next(questions).tokens <= 48 for _ in range(50))


def test_held_out_text_is_not_trained_on(recipe: Any, tmp_path: Path) -> None:
    texts = [
        "".join(f"Page {page} says it is in line {line}. It ends so. " for line in range(60)) for page in range(40)
    ]
    texts[10] = texts[11]  # a copy of what is trained on
    questions = recipe.write_documents(texts, tmp_path, 0, recipe.QUICK)
    trained = "".join((tmp_path / f"documents-{row}.jsonl").read_text() for row in (64, 512))
    held_out = [json.loads(line)["text"] for line in (tmp_path / "held-out-512.jsonl").read_text().splitlines()]
    assert held_out
    for opening in [" ".join(text.split()[:8]) for text in held_out] + [
        each.first for row in questions for each in row
    ]:
        assert opening not in trained


def test_too_little_text_is_refused(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 first sentences"):
        recipe.write_documents(["One two three four. " * 500] * 20, tmp_path, 0, recipe.QUICK)


def test_a_command_that_fails_says_where_to_look(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="log says why"):
        recipe.command(["pretrain", "prepare", "--no-such-option"], tmp_path / "rows", 1)
    assert "--no-such-option" in (tmp_path / "rows.log").read_text()


def test_rouge_l(recipe: Any) -> None:
    from retrieval import rouge_l, score

    assert rouge_l("a b c d".split(), "a b c d".split()) == 1
    assert rouge_l("x a y c".split(), "a b c d".split()) == 0.5  # a, c
    assert rouge_l([], ["a"]) == 0
    assert score(["a b", "x"], ["a b", "y"]) == (0.5, 0.5)
