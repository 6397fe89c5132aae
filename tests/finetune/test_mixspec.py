"""A mix as it is written."""

import pytest

from finetune.mixspec import check_names, parse_mix
from longreach.errors import UserError


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("long:short=0.2:0.8", {"long": 0.2, "short": 0.8}),
        ("long:short=1:4", {"long": 0.2, "short": 0.8}),
        (" a : b : c = 1 : 0 : 3 ", {"a": 0.25, "b": 0.0, "c": 0.75}),
        ("only=7", {"only": 1.0}),
        ("a:b=1e308:1e308", {"a": 0.5, "b": 0.5}),
    ],
)
def test_numbers_are_weights(text: str, shares: dict[str, float]) -> None:
    assert parse_mix(text) == pytest.approx(shares)
    assert list(parse_mix(text)) == list(shares)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("long:short", "gives no numbers"),
        ("", "gives no numbers"),
        ("long:short=0.2", "2 names, but 1 number:"),
        ("long=0.2:0.8", "1 name, but 2 numbers:"),
        ("long:long=1:1", "long is named 2 times"),
        ("long:=1:1", "1 of 2 names are empty"),
        ("long:short=1:many", "'many' is no number from 0 on"),
        ("long:short=1:-4", "'-4' is no number from 0 on"),
        ("long:short=1:nan", "'nan' is no number from 0 on"),
        ("long:short=1:inf", "'inf' is no number from 0 on"),
        ("long:short=1=4", "'1=4' is no number from 0 on"),
        ("long:short=0:0", "all numbers are 0"),
    ],
)
def test_what_is_no_mix_is_said(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="write names and as many numbers") as caught:
        parse_mix(text)
    assert complaint in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"a is named 2 times; 2 names, but 3 numbers; 'x' is no number"):
        parse_mix("a:a=1:x:3")


def test_a_mix_names_every_source_and_no_other() -> None:
    check_names({"long": 0.2, "short": 0.8}, ["short", "long"])
    with pytest.raises(UserError) as caught:
        check_names({"long": 0.2, "shrot": 0.8}, ["long", "short", "code"])
    assert "names shrot, which is no source here; did you mean 'short'?" in caught.value.problem
    assert "does not name the source short\n--mix does not name the source code" in caught.value.problem
    assert "with 0 to leave one out" in caught.value.hint
