"""Conversations that are too long: what is cut, what never is, and how little goes to waste."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chattemplates import tokenizer
from finetune.conversation import Context, Conversation
from finetune.fit import Fitted, fit
from longreach.record import Span
from longreach.text.chat.template import ChatTemplate, Unfit, open_chat

QUESTION, ANSWER = "\n\nWhat is the weather in Bern today?", "It is sunny and warm."
WORDS = "weather Bern today user model system sunny warm Thanks Fine there and in the".split()


@cache
def chat(name: str = "llama3", kind: str = "bytes") -> ChatTemplate:
    return open_chat(tokenizer(name, kind))


def text_of(chars: int, *, seed: int = 0, lines: bool = True) -> str:
    """Numbered words, so that every place is known, in lines of some ten words."""
    draw = np.random.default_rng(seed)
    words: list[str] = []
    size = 0
    while size < chars:
        words.append(f"{WORDS[draw.integers(len(WORDS))]}{len(words)}")
        words.append("\n" if lines and len(words) % 20 == 19 else " ")
        size += len(words[-2]) + 1
    return "".join(words)[:chars]


def words_at(text: str, start: int, chars: int = 100) -> tuple[int, int]:
    """About so many characters of whole words."""
    return (text.rfind(" ", 0, start) + 1, text.index(" ", start + chars))


def conversation(text: str, *keep: tuple[int, int]) -> Conversation:
    """A question about a text whose evidence is at these characters."""
    lead = "Read this:\n"
    messages = ({"role": "user", "content": lead + text + QUESTION}, {"role": "assistant", "content": ANSWER})
    spans = tuple(Span(start + len(lead), end + len(lead)) for start, end in keep)
    return Conversation(messages, None, "id", "", Context(0, len(lead), len(lead) + len(text), spans))


def shown(fitted: Fitted, name: str = "llama3", kind: str = "bytes") -> str:
    return chat(name, kind).tokenizer.decode(fitted.encoded.ids)


def kept(text: str) -> str:
    """The context of a conversation in words."""
    return text.partition("Read this:\n")[2].partition(QUESTION)[0]


def check(talk: Conversation, text: str, keep: list[tuple[int, int]], seq_len: int, kind: str = "bytes") -> str:
    """What holds of anything that was fit; gives the context that is left."""
    fitted = fit(talk, chat(kind=kind), seq_len)
    encoded, left = fitted.encoded, kept(shown(fitted, kind=kind))
    assert len(encoded.ids) == len(chat(kind=kind).encode(talk.messages).ids) - fitted.cut <= seq_len
    assert QUESTION in shown(fitted, kind=kind)
    assert chat(kind=kind).tokenizer.decode(encoded.ids[encoded.answer]) == ANSWER + "<|eot_id|>"
    assert all(text[start:end] in left for start, end in keep)
    return left


@pytest.mark.parametrize("kind", ["bytes", "first"])
@pytest.mark.parametrize("depth", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_evidence_stays_at_its_depth(depth: float, kind: str) -> None:
    text = text_of(50_000)
    start = int(depth * 49_900)
    left = check(conversation(text, (start, start + 100)), text, [(start, start + 100)], 4096, kind)
    assert left in text  # one piece of it
    assert left.index(text[start : start + 100]) / (len(left) - 100) == pytest.approx(depth, abs=0.03)
    assert len(chat(kind=kind).encode(conversation(left).messages).ids) > 0.9 * 4096


@pytest.mark.parametrize("seq_len", [5_000, 8_000, 8_100, 11_000])
def test_cuts_are_between_lines(seq_len: int) -> None:
    text = text_of(50_000)
    left = check(conversation(text, (25_000, 25_100)), text, [(25_000, 25_100)], seq_len)
    assert text[text.index(left) - 1] == "\n" == text[text.index(left) + len(left)]


def test_cuts_are_between_words_where_there_are_no_lines() -> None:
    text = text_of(20_000, lines=False)
    left = check(conversation(text, (10_000, 10_100)), text, [(10_000, 10_100)], 2048)
    assert text[text.index(left) - 1] == " " == text[text.index(left) + len(left)]


def test_text_without_blanks_is_cut_anywhere() -> None:
    text = "".join(chr(0x4E00 + place % 5_000) for place in range(9_000))
    left = check(conversation(text, (4_000, 4_010)), text, [(4_000, 4_010)], 2048)
    assert left in text and len(left) > 600


def test_without_evidence_the_end_goes() -> None:
    text = text_of(50_000)
    left = check(conversation(text), text, [], 2048)
    assert text.startswith(left) and len(left) > 2_000


def test_between_far_pieces_of_evidence_the_middle_goes() -> None:
    text = text_of(50_000)
    keep = [words_at(text, start) for start in (100, 30_000, 49_000)]
    left = check(conversation(text, *keep), text, keep, 2048)
    first, second, third = (left.index(text[start:end]) for start, end in keep)
    assert first == 0 and left.endswith(text[slice(*keep[2])])  # the ends went first
    assert (second - first) / (third - first) == pytest.approx(29_900 / 48_900, abs=0.05)
    assert set(left.split()) <= set(text.split())  # no two words became one
    assert text[keep[0][0] : keep[0][1] + 40] in left and text[keep[1][0] - 40 : keep[1][1] + 40] in left


@pytest.mark.parametrize("seed", range(4))
def test_evidence_alone_may_be_left(seed: int) -> None:
    text = text_of(20_000, seed=seed)
    keep = [words_at(text, 100, 200), words_at(text, 900)]
    alone = " ".join(text[start:end] for start, end in keep)
    size = len(chat().encode(conversation(alone).messages).ids)
    assert check(conversation(text, *keep), text, keep, size + 1).split() == alone.split()


def test_pieces_that_overlap_and_come_in_any_order() -> None:
    text = text_of(20_000)
    start, end = words_at(text, 9_000, 500)
    keep = [(start + 50, start + 350), (start, start + 150), (start + 60, start + 70), (start + 350, end)]
    size = len(chat().encode(conversation(text[start:end]).messages).ids)
    assert check(conversation(text, *keep), text, keep, size + 1).strip() == text[start:end]


@pytest.mark.parametrize(
    "talk",
    [
        conversation(text_of(9_000), (100, 8_800)),
        replace(conversation(text_of(9_000)), context=None),
        conversation("Fine."),
    ],
    ids=["evidence", "no context", "short context"],
)
def test_what_cannot_be_cut_enough(talk: Conversation) -> None:
    if len(talk.messages[0]["content"]) < 100:
        talk = replace(
            talk, messages=({**talk.messages[0], "content": talk.messages[0]["content"] * 40}, talk.messages[1])
        )
    with pytest.raises(Unfit, match=r"too long: \d+ tokens, --seq-len 512") as caught:
        fit(talk, chat(), 512)
    assert caught.value.reason == "too long"


def test_no_document_is_no_question_about_one() -> None:
    talk = conversation(text_of(5_000))
    bare = len(chat().encode(conversation("").messages).ids)
    with pytest.raises(Unfit):
        fit(talk, chat(), bare)


def test_what_fits_stays_as_it_is() -> None:
    talk = conversation(text_of(1_000))
    whole = chat().encode(talk.messages)
    assert fit(talk, chat(), len(whole.ids)).cut == 0
    assert fit(talk, chat(), len(whole.ids), whole).encoded is whole


def test_one_more_encode_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    talk = conversation(text_of(50_000), (30_000, 30_100))
    whole = chat().encode(talk.messages)
    calls: list[int] = []
    encode = ChatTemplate.encode
    monkeypatch.setattr(ChatTemplate, "encode", lambda *given: calls.append(1) or encode(*given))
    fit(talk, chat(), 4096, whole)
    assert len(calls) == 1


def test_a_special_tokens_name_in_the_context_is_cut_around() -> None:
    text = text_of(10_000) + " <|eot_id|> </s> " + text_of(10_000, seed=1)
    keep = [(10_100, 10_200)]
    left = check(conversation(text, *keep), text, keep, 4096)
    assert "<|eot_id|>" in left


def test_a_context_that_the_template_trims() -> None:
    messages = ({"role": "user", "content": "\n\n  " + text_of(9_000)}, {"role": "assistant", "content": ANSWER})
    content = messages[0]["content"]
    talk = Conversation(messages, None, "", "", Context(0, 0, len(content), (Span(5_000, 5_100),)))
    assert content[5_000:5_100] in shown(fit(talk, chat(), 1024))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 9), st.lists(st.integers(0, 19_000), max_size=3), st.integers(600, 4_000), st.booleans())
def test_any_evidence_any_length(seed: int, starts: list[int], seq_len: int, lines: bool) -> None:
    text = text_of(20_000, seed=seed, lines=lines)
    keep = [(start, start + 80) for start in starts]
    left = check(conversation(text, *keep), text, keep, seq_len)
    used = len(chat().encode(conversation(left).messages).ids)
    assert used > 0.9 * min(seq_len, len(chat().encode(conversation(text).messages).ids))
    places = [text.index(word) for word in dict.fromkeys(left.split()) if len(word) > 7]
    assert all(before < after for before, after in pairwise(places))  # in order
