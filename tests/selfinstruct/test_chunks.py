"""Blocks hold every character, chunks stay under their limit, and a context holds its chunk at the depth asked for."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from longreach.record import Span
from longreach.text.tokenize import Tokenizer
from selfinstruct.chunks import (
    CUT,
    FILL,
    HEADING,
    PARAGRAPH,
    SENTENCE,
    Block,
    Chunk,
    Outline,
    around,
    chunks,
    outline,
    spread,
)

ODD = {
    "no newline": "The quay is long. " * 400,
    "one word": "a" * 20_000,
    "emoji": "👩‍👩‍👧‍👦🇩🇪" * 300,
    "cjk": "漢字仮名交じり文" * 300 + "港は広い。船が来る。" * 100,
    "right to left": "שלום עולם. " * 300,
    "crlf": "One line.\r\nAnother line\r\n\r\nA paragraph.\r\n" * 100,
    "carriage returns": "one line\rand another\r" * 200,
    "control characters": "\x01\x02\x1b[31m \x7f\x85\u2028" * 300,
    "only blanks": " \n\t\r\n\u00a0" * 500,
    "only newlines": "\n" * 5_000,
    "combining": "e\u0301\u0327" * 1_000,
    "base64": ("QUJDREVGRw" * 7 + "==\n") * 100,
    "markdown": "# A\n\ntext here.\n\n## B\n\n- one\n- two\n\n```py\ndef f(): ...\n```\n" * 50,
    "empty": "",
}
pieces = st.sampled_from(
    [*"a é漢😀=\x01\t\n", "harbour", "\n\n", "\r\n", ". ", "。", "! A", '."', "# ", "---\n", "x" * 700]
)
texts = st.lists(pieces, max_size=60).map("".join)
limits = st.integers(32, 200)


def assert_holds_all(text: str, plan: Outline) -> None:
    assert "".join(text[block.start : block.end] for block in plan.blocks) == text
    assert [block.start for block in plan.blocks] == [0, *(block.end for block in plan.blocks)][: len(plan.blocks)]
    assert all(block.start < block.end for block in plan.blocks)
    assert all(CUT <= block.strength <= HEADING for block in plan.blocks)


def assert_cut_well(text: str, plan: Outline, cut: Sequence[Chunk], tokenizer: Tokenizer, limit: int) -> None:
    for chunk in cut:
        assert chunk.span == plan.span(chunk.first, chunk.last)
        assert chunk.tokens == plan.tokens_of(chunk.first, chunk.last)
        assert tokenizer.count(chunk.span.of(text)) <= limit
        assert chunk.span.of(text).strip()
    kept = {place for chunk in cut for place in range(chunk.span.start, chunk.span.end)}
    assert all(text[place].isspace() for place in range(len(text)) if place not in kept)
    assert all(before.last <= after.first for before, after in pairwise(cut))


@given(text=texts, limit=limits)
@example(text="x" * 3_000, limit=32)
def test_any_text_is_covered_and_cut_under_the_limit(tokenizer: Tokenizer, text: str, limit: int) -> None:
    plan = outline(text, tokenizer, limit)
    assert_holds_all(text, plan)
    assert all(block.tokens == tokenizer.count(text[block.start : block.end]) <= limit for block in plan.blocks)
    assert_cut_well(text, plan, chunks(text, plan, tokenizer, limit), tokenizer, limit)


@pytest.mark.parametrize("limit", [32, 256])
@pytest.mark.parametrize("name", ODD)
def test_odd_texts_are_covered_and_cut_under_the_limit(tokenizer: Tokenizer, name: str, limit: int) -> None:
    text = ODD[name]
    plan = outline(text, tokenizer, limit)
    assert_holds_all(text, plan)
    assert_cut_well(text, plan, chunks(text, plan, tokenizer, limit), tokenizer, limit)


def test_a_megabyte_of_one_word(tokenizer: Tokenizer) -> None:
    text = "Ab1" * 333_334
    plan = outline(text, tokenizer, 2_048)
    assert_holds_all(text, plan)
    cut = chunks(text, plan, tokenizer, 2_048)
    assert sum(chunk.span.end - chunk.span.start for chunk in cut) == len(text)
    assert max(tokenizer.count(chunk.span.of(text)) for chunk in cut) <= 2_048


class Glued:
    """A tokenizer for which blocks that stand together cost a fifth more than each alone."""

    name, sha256 = "glued", ""

    def count(self, text: str) -> int:
        return len(text) + (text.count(".") - 1) * 3 if text.count(".") > 1 else len(text)

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [self.count(text) for text in texts]


def test_a_chunk_is_counted_as_a_whole() -> None:
    text = "It is a pier. " * 40
    plan = outline(text, Glued(), 100)  # type: ignore[arg-type]
    cut = chunks(text, plan, Glued(), 100)  # type: ignore[arg-type]
    assert "".join(chunk.span.of(text) for chunk in cut) == text
    assert max(chunk.tokens for chunk in cut) <= 100
    assert max(Glued().count(chunk.span.of(text)) for chunk in cut) <= 100


def test_no_room_is_wasted(tokenizer: Tokenizer, text: str) -> None:
    cut = chunks(text, outline(text, tokenizer, 300), tokenizer, 300)
    assert len(cut) > 5
    assert all(chunk.tokens >= FILL * 300 for chunk in cut[:-1])


def strengths(text: str, tokenizer: Tokenizer) -> list[tuple[str, int]]:
    return [(text[block.start : block.end].strip(), block.strength) for block in outline(text, tokenizer, 500).blocks]


def test_breaks_are_told_apart(tokenizer: Tokenizer) -> None:
    text = (
        "# Piers\n\nThe first is long. The second\nis not.\nA third is planned\n\nIt will be short.\n\n"
        "Sluices\n=======\n\ndef open(gate):\n    return gate\n\nChapter 4\n\nEnd."
    )
    assert strengths(text, tokenizer) == [
        ("# Piers", HEADING),
        ("The first is long.", PARAGRAPH),
        ("The second", SENTENCE),
        ("is not.", CUT),
        ("A third is planned", SENTENCE),
        ("It will be short.", PARAGRAPH),
        ("Sluices", HEADING),
        ("=======", CUT),
        ("def open(gate):", HEADING),
        ("return gate", SENTENCE),
        ("Chapter 4", HEADING),
        ("End.", PARAGRAPH),
    ]


def test_a_chunk_ends_at_the_strongest_break_of_its_later_half() -> None:
    blocks = [
        Block(start, start + 1, 10, strength) for start, strength in enumerate([3, 1, 3, 1, 1, 2, 1, 1, 2, 1, 1, 1])
    ]
    text = "x" * len(blocks)
    cut = chunks(text, Outline(blocks), Letters(), 100)  # type: ignore[arg-type]
    # 10 blocks fit; the heading before block 2 is too early, the paragraph before block 8 comes after that before 5
    assert [(chunk.first, chunk.last) for chunk in cut] == [(0, 8), (8, 12)]


class Letters:
    """Ten tokens a character."""

    def count(self, text: str) -> int:
        return 10 * len(text)


@given(length=st.integers(1, 60), number=st.integers(1, 60))
def test_chunks_are_spread_evenly_over_the_depth(length: int, number: int) -> None:
    items = [Chunk(index, index + 1, Span(index, index + 1), 1) for index in range(length)]
    chosen = [chunk.first for chunk in spread(items, number)]
    assert len(chosen) == min(length, number)
    assert chosen == sorted(set(chosen))
    gaps = [after - before for before, after in pairwise(chosen)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert abs(chosen[0] - (length - 1 - chosen[-1])) <= 1  # as far from the start as from the end


def test_all_chunks_are_given_where_no_number_is() -> None:
    items = [Chunk(index, index + 1, Span(index, index + 1), 1) for index in range(5)]
    assert spread(items, 0) == spread(items, 9) == items
    assert spread([], 4) == []


@st.composite
def placed(draw: st.DrawFn) -> tuple[Outline, int, int, int, float]:
    """An outline, a run of its blocks, a budget and a depth."""
    sizes = draw(st.lists(st.integers(0, 30), min_size=1, max_size=60))
    plan = Outline([Block(start, start + 1, size, SENTENCE) for start, size in enumerate(sizes)])
    first = draw(st.integers(0, len(sizes) - 1))
    last = draw(st.integers(first + 1, len(sizes)))
    return plan, first, last, draw(st.integers(0, 600)), draw(st.floats(0, 1))


@given(placed())
def test_a_context_holds_its_chunk_and_fills_its_budget(case: tuple[Outline, int, int, int, float]) -> None:
    plan, first, last, budget, depth = case
    start, end = around(plan, first, last, budget, depth)
    given_tokens, tokens = plan.tokens_of(first, last), plan.tokens_of(start, end)
    largest = max(block.tokens for block in plan.blocks)
    assert 0 <= start <= first < last <= end <= len(plan.blocks)
    assert tokens <= max(budget, given_tokens)
    assert tokens > min(budget, plan.tokens) - max(1, largest) or tokens >= given_tokens > budget


@given(placed())
def test_a_context_has_its_chunk_at_the_depth_asked_for(case: tuple[Outline, int, int, int, float]) -> None:
    plan, first, last, budget, depth = case
    free = budget - plan.tokens_of(first, last)
    start, _ = around(plan, first, last, budget, depth)
    largest = max(block.tokens for block in plan.blocks)
    wanted, before = depth * free, plan.tokens_of(start, first)
    fits = wanted <= plan.sums[first] and free - wanted <= plan.tokens - plan.sums[last]
    if free > 0 and plan.tokens > budget and fits:
        assert wanted - largest - 1 <= before <= wanted + 1


@pytest.mark.parametrize(
    ("first", "depth", "context"),
    [(50, 0.0, (50, 60)), (50, 1.0, (41, 51)), (50, 0.5, (46, 56)), (0, 1.0, (0, 10)), (99, 0.0, (90, 100))],
)
def test_the_depth_gives_way_at_the_ends(first: int, depth: float, context: tuple[int, int]) -> None:
    plan = Outline([Block(start, start + 1, 10, SENTENCE) for start in range(100)])
    assert around(plan, first, first + 1, 100, depth) == context


def test_a_document_that_fits_is_given_whole() -> None:
    plan = Outline([Block(start, start + 1, 10, SENTENCE) for start in range(10)])
    assert around(plan, 3, 4, 100, 0.0) == (0, 10)
    assert around(plan, 3, 8, 20, 0.5) == (3, 8)  # never cut, even where they alone exceed the budget
