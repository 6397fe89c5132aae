"""Documents to units: which chunks get which tasks, in order, the same every time, and counts that balance."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from longreach.text.document import Document, Skipped
from longreach.text.tokenize import Tokenizer
from selfinstruct.config import GenerateSettings
from selfinstruct.plan import Plan, Unit, seed_of

SMALL = {"chunk_tokens": 150, "context_tokens": 16_384}


def document(name: str, text: str, **more: str) -> Document:
    return Document(name, name, text, **more)


@pytest.mark.parametrize("number", [1, 3, 0])
def test_every_chunk_asked_about_gets_every_task(text: str, units_of: Callable[..., list[Unit]], number: int) -> None:
    units = units_of(text, chunks_per_doc=number, tasks=("short_answer", "section_summary"), **SMALL)
    assert len(units) == number or (number == 0 and len(units) > 10)
    assert all([task.name for task in unit.tasks] == ["short_answer", "section_summary"] for unit in units)
    assert [unit.span.start for unit in units] == sorted(unit.span.start for unit in units)
    assert all(unit.text == text[unit.span.start : unit.span.end] for unit in units)
    assert not any(unit.parts for unit in units)


def test_chunks_are_spread_over_the_document(text: str, units_of: Callable[..., list[Unit]]) -> None:
    starts = [
        unit.span.start / len(text) for unit in units_of(text, chunks_per_doc=4, tasks=("short_answer",), **SMALL)
    ]
    assert [int(4 * start) for start in starts] == [0, 1, 2, 3]


def test_a_few_of_the_tasks_are_drawn_by_the_seed(text: str, units_of: Callable[..., list[Unit]]) -> None:
    def drawn(seed: int) -> list[tuple[str, ...]]:
        units = units_of(text, chunks_per_doc=0, tasks_per_chunk=1, seed=seed,
                         tasks=("short_answer", "long_answer", "section_summary"), **SMALL)  # fmt: skip
        return [tuple(task.name for task in unit.tasks) for unit in units]

    assert drawn(0) == drawn(0) != drawn(1)
    assert {len(tasks) for tasks in drawn(0)} == {1}
    assert len(Counter(drawn(0))) == 3  # each task comes up


def test_a_summary_of_a_document_that_fits_covers_all_of_it(text: str, units_of: Callable[..., list[Unit]]) -> None:
    *chunks, summary = units_of(text, tasks=("short_answer", "summary"), chunks_per_doc=2, **SMALL)
    assert len(chunks) == 2
    assert [task.name for task in summary.tasks] == ["summary"]
    assert (summary.span.start, summary.span.end) == (0, len(text))
    assert "".join(part.span.of(text) for part in summary.parts) == text


def test_a_summary_of_a_longer_document_covers_what_a_record_can_hold(
    text: str, units_of: Callable[..., list[Unit]], tokenizer: Tokenizer
) -> None:
    longer = text * 4
    spans = set()
    for seed in range(8):
        (unit,) = units_of(longer, tasks=("summary",), chunk_tokens=150, context_tokens=2_000, seed=seed)
        assert 0.6 * (2_000 - 1_024) < tokenizer.count(unit.text) <= 2_000 - 1_024
        assert unit.text == "".join(part.span.of(longer) for part in unit.parts)
        spans.add(unit.span)
    assert len(spans) > 4  # the seed moves it


def test_units_come_in_the_order_of_the_documents(text: str, units_of: Callable[..., list[Any]]) -> None:
    skipped = Skipped("b", "broken json")
    items = [document("a", text), skipped, document("c", text + "\n\nMore.")]
    found = units_of(items, tasks=("short_answer", "summary"), chunks_per_doc=2, **SMALL)
    assert [item if item is skipped else item.document.id for item in found] == ["a"] * 3 + [skipped] + ["c"] * 3


def test_what_was_found_was_read_or_skipped(text: str, plan_of: Callable[..., tuple[Plan, list[Any]]]) -> None:
    plan, units = plan_of(
        [Skipped("x", "broken json"), document("a", text, source="web", license="MIT"), Skipped("y", "bad utf-8"),
         document("b", "Short.", source="web", license="MIT"), Skipped("z", "broken json")],
        tasks=("short_answer", "long_answer", "summary"), chunks_per_doc=0, **SMALL,
    )  # fmt: skip
    assert (plan.found, plan.read) == (5, 2)
    assert plan.skipped == {"broken json": 2, "bad utf-8": 1}
    assert plan.planned == sum(len(unit.tasks) for unit in units if isinstance(unit, Unit))
    assert plan.chars == len(text) + len("Short.")
    assert plan.chunks == sum(isinstance(unit, Unit) and not unit.parts for unit in units)
    assert plan.sources == {("web", "MIT"): 2}


def test_the_counts_hold_at_every_moment(text: str, tokenizer: Tokenizer) -> None:
    plan = Plan(GenerateSettings(docs=("x",), tasks=("short_answer",), **SMALL), tokenizer)
    items = [document("a", text), Skipped("x", "empty"), document("b", text + "!")]
    for unit in plan.units(items):
        assert plan.found == plan.read + plan.skipped.total()
        assert isinstance(unit, Skipped) or plan.read >= 1
    assert plan.found == 3


def test_a_preview_reads_no_more_documents_than_asked(
    text: str, plan_of: Callable[..., tuple[Plan, list[Any]]]
) -> None:
    drawn = []

    def items() -> Iterator[Document | Skipped]:
        for number in range(10):
            drawn.append(number)
            yield document(str(number), f"{number} {text}") if number != 1 else Skipped("1", "empty")

    plan, units = plan_of(items(), limit=3, tasks=("short_answer",), chunks_per_doc=1, **SMALL)
    assert drawn == [0, 1, 2, 3]
    assert (plan.read, plan.found) == (3, 4)
    assert len(units) == 4


@pytest.mark.parametrize("text", ["", "  \n\n \t"])
def test_a_document_without_words_gives_no_unit(plan_of: Callable[..., tuple[Plan, list[Any]]], text: str) -> None:
    plan, units = plan_of(text, tasks=("short_answer", "summary"))
    assert units == []
    assert (plan.found, plan.read, plan.chunks) == (1, 1, 0)


def test_the_inputs_have_a_hash_of_texts_and_order(text: str, plan_of: Callable[..., tuple[Plan, list[Any]]]) -> None:
    a, b = document("a", text), document("b", "Another one.")
    hashes = [
        plan_of(items, tasks=("short_answer",))[0].inputs_sha256
        for items in ([a, b], [document("renamed", text), b], [b, a], [a], [a, document("b", "Another two.")])
    ]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 4


def test_seeds_are_31_bits_and_tell_draws_apart(text: str, units_of: Callable[..., list[Unit]]) -> None:
    units = units_of(text, tasks=("short_answer",), chunks_per_doc=0, **SMALL)
    seeds = {unit.seed(run, task) for unit in units for run in range(5) for task in ("short_answer", "long_answer")}
    assert len(seeds) == len(units) * 10
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of(0, "f00", 7, "tasks") == 344147614  # on every machine, in every version: runs go on from journals
