"""Votes read back: whose answer stood where, what is missing or doubled, and what is refused."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from evaluation.sidebyside.examples import Pairing
from evaluation.sidebyside.page import Page, draw_page
from evaluation.sidebyside.votes import read_votes
from longreach.errors import UserError


@pytest.fixture
def page(pairing: Pairing) -> Page:
    return draw_page(pairing, seed=0)


def vote(example: int, choice: str, comment: str = "") -> dict[str, Any]:
    return {"example": example, "choice": choice, "comment": comment}


def save(path: Path, page: Page, annotator: str, votes: list[dict[str, Any]], saved: str = "2025-01-01") -> str:
    """A file as the page saves it."""
    file = {"format": 1, "page": page.id, "annotator": annotator, "saved": saved, "votes": votes}
    path.write_bytes(orjson.dumps(file))
    return str(path)


def test_a_side_is_a_model_again(page: Page, tmp_path: Path) -> None:
    everywhere = [vote(number, "left", f"on {number}") for number in range(7)]
    ballot = read_votes([save(tmp_path / "votes-1.json", page, "Ada", everywhere)], page)
    assert [each.choice for each in ballot.votes] == [each.left for each in page.shown]
    assert {each.choice for each in ballot.votes} == {"a", "b"}
    right = read_votes([save(tmp_path / "votes-2.json", page, "Ada", [vote(n, "right") for n in range(7)])], page)
    assert all(one.choice != other.choice for one, other in zip(ballot.votes, right.votes, strict=True))
    tie = read_votes([save(tmp_path / "votes-3.json", page, "Ada", [vote(0, "tie")])], page)
    assert [each.choice for each in tie.votes] == ["tie"]
    assert ballot.votes[3].comment == "on 3"


def test_what_is_missing_is_said(page: Page, tmp_path: Path) -> None:
    save(tmp_path / "votes-ada.json", page, "Ada", [vote(number, "tie") for number in range(7)])
    save(tmp_path / "votes-bea.json", page, "Bea", [vote(0, "left"), vote(1, "", "cannot tell")])
    ballot = read_votes([str(tmp_path)], page)
    assert ballot.by_annotator() == {"Ada": 7, "Bea": 1}
    assert "Bea left 6 of 7 examples without a vote" in ballot.notes
    assert not any("Ada left" in note or "no vote at all" in note for note in ballot.notes)
    alone = read_votes([str(tmp_path / "votes-bea.json")], page)
    assert "6 of 7 examples have no vote at all and are left out" in alone.notes


def test_of_doubled_votes_the_last_saved_counts(page: Page, tmp_path: Path) -> None:
    new = save(tmp_path / "votes-1.json", page, "Ada", [vote(0, "tie")], saved="2025-01-02T10:00:00Z")
    old = save(
        tmp_path / "votes-2.json", page, " Ada ", [vote(0, "left"), vote(1, "tie")], saved="2025-01-01T10:00:00Z"
    )
    for order in ([new, old], [old, new], [str(tmp_path / "votes-*.json")]):
        ballot = read_votes(order, page)
        assert sorted((each.example, each.choice) for each in ballot.votes) == [(0, "tie"), (1, "tie")]
        assert "1 votes of Ada came twice: what was saved last counts" in ballot.notes
    assert not any("twice" in note for note in read_votes([new, new], page).notes)  # the same file, named twice


def test_votes_of_another_page_and_broken_files_are_told_at_once(page: Page, pairing: Pairing, tmp_path: Path) -> None:
    other = draw_page(pairing, seed=1)
    files = [
        save(tmp_path / "other.json", other, "Ada", [vote(0, "tie")]),
        save(
            tmp_path / "range.json", page, "Ada", [vote(7, "tie"), vote(0, "best"), vote(-1, "tie"), {"choice": "tie"}]
        ),
        save(tmp_path / "nameless.json", page, " ", [vote(0, "tie")]),
    ]
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UserError) as caught:
        read_votes([*files, str(tmp_path / "list.json")], page)
    problem = caught.value.problem
    assert "other.json: votes of another page" in problem
    assert all(f"range.json: vote {number} is none" in problem for number in (1, 2, 3, 4))
    assert "nameless.json: no name of an annotator" in problem
    assert "list.json: holds no votes" in problem


def test_a_file_that_is_not_there_or_no_json_is_refused(page: Page, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no votes in"):
        read_votes([str(tmp_path / "none-*.json")], page)
    (tmp_path / "broken.json").write_text('{"page":')
    with pytest.raises(UserError, match=r"broken\.json is no JSON"):
        read_votes([str(tmp_path / "broken.json")], page)
