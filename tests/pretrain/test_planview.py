"""The plan as a table and as the manifest's sources."""

import json

import numpy as np
import pytest

from pretrain.mixplan import Plan, Stock, make_plan
from pretrain.planview import plan_rows, print_planned, print_realised
from pretrain.sources import SourceSpec
from pretrain.upsample import Mix


@pytest.fixture
def plan() -> Plan:
    sources = {"books": [9_000] * 20, "web": [100] * 2_000 + [10_000] * 10}
    stocks = [Stock(SourceSpec(name, ("x",)), np.array(lengths)) for name, lengths in sources.items()]
    return make_plan(stocks, Mix(long_tokens=8_192, long_share=0.5, tokens=100_000))


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_plan_before_the_work(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    print_planned(plan)
    lines = cells(capsys.readouterr().out)
    assert lines[0] == ["source", "length", "documents", "tokens", "epochs", "planned", "share"]
    assert lines[2] == ["books", "long", "20", "180,000", "0.21", "37,500", "37.5%"]
    assert lines[3] == ["web", "short", "2,000", "200,000", "0.16", "31,250", "31.2%"]
    assert lines[5] == ["total", "2,030", "480,000", "0.21", "100,000", "100.0%"]
    assert " ".join(lines[6]) == "long: documents of 8,192 tokens and more"
    assert " ".join(lines[7]).startswith("note: books has no documents shorter than 8,192 tokens")


def test_what_came_out_after_it(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    print_realised(plan, to_stderr=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = cells(captured.err)
    assert lines[0] == ["source", "length", "documents", "tokens", "epochs", "planned", "realised", "+/-"]
    assert lines[2] == ["books", "long", "4", "36,000", "0.21", "37.50%", "37.04%", "-0.46"]
    assert lines[4] == ["web", "long", "3", "30,000", "0.31", "31.25%", "30.86%", "-0.39"]
    assert lines[5] == ["total", "319", "97,200", "0.20", "100.00%", "100.00%"]


def test_the_sources_of_the_manifest(plan: Plan) -> None:
    rows = plan_rows(plan)
    assert json.loads(json.dumps(rows)) == rows
    assert [(row["name"], row["bucket"]) for row in rows] == [
        ("books", "short"), ("books", "long"), ("web", "short"), ("web", "long"),
    ]  # fmt: skip
    assert {tuple(row) for row in rows} == {
        ("name", "bucket", "documents", "tokens", "epochs", "planned_share", "realised_share")
    }
    assert sum(row["tokens"] for row in rows) == plan.tokens
    assert sum(row["realised_share"] for row in rows) == pytest.approx(1)
    assert rows[1] == {"name": "books", "bucket": "long", "documents": 4, "tokens": 36_000, "epochs": 37_500 / 180_000,
                       "planned_share": 0.375, "realised_share": pytest.approx(36_000 / plan.tokens)}  # fmt: skip
    assert rows[0]["documents"] == rows[0]["epochs"] == 0
