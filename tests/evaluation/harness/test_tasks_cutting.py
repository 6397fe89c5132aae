"""Prompts cut as text."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from evaluation.harness.tasks.cutting import (
    beginning,
    counting_tokenizer,
    cut_left,
    cut_middle,
    end,
    fits,
    fitted,
    last_turns,
    spans,
)
from longreach.errors import UserError
from tinyllama import tiny_tokenizer

TOKENIZER = tiny_tokenizer(512, 2048)
TEXT = " ".join(f"The {number}th ship left before noon; nobody saw it again." for number in range(300))

count = partial(spans, tokenizer=TOKENIZER)


@pytest.mark.parametrize("tokens", [0, 1, 7, 100, 3000])
def test_the_kept_part_has_so_many_tokens(tokens: int) -> None:
    first, last = beginning(TEXT, tokens, TOKENIZER), end(TEXT, tokens, TOKENIZER)
    assert TEXT.startswith(first)
    assert TEXT.endswith(last)
    assert len(count(first)) == len(count(last)) == tokens


def test_a_short_text_stays_as_it_is() -> None:
    tokens = len(count(TEXT))
    assert beginning(TEXT, tokens, TOKENIZER) == end(TEXT, tokens, TOKENIZER) == TEXT
    assert beginning(TEXT, tokens - 1, TOKENIZER) != TEXT
    assert beginning("short", 100, TOKENIZER) == "short"


def test_only_as_much_as_may_be_kept_is_tokenized() -> None:
    seen = []

    def tokenizer(text: str, **options: object) -> object:
        seen.append(len(text))
        return TOKENIZER(text, **options)

    beginning(TEXT, 10, tokenizer)
    end(TEXT, 10, tokenizer)
    assert max(seen) <= 80


@pytest.mark.parametrize("tokens", [40, 41, 200, 1000])
def test_the_document_is_cut_and_the_question_kept(tokens: int) -> None:
    prompt = fitted(lambda kept: f"Read.\n\n{kept}\n\nWhat left?", TEXT, tokens, TOKENIZER)
    assert prompt.startswith("Read.\n\nThe 0th ship")
    assert prompt.endswith("\n\nWhat left?")
    assert tokens - 3 <= len(count(prompt)) <= tokens


def test_without_a_bound_nothing_is_cut() -> None:
    assert fitted(lambda kept: f"{kept}?", TEXT, 0, TOKENIZER) == f"{TEXT}?"
    whole = len(count(f"{TEXT}?"))
    assert fitted(lambda kept: f"{kept}?", TEXT, whole, TOKENIZER) == f"{TEXT}?"


def test_a_question_longer_than_the_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="more than the 20 tokens"):
        fitted(lambda kept: kept + TEXT, TEXT, 20, TOKENIZER)


def turns(*contents: str) -> list[dict[str, str]]:
    """Of user and assistant in turn."""
    return [{"role": ("user", "assistant")[place % 2], "content": content} for place, content in enumerate(contents)]


def test_the_first_turns_of_a_chat_go_first() -> None:
    chat = turns(TEXT, "one", TEXT, "two", "What left?")
    kept = last_turns(chat, 100, TOKENIZER)
    assert [turn["role"] for turn in kept] == ["user", "assistant", "user"]
    assert [turn["content"] for turn in kept[1:]] == ["two", "What left?"]
    assert TEXT.endswith(kept[0]["content"])
    assert sum(len(count(turn["content"])) for turn in kept) == 100 - 3 * 8


def test_a_chat_begins_with_what_a_user_says() -> None:
    kept = last_turns(turns("What?", TEXT, "What left?"), 60, TOKENIZER)
    assert [turn["content"] for turn in kept] == ["What left?"]
    whole = turns("What?", "That.", "What left?")
    assert last_turns(whole, 100, TOKENIZER) == whole


def test_lengths_are_counted_by_the_model_or_the_shipped_tokenizer(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    assert spans(TEXT, counting_tokenizer(str(tmp_path))) == count(TEXT)
    assert len(spans(TEXT, counting_tokenizer(""))) < len(count(TEXT))


@pytest.mark.parametrize("tokenizer", [TOKENIZER, counting_tokenizer("")], ids=["tiny", "shipped"])
@pytest.mark.parametrize("tokens", [1, 2, 13, 100, 1001])
def test_no_more_is_kept_than_may_be(tokens: int, tokenizer: object) -> None:
    left, middle = cut_left(TEXT, tokens, tokenizer), cut_middle(TEXT, tokens, tokenizer)
    assert TEXT.endswith(left)
    assert left
    for cut in (left, middle):
        assert len(spans(cut, tokenizer)) <= tokens
    assert len(spans(middle, tokenizer)) >= tokens - 3
    kept = max(n for n in range(len(middle) + 1) if TEXT.startswith(middle[:n]))
    assert TEXT.endswith(middle[kept:])
    assert abs(kept - (len(middle) - kept)) <= 0.3 * len(middle) + 8


@pytest.mark.parametrize("cut", [cut_left, cut_middle])
def test_what_fits_is_not_cut(cut: Callable[..., str]) -> None:
    tokens = len(count(TEXT))
    assert cut(TEXT, tokens, TOKENIZER) == TEXT
    assert cut("", 0, TOKENIZER) == ""
    assert cut("a", 0, TOKENIZER) == ""
    assert fits(TEXT, tokens, TOKENIZER)
    assert not fits(TEXT, tokens - 1, TOKENIZER)


def test_pieces_that_have_more_tokens_together_are_cut_again() -> None:
    def words(text: str, **_: object) -> dict[str, list[tuple[int, int]]]:
        """A token for each word, and one for each capital within one, as where two ends meet."""
        found = [match.span() for match in re.finditer(r"[A-Z]?[a-z]+|[A-Z]|\W+", text)]
        return {"offset_mapping": found}

    text = "abcDefGhiJklMnoPqr"
    assert cut_middle(text, 3, words) == "abcMnoPqr"


def test_a_chat_that_fits_keeps_what_its_system_says() -> None:
    chat = [{"role": "system", "content": "Answer."}, *turns("What left?")]
    assert last_turns(chat, 100, TOKENIZER) == chat
    assert last_turns(chat, 20, TOKENIZER) == chat[1:]
