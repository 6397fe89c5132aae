"""Data cards: any text stands in a cell, the head is YAML that the Hub reads, no fact is left out unseen."""

import re
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from longreach import card
from longreach.card import cell, render_card

NASTY = 'a: b | "c" # d\n- e\n---\n{{ f }} é 日本'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(card, "shipped", lambda name: tmp_path)
    return tmp_path


def head_and_body(text: str) -> tuple[object, str]:
    _, head, body = re.split(r"^---\n", text, maxsplit=2, flags=re.M)
    return yaml.safe_load(head), body


def test_a_card_is_a_yaml_head_and_the_filled_template(folder: Path) -> None:
    (folder / "run.md.jinja").write_text("# {{ name }}\n{% for n in numbers %}\n| {{ n }} |\n{% endfor %}\nend\n")
    text = render_card("run.md.jinja", {"license": "other", "tags": ["a"]}, {"name": "x", "numbers": [1, 2]})
    assert text == "---\nlicense: other\ntags:\n- a\n---\n\n# x\n| 1 |\n| 2 |\nend\n"


def test_the_head_holds_any_text(folder: Path) -> None:
    (folder / "run.md.jinja").write_text("body\n")
    head, body = head_and_body(render_card("run.md.jinja", {"pretty_name": NASTY, "configs": [{"a": [NASTY]}]}, {}))
    assert head == {"pretty_name": NASTY, "configs": [{"a": [NASTY]}]}
    assert body == "\nbody\n"


def test_facts_are_data_and_no_template(folder: Path) -> None:
    (folder / "run.md.jinja").write_text("{{ name | cell }}")
    assert "{{ f }}" in render_card("run.md.jinja", {}, {"name": NASTY})


def test_a_missing_fact_is_a_bug_that_shows(folder: Path) -> None:
    (folder / "run.md.jinja").write_text("{{ nobody_gives_this }}")
    with pytest.raises(jinja2.UndefinedError, match="nobody_gives_this"):
        render_card("run.md.jinja", {}, {})


@given(st.text())
def test_any_text_stays_in_its_cell(text: str) -> None:
    shown = cell(text)
    assert shown.splitlines() == [shown]
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", shown)
    assert "<" not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", "–"),
        ("  \n ", "–"),
        (0, "0"),
        (None, "None"),
        ("a|b", r"a\|b"),
        (r"a\|b", r"a\\\|b"),
        ("a\r\nb\t c", "a b c"),
        ("<script>", "&lt;script>"),
        ("[x](y) `z` *w*", r"\[x](y) \`z\` \*w\*"),
    ],
)
def test_markup_in_a_cell_has_no_effect(value: object, shown: str) -> None:
    assert cell(value) == shown
