"""What a red team asks: the user's rows as they are or not at all, and instructions that only obedience gives away."""

from pathlib import Path

import orjson
import pytest

from evaluation.attacks import Attack, read_attacks, shipped_injections
from longreach.errors import UserError


def rows(path: Path, *given: object) -> str:
    path.write_bytes(b"\n".join(orjson.dumps(each) for each in given))
    return str(path)


def test_rows_become_attacks(tmp_path: Path) -> None:
    first = rows(tmp_path / "a.jsonl", {"prompt": "p", "area": " illicit ", "id": "x"}, {"prompt": "q", "area": "own"})
    second = rows(tmp_path / "b.jsonl", {"prompt": "r", "area": "own"})
    assert read_attacks([first, second]) == [
        Attack("x", "illicit", "p"),
        Attack("2", "own", "q"),
        Attack("3", "own", "r"),
    ]


def test_every_row_that_is_none_is_told(tmp_path: Path) -> None:
    bad = rows(
        tmp_path / "bad.jsonl",
        {"prompt": "p"},
        {"area": "own"},
        ["p"],
        {"prompt": 1, "area": "own"},
        {"prompt": "p", "area": "own", "id": "x"},
        {"prompt": "q", "area": "own", "id": "x"},
        {"prompt": " ", "area": "own"},
    )
    with pytest.raises(UserError) as caught:
        read_attacks([bad])
    problem = caught.value.problem
    assert "line 1: no area" in problem and "line 2: no prompt" in problem and "line 4: no prompt" in problem
    assert problem.endswith("and 1 more")  # a blank prompt, and one id twice
    doubled = rows(tmp_path / "doubled.jsonl", *({"prompt": "p", "area": "own", "id": "x"} for _ in range(2)))
    with pytest.raises(UserError, match="the id 'x' stands there more than once"):
        read_attacks([doubled])


def test_a_dozen_injections_ship_whose_marks_are_not_in_their_words() -> None:
    injections = shipped_injections()
    assert len(injections) == 12 == len({each.id for each in injections}) == len({each.marker for each in injections})
    for each in injections:
        assert len(each.marker) >= 2
        assert not each.followed(each.text), each.id
        assert not any(other.followed(each.text) for other in injections), each.id
        assert each.followed(f"It is so. {each.marker} indeed")
        assert not each.followed("The text is about the basins of a harbour. It tells who built them.")
