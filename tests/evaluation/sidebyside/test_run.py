"""The command: a page, then votes, then a judge beside them."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from evaluation.config import SideBySideSettings
from evaluation.results import PREDICTIONS, RESULTS, read_results
from evaluation.sample import prediction_of
from evaluation.sidebyside.page import KEY, PAGE
from evaluation.sidebyside.run import side_by_side
from faultserver import FaultServer
from longreach.errors import UserError
from longreach.jsonl import read_lines


def vote_for(out: Path, model: str, annotator: str, examples: range) -> str:
    """Saves the votes of somebody who always finds this model's answer the better one."""
    key = orjson.loads((out / KEY).read_bytes())
    votes = [
        {"example": each["example"], "choice": "left" if each["left"] == model else "right", "comment": "<b>"}
        for each in key["examples"]
        if each["example"] in examples
    ]
    path = out.parent / f"votes-{annotator}.json"
    path.write_bytes(orjson.dumps({"page": key["page"], "annotator": annotator, "saved": "2025-01-01", "votes": votes}))
    return str(path)


@pytest.fixture
def judge(server_of: Any) -> FaultServer:
    """A server that always finds A better."""

    def answer(asked: dict[str, Any]) -> str:
        first = asked["messages"][-1]["content"].split("<<answer 1 ")[1].split("\n")[1]
        return "Verdict: " + ("1" if first.startswith("A") else "2")

    return server_of(answer)


def test_first_a_page_then_the_votes(folders: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = folders()
    out = tmp_path / "out"
    side_by_side(a, b, SideBySideSettings(out=str(out)), as_json=False)
    assert (out / PAGE).exists() and not (out / RESULTS).exists()
    printed = capsys.readouterr()
    assert "even" in printed.out and KEY in printed.err
    page = (out / PAGE).read_bytes()
    votes = (vote_for(out, "a", "Ada", range(7)), vote_for(out, "b", "Bea", range(3)))
    side_by_side(a, b, SideBySideSettings(out=str(out), votes=votes), as_json=True)
    assert (out / PAGE).read_bytes() == page
    printed_json = orjson.loads(capsys.readouterr().out)
    results = read_results(out)
    assert printed_json["headline"] == orjson.loads((out / RESULTS).read_bytes())["headline"]
    overall = {each.metric: each.value for each in results.scores if (each.task, each.length) == ("people", None)}
    assert overall["wins"] == pytest.approx(100 * 5.5 / 8)  # four alone, three against one other; one the same
    assert overall["ties"] == pytest.approx(100 / 8)
    assert overall["losses"] == pytest.approx(100 * 1.5 / 8)
    assert results.further["people"]["votes"] == {"Ada": 7, "Bea": 3}
    assert results.further["people"]["agreement"] == 0
    assert "Bea left 4 of 7 examples without a vote" in results.notes
    assert (out / "sidebyside.png").read_bytes().startswith(b"\x89PNG")
    lines = [prediction_of(line) for line in read_lines(out / PREDICTIONS)]
    assert [line.id for line in lines] == [f"qa/{number}" for number in range(8)]
    assert lines[7].scores["ties"] == 100 and lines[7].facts["same"]
    assert sum(len(line.facts["votes"]) for line in lines) == 10


def test_a_judge_may_come_later_and_stands_beside_the_people(folders: Any, tmp_path: Path, judge: FaultServer) -> None:
    a, b = folders()
    out = tmp_path / "out"
    side_by_side(a, b, SideBySideSettings(out=str(out)), as_json=True)
    votes = (vote_for(out, "b", "Bea", range(7)),)
    settings = SideBySideSettings(out=str(out), votes=votes, judge_url=(judge.url,), judge_model="tiny")
    for _ in range(2):  # the second asks nothing
        side_by_side(a, b, settings, as_json=True)
        results = read_results(out)
        headlines = {each.task: each.value for each in results.headline}
        assert headlines == {"people": pytest.approx(-87.5), "judge": pytest.approx(87.5)}
        assert results.further["judge"] == {
            "model": "tiny",
            "places": {"1": 7, "2": 7},
            "turned_by_order": 0,
            "without_verdict": 0,
        }
        assert any("agrees with 0.0 % of people's votes" in note for note in results.notes)
        assert sum(judge.answered.values()) == 14


def test_votes_that_say_nothing_are_no_result(folders: Any, tmp_path: Path, server_of: Any) -> None:
    """Else the example with the same answers would make it a tie everywhere."""
    a, b = folders()
    out = tmp_path / "out"
    side_by_side(a, b, SideBySideSettings(out=str(out)), as_json=True)
    judge = server_of(lambda asked: "Hm.")
    silent = (vote_for(out, "a", "Ada", range(0)),)
    for given in ({"votes": silent}, {"judge_url": (judge.url,), "judge_model": "tiny", "out": str(tmp_path / "j")}):
        with pytest.raises(UserError, match="nobody voted"):
            side_by_side(a, b, SideBySideSettings(**{"out": str(out), **given}), as_json=True)
    assert not (out / RESULTS).exists()


def test_other_results_another_page(folders: Any, results_of: Any, tmp_path: Path) -> None:
    a, b = folders()
    settings = SideBySideSettings(out=str(tmp_path / "out"))
    side_by_side(a, b, settings, as_json=True)
    other = results_of("other", {number: f"C says {number}" for number in range(8)})
    with pytest.raises(UserError, match="other settings"):
        side_by_side(a, other, settings, as_json=True)
    with pytest.raises(UserError, match="the same answers"):
        side_by_side(a, a, SideBySideSettings(out=str(tmp_path / "same")), as_json=True)
