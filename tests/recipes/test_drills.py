"""Text for tiny models: what it asks is right, what it holds out is unseen, and evaluate asks in the same words."""

import json
import random
import re
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers import Tokenizer

from evaluation.sample import question
from evaluation.tasks import passkey
from evaluation.tasks.first_sentence import ASKED, OPENING
from longreach.jsonl import read_lines
from longreach.text.sentences import sentences
from longreach.text.tokenize import load_tokenizer
from recipes import corpus
from recipes.drills import (
    COMPLETE,
    FIRST_SENTENCE,
    FIRST_TOKENS,
    FRAMES,
    PASS_KEY,
    Text,
    asking,
    chats,
    drills,
    hiding,
    main,
    repeating,
    train_tokenizer,
    write_tokenizer,
)
from selfinstruct.extractive import extract
from selfinstruct.prompts import load_prompts
from selfinstruct.tasks import TASKS

ROOT = Path(__file__).parents[2]
PROSE = "\n\n".join(
    f"The keeper of gate {n} counts {3 * n} boats at dawn. Then she writes to her cousin in town {n * 7}, who answers "
    f"at noon. Nobody reads the letter number {n} twice! Is it kept? It is, behind the mill."
    for n in range(60)
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([PROSE] * 3, 400)


@pytest.fixture(scope="module")
def texts(tokenizer: Tokenizer) -> list[Text]:
    return [Text(PROSE, tokenizer)]


@pytest.mark.parametrize("row", [64, 512])
def test_drills_fit_their_row_and_answer_rightly(row: int, texts: list[Text], tokenizer: Tokenizer) -> None:
    asked, lengths = 0, []
    for each in islice(drills(texts, row, 0), 300):
        tokens = len(tokenizer.encode(each.text).ids) + 1
        assert tokens <= each.tokens <= min(row, 1.15 * tokens + 8)
        lengths.append(tokens)
        text, question_asked, first = each.text.partition(FIRST_SENTENCE)
        if question_asked:
            asked += 1
            assert text.startswith(first.strip())
            assert first[-1] in ".!?" or text[len(first.strip()) :][:1] in ("", "\n")
            assert not any(mark in first[:-1] for mark in ".!?")
    assert 0.4 < asked / 300 < 0.6
    assert max(lengths) > 0.9 * row
    assert min(lengths) < 0.6 * row


def test_runs_stand_in_their_stretch(texts: list[Text]) -> None:
    draw = random.Random(0)
    found = [each.text for _ in range(200) if (each := repeating(texts[0], 64, 64, draw))]
    runs = [run for text in found for run in text.split("\n")[1:] if run]
    assert len(runs) > 50
    assert all(run in " ".join(PROSE.split()) for run in runs)


def test_a_pass_key_stands_in_its_stretch_and_is_asked_for(texts: list[Text]) -> None:
    draw, places = random.Random(0), []
    for _ in range(50):
        each = hiding(texts[0], 128, 128, draw)
        assert each
        text, frame, key = each.text.partition(PASS_KEY)
        assert frame
        assert passkey.needle(key.strip()) in text
        places.append(text.index("The pass key") / len(text))
    assert min(places) < 0.2
    assert max(places) > 0.6


def test_a_first_sentence_is_of_4_to_64_tokens(texts: list[Text]) -> None:
    draw = random.Random(0)
    found = [asking(texts[0], 200, 512, draw) for _ in range(100)]
    firsts = [each.text.partition(FIRST_SENTENCE)[2] for each in found if each]
    assert all(len(first.split()) <= FIRST_TOKENS.stop for first in firsts)


def test_a_sentence_ends_with_its_paragraph() -> None:
    text = Text("Of gates\n\nNobody is there. Nor here", train_tokenizer([PROSE], 300))
    assert text.ends == [2, 5, 7]


def test_chats_are_right_and_their_other_answer_is_not(texts: list[Text]) -> None:
    for row in chats(texts, 200, 0):
        text, frame, begun = row["prompt"].partition(COMPLETE)
        if frame:
            assert f"{begun} {row['chosen']}".strip() in text
        assert row["chosen"] in row["prompt"]
        assert row["rejected"] != row["chosen"]


def test_every_frame_is_one_token_and_nothing_is_lost(tokenizer: Tokenizer) -> None:
    for frame in FRAMES:
        assert len(tokenizer.encode(frame).ids) == 2, frame  # with the begin
    text = f"The keeper\n\nwrites. {FIRST_SENTENCE} The keeper"
    assert tokenizer.decode(tokenizer.encode(text).ids).lstrip() == text
    assert tokenizer.encode("gate").tokens == tokenizer.encode(" gate").tokens  # wherever a word stands
    assert tokenizer.get_vocab_size() <= 400


def test_evaluate_and_generate_ask_in_the_same_words() -> None:
    assert question("text", ASKED, OPENING)["text"] == f"text{FIRST_SENTENCE}"


def test_the_demo_asks_with_the_sentence_up_to_its_gap() -> None:
    task, prompts = TASKS["short_answer"], load_prompts(str(ROOT / "recipes/demo/prompts"))
    for seed in range(20):
        reply = extract(task.name, PROSE, seed)
        asked, answer, evidence = re.findall(r">([^<]+)</", reply)
        document, frame, begun = prompts.render(task.train, document=PROSE, question=asked).partition(COMPLETE)
        assert document == PROSE
        assert frame
        assert " ".join(evidence.split()).startswith(f"{begun} {answer}".strip())


def test_the_command_writes_what_the_others_read_and_does_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text(json.dumps({"text": PROSE}) + "\n")
    docs = str(tmp_path / "docs.jsonl")
    words = [docs, "--held-out", docs, "--rows", "64=2k", "--rows", "512=4k", "--chats", "20", "--words", "400"]
    asked = [*words, "--out", str(tmp_path / "text")]
    assert CliRunner().invoke(main, asked).exit_code == 0
    assert load_tokenizer(str(tmp_path / "text" / "tokenizer")).count(FIRST_SENTENCE) == 1
    assert len(list(read_lines(tmp_path / "text" / "chats.jsonl"))) == 20
    tokens = load_tokenizer(str(tmp_path / "text" / "tokenizer")).count
    firsts = [
        next(iter(sentences(row["text"]))).of(row["text"]) for row in read_lines(tmp_path / "text/passages.jsonl")
    ]
    assert firsts
    assert all(5 <= tokens(first) <= 16 for first in firsts)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "text").rglob("*")}
    assert CliRunner().invoke(main, asked).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "text").rglob("*")} == before


def test_the_corpus_holds_out_what_is_nowhere_else(tmp_path: Path) -> None:
    corpus.main(tmp_path)
    seen, held_out = (
        [row for source in corpus.SOURCES for row in read_lines(tmp_path / part / f"{source}.jsonl")]
        for part in (corpus.DOCUMENTS, corpus.HELD_OUT)
    )
    assert len(seen) > 200
    assert 8 * len(held_out) < len(seen) < 11 * len(held_out)
    known = {paragraph for row in seen for paragraph in row["text"].split("\n\n")}
    assert not any(paragraph in known for row in held_out for paragraph in row["text"].split("\n\n") if paragraph)
    assert {row["source"] for row in held_out} == set(corpus.SOURCES)
    assert not {row["id"] for row in seen} & {row["id"] for row in held_out}


def test_the_tokenizer_folder_loads_in_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    write_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded("The keeper").input_ids == tokenizer.encode("The keeper").ids
    loaded.save_pretrained(tmp_path / "saved")
    for folder in (tmp_path, tmp_path / "saved"):
        assert load_tokenizer(str(folder)).adds_bos
        assert AutoTokenizer.from_pretrained(folder)("The keeper").input_ids[0] == loaded.bos_token_id
