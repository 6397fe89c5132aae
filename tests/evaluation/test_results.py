"""results.json goes out and comes back; what is none is one clear message; and its table in the terminal."""

from pathlib import Path

import orjson
import pytest

from evaluation.results import RESULTS, Headline, Results, Score, read_results
from evaluation.show import show
from longreach.errors import UserError

FOUND = Results(
    measure="retrieval",
    model="runs/long",
    settings={"seed": 0, "lengths": [256, 1024]},
    scores=[
        Score("passkey", "score", 256, None, 50, 100.0, 94.2, 100.0),
        Score("passkey", "score", 256, 0.5, 10, 100.0, 74.1, 100.0),
        Score("passkey", "score", 1024, None, 50, 42.0, 28.2, 55.8),
        Score("[odd]", "score", 1024, None, 50, 1.25, 0.0, 2.5),
    ],
    headline=[Headline("passkey", "score", "long", True, "points", 100, 71.0, 62.1, 79.6)],
    notes=["falls past 256"],
)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    FOUND.write(tmp_path)
    found = read_results(tmp_path)
    assert (found.measure, found.model, found.settings) == (FOUND.measure, FOUND.model, FOUND.settings)
    assert list(found.scores) == list(FOUND.scores)
    assert list(found.headline) == list(FOUND.headline)
    assert found.command[0] == "evaluate"
    assert found.versions["python"]


def test_the_contract_on_disk(tmp_path: Path) -> None:
    FOUND.write(tmp_path)
    written = orjson.loads((tmp_path / RESULTS).read_bytes())
    assert {"measure", "model", "settings", "scores", "fit", "headline", "notes", "command"} <= written.keys()
    assert {"length", "depth", "n", "value", "low", "high"} <= written["scores"][0].keys()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"measure": "loss"}', '{"measure": 1, "scores": 2}'])
def test_what_is_no_result_is_said(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"holds no results\.json"):
        read_results(tmp_path)
    (tmp_path / RESULTS).write_text(content)
    with pytest.raises(UserError, match=RESULTS):
        read_results(tmp_path)


def test_the_table_has_a_line_for_each_task_and_a_column_for_each_length(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOUND, as_json=False)
    out = capsys.readouterr().out
    assert "256" in out and "1,024" in out
    assert "42.0 (28.2–55.8)" in out
    assert "[odd]" in out
    assert "falls past 256" in out
    show(FOUND, as_json=True)
    assert orjson.loads(capsys.readouterr().out)["scores"][2]["value"] == 42.0
