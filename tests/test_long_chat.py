"""recipes/long_chat.py works from documents to a table; what it finds is for docs/experiments.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from longreach.errors import UserError
from recipescript import OneAfterTheOther, in_this_process, recipe_script

TEXT = (
    "One two three four five. Six, seven and eight: nine! Ten eleven twelve thirteen fourteen? "
    "The fifteenth word of a text stands there alone, and others after it. "
) * 40


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    with recipe_script("long_chat", monkeypatch) as script:
        yield script


def test_from_documents_to_the_table(
    recipe: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe, "command", in_this_process)
    monkeypatch.setattr(recipe, "ThreadPoolExecutor", OneAfterTheOther)
    recipe.main([], tmp_path, 0, recipe.QUICK)

    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["scores"]) == ["base", *recipe.ARMS]
    for scores in result["scores"].values():
        assert list(scores) == ["cloze", "next", "about", "cloze as text"]
        assert all(0 <= each["low"] <= each["value"] <= each["high"] <= 1 for each in scores.values())
    assert "cloze as text" in capsys.readouterr().out
    chain = {arm: json.loads((tmp_path / arm / "longreach.json").read_text()) for arm in recipe.ARMS}
    assert chain["answer"]["losses"] != chain["all"]["losses"]
    assert chain["answer"]["data"] == chain["all"]["data"]

    before = (tmp_path / "short.jsonl").stat().st_mtime_ns
    recipe.write_texts(["other text"], ["text"], tmp_path, 0, recipe.QUICK)  # what is there is kept
    assert (tmp_path / "short.jsonl").stat().st_mtime_ns == before


def test_held_out_documents_are_in_nothing_that_is_trained_on(recipe: Any, tmp_path: Path) -> None:
    texts = [TEXT.replace("fifteenth", f"word{number}x") for number in range(20)]
    recipe.write_texts(*recipe.divided(texts), tmp_path, 0, recipe.QUICK)
    trained, held_out = (
        "".join((tmp_path / f"{name}.jsonl").read_text() for name in names)
        for names in (("base-128", "base-512", "records", "short"), ("validation-512", "questions"))
    )
    for number in range(20):
        assert (f"word{number}x" in trained) == (number % 10 != 0)
        assert (f"word{number}x" in held_out) == (number % 10 == 0)


@pytest.fixture
def words(recipe: Any) -> Any:
    from long_chat_text import Words, train_tokenizer

    return Words(TEXT, train_tokenizer([TEXT], 400))


def test_base_texts_repeat_themselves(words: Any) -> None:
    from long_chat_text import GAP, base_texts

    texts = base_texts([words], 64, 0)
    repeating = gapped = 0
    for stretch, *runs in (next(texts).split("\n") for _ in range(300)):
        assert stretch in " ".join(TEXT.split())
        for run in runs:
            gapped += GAP in run
            assert all(part.strip() in stretch for part in run.split(GAP))
        repeating += bool(runs)
    assert 150 < repeating < 290
    assert gapped > 50


def test_pieces_are_whole_sentences_of_the_lengths_asked_for(words: Any) -> None:
    from long_chat_text import LONGEST, SHORTEST, pieces

    found = list(pieces([words], 0, "a"))
    assert len(found) > 5
    assert " ".join(TEXT.split()).startswith(" ".join(piece.text for piece in found))
    for piece in found:
        assert piece.text[-1] in ".!?"
        assert SHORTEST <= sum(words.costs[words.words.index(word)] for word in piece.text.split()) <= LONGEST
    assert len({piece.id for piece in found}) == len(found)


def test_short_chats_ask_for_what_their_text_says(words: Any) -> None:
    from long_chat_text import GAP, short_chats

    for chat in short_chats([words], 0, 300):
        chosen, rejected = chat["chosen"], chat["rejected"]
        assert chosen != rejected
        if chat["prompt"].startswith("Repeat"):
            assert chat["prompt"] == f'Repeat: "{chosen}"'
            continue
        text, question = chat["prompt"].split("\n\n")
        asked = question[question.index('"') + 1 : question.rindex('"')]
        filled = asked.replace(GAP, chosen) if GAP in asked else f"{asked} {chosen}"
        assert f" {filled} " in f" {text} "


def record(question: str, answer: str, evidence: str) -> str:
    messages = [
        {"role": "user", "content": f"Of much. {evidence}\n\n{question}"},
        {"role": "assistant", "content": answer},
    ]
    return json.dumps({"messages": messages, "evidence": [{"start": 9, "end": 9 + len(evidence), "text": evidence}]})


def test_questions_whose_sentence_was_trained_on_are_left_out(recipe: Any, tmp_path: Path) -> None:
    from held_out_questions import read_questions

    cloze = 'Which word or words complete this sentence of the document: "It is ____."?'
    lines = [record(cloze, colour, f"It is {colour}.") for colour in ("red", "blue", "green", "white")]
    lines.append(record('What does the document say next, after "It is."?', "No.", "No."))
    (tmp_path / "records.jsonl").write_text("\n".join(lines) + "\n")
    found = read_questions(tmp_path / "records.jsonl", "Nobody said it. It is blue. Or is it?", 2)
    assert [(each.answer, each.text) for each in found["cloze"]] == [
        ("red", "Of much. It is red.\nIt is"),
        ("green", "Of much. It is green.\nIt is"),
    ]
    assert [each.chat for each in found["next"]] == ['Of much. No.\n\nWhat does the document say next, after "It is."?']
    assert "about" not in found
    with pytest.raises(UserError, match="no cloze question"):
        read_questions(tmp_path / "records.jsonl", " ".join(lines), 2)


def test_right_answers(recipe: Any) -> None:
    from held_out_questions import Question, goes_on, is_exact, share

    question = Question("cloze", "It is red.", 'Which: "It is ____."?', "red")
    assert is_exact("red", question)
    assert not is_exact("red.", question)
    assert goes_on("red. And", question)
    assert not goes_on("reddish", question)
    assert not goes_on("", question)
    assert share([True] * 5 + [False] * 5) == pytest.approx(
        {"value": 0.5, "low": 0.2366, "high": 0.7634, "n": 10}, abs=1e-4
    )
    assert share([False] * 10) == pytest.approx({"value": 0, "low": 0, "high": 0.2775, "n": 10}, abs=1e-4)
