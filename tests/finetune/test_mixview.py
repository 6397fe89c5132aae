"""What is said about a mix: every number from the plan itself, the same for people and for programs."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from finetune import mixview as module
from finetune.batches import MixBatches
from finetune.item import Item, Source
from finetune.losses import ANSWER, Loss
from finetune.mix import Budget, MixPlan, plan_mix
from finetune.mixview import LongExample, MixView, copies_of, draw_mix, mix_view, print_mix
from finetune.store import Store, StoreWriter
from longreach.histogram import Axis, Panel

SEQ_LEN = 64
FACTS = {
    "train": {"long": {"skipped": {"too long": 2}}, "short": {"skipped": {"bad json": 1, "too long": 3}}, "text": {}},
    "held-out": {"asked": {"skipped": {"no answer": 1}}},
}


class Text:
    """Rows without answers."""

    name, vocab_size = "text", 100
    lengths, answers = np.array([SEQ_LEN, 10]), np.array([0, 0])

    def __len__(self) -> int:
        return 2

    def __getitem__(self, place: int) -> Item:
        length = self.lengths[place]
        return Item(np.zeros(length, np.uint16), np.array([length], np.int32), np.zeros(length, bool))


def store(folder: Path, lengths: list[int], cuts: list[int]) -> Store:
    """Three tokens of each example are its answer."""
    with StoreWriter(folder, 100) as writer:
        for number, (length, cut) in enumerate(zip(lengths, cuts, strict=True)):
            answer = np.arange(length) >= length - 3
            writer.append(np.full(length, 7), answer, number, number, cut, f"{folder.name}.jsonl#{number + 1}")
        writer.finish()
    return Store(folder)


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    return [
        store(tmp_path / "long", [40, 60, 50, 45], [0, 1_000, 0, 20]),
        store(tmp_path / "short", [4, 8, 12, 16, 5, 9, 13, 17], [0] * 8),
        Text(),
    ]


def planned(sources: list[Source], *, shares: dict[str, float] | None = None) -> tuple[MixPlan, MixBatches]:
    plan = plan_mix(sources, shares, "tokens", Budget(epochs=2, batch_tokens=100), seed=0)
    losses = {"long": Loss(1.0), "short": ANSWER, "text": ANSWER}
    return plan, MixBatches(sources, plan, losses, seq_len=SEQ_LEN, pack_len=32, alone=("long",))


def viewed(sources: list[Source], *, shares: dict[str, float] | None = None) -> MixView:
    plan, batches = planned(sources, shares=shares)
    return mix_view(plan, batches, sources, FACTS, ["look here"])


def test_every_number_is_that_of_the_plan(sources: list[Source]) -> None:
    plan, batches = planned(sources)
    view = viewed(sources)
    rows = [batches.row(item) for step in range(len(plan.steps) - 1) for item in batches.plan(step)]
    assert (view.sources, view.by, view.steps, view.rows) == (plan.rows, "tokens", len(plan.steps) - 1, len(rows))
    assert sum(row.tokens for row in view.sources) == sum(len(row.tokens) for row in rows)
    assert sum(row.answer_tokens for row in view.sources) == 2 * 3 * 12
    assert (view.truncated_context, view.cut_tokens) == (2, 1_020)
    assert view.dropped == {"too long": 5, "bad json": 1, "no answer": 1}
    assert next(iter(view.dropped)) == "too long"
    assert view.notes == ("look here",)


def test_what_the_mix_leaves_out_is_not_counted(sources: list[Source]) -> None:
    view = viewed(sources, shares={"long": 0, "short": 1, "text": 0})
    assert view.truncated_context == 0
    assert view.longest[0] == LongExample("short", 17, 3, 0, "short.jsonl#8")
    assert {each.source for each in view.longest} == {"short"}


def test_the_longest_examples_are_named_with_their_places(sources: list[Source]) -> None:
    assert viewed(sources).longest == (
        LongExample("text", 64, 0, 0, "row 0"),
        LongExample("long", 60, 3, 1_000, "long.jsonl#2"),
        LongExample("long", 50, 3, 0, "long.jsonl#3"),
        LongExample("long", 45, 3, 20, "long.jsonl#4"),
        LongExample("long", 40, 3, 0, "long.jsonl#1"),
    )


def test_copies_are_those_of_the_plan(sources: list[Source]) -> None:
    plan, _ = planned(sources)
    copies = copies_of(plan, sources)
    assert [len(each) for each in copies] == [4, 8, 2]
    assert [int(each @ source.lengths) for each, source in zip(copies, sources, strict=True)] == [
        row.tokens for row in plan.rows
    ]


def test_json_has_the_keys_that_scripts_rely_on(sources: list[Source]) -> None:
    view = orjson.loads(orjson.dumps(viewed(sources).as_json()))
    assert view.keys() >= {"sources", "rows", "truncated_context", "dropped"}
    assert all(
        list(source) == ["name", "examples", "tokens", "answer_tokens", "epochs", "planned_share", "realised_share"]
        for source in view["sources"]
    )
    assert [source["name"] for source in view["sources"]] == ["long", "short", "text"]


def test_people_see_the_same(
    sources: list[Source], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    view = viewed(sources)
    print_mix(view)
    shown, said = capsys.readouterr()
    words = [line.split() for line in shown.splitlines()]
    long = view.sources[0]
    share = f"{long.planned_share:.2%}", f"{long.realised_share:.2%}"
    assert ["long", str(long.examples), str(long.tokens), str(long.answer_tokens), "2.00", *share] in words
    assert ["total", "28", str(sum(row.tokens for row in view.sources)), "72", "100.00%", "100.00%"] in words
    assert ["long.jsonl#2", "long", "60", "3", "1,000"] in words
    assert f"{view.rows} rows in {view.steps} steps\n" in shown
    assert "2 examples were too long: their contexts lost 1,020 tokens" in shown
    assert "dropped, each listed in skipped.jsonl: 5 too long, 1 bad json, 1 no answer" in shown
    assert said == "note: look here\n"


def test_nothing_lost_is_nothing_said(sources: list[Source], capsys: pytest.CaptureFixture[str]) -> None:
    plan, batches = planned(sources, shares={"long": 0, "short": 1, "text": 0})
    print_mix(mix_view(plan, batches, sources, {"train": {}}, []))
    shown, said = capsys.readouterr()
    assert "dropped" not in shown
    assert "lost" not in shown
    assert said == ""


def test_the_picture_has_the_data_as_it_was_read_and_the_mix(
    sources: list[Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[Axis, list[Panel], Path]] = []
    monkeypatch.setattr(module, "draw", lambda *given: drawn.append(given))
    plan, _ = planned(sources)
    draw_mix(plan, sources, SEQ_LEN, tmp_path / "mix.png")
    ((axis, (before, after), path),) = drawn
    assert (axis.line, axis.line_title, path) == (SEQ_LEN, "--seq-len 64", tmp_path / "mix.png")
    assert axis.edges == (2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048)
    assert before.tokens["text"] == (0, 0, 10, 0, 64, 0, 0, 0, 0, 0)  # a full row is left of the line
    assert before.tokens["long"] == (0, 0, 0, 0, 40 + 50, 65, 0, 0, 0, 1_060)
    assert after.tokens["long"] == (0, 0, 0, 0, 2 * 195, 0, 0, 0, 0, 0)
    assert after.tokens["short"] == (8, 26, 100, 34, 0, 0, 0, 0, 0, 0)
    assert before.title == "the data: 1,373 tokens"
    assert after.title == f"the mix: {sum(row.tokens for row in plan.rows)} tokens"


def test_the_picture_is_one(sources: list[Source], tmp_path: Path) -> None:
    plan, _ = planned(sources)
    draw_mix(plan, sources, SEQ_LEN, tmp_path / "mix.png")
    assert (tmp_path / "mix.png").read_bytes().startswith(b"\x89PNG")
