"""NAME=PATH[@SHARE]: what is read, what is refused, and what shares come to."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longreach.errors import UserError
from pretrain.sources import SourceSpec, divide, parse_sources, reading_of


def problems(*given: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        parse_sources(given)
    return raised.value.problem.splitlines()


@pytest.mark.parametrize(
    ("text", "name", "path", "share"),
    [
        ("books=data/books", "books", "data/books", None),
        ("books=data/books@0.3", "books", "data/books", 0.3),
        ("books=data/books@3", "books", "data/books", 3),
        ("books=data/books@30%", "books", "data/books", 0.3),
        ("books=data/books@.5", "books", "data/books", 0.5),
        ("books=data/books@1e-2", "books", "data/books", 0.01),
        ("b-1.x_Y=a/*.jsonl@2", "b-1.x_Y", "a/*.jsonl", 2),
        ("web=HuggingFaceFW/fineweb-edu@0.1", "web", "HuggingFaceFW/fineweb-edu", 0.1),
        ("mail=box/me@example.org/in", "mail", "box/me@example.org/in", None),
        ("mail=box/me@example", "mail", "box/me@example", None),
        ("run=lr=0.1/x=y@2", "run", "lr=0.1/x=y", 2),
        ("talks=notes@2024@", "talks", "notes@2024", None),
        ("talks=notes@2024@0.5", "talks", "notes@2024", 0.5),
        ("talks=notes@@", "talks", "notes@", None),
        ("talks=a b/c@d e@0.5", "talks", "a b/c@d e", 0.5),
    ],
)
def test_a_source_is_a_name_a_path_and_perhaps_a_share(text: str, name: str, path: str, share: float | None) -> None:
    assert parse_sources([text]) == (SourceSpec(name, (path,), share),)


def test_a_name_given_again_adds_paths_in_order_and_keeps_its_share() -> None:
    specs = parse_sources(["b=one", "web=x@0.4", "b=two@0.2", "b=one@0.2", "b=three"])
    assert specs == (SourceSpec("b", ("one", "two", "three"), 0.2), SourceSpec("web", ("x",), 0.4))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("data/books", "--source data/books: has no name"),
        ("=data/books", "--source =data/books: '' is no name"),
        ("my books=x", "'my books' is no name"),
        ("../b=x", "'../b' is no name"),
        ("..=x", "'..' is no name"),
        ("-b=x", "'-b' is no name"),
        ("bücher=x", "'bücher' is no name"),
        ("b=", "names no path"),
        ("b=@0.3", "names no path"),
        ("b=@", "names no path"),
        ("b=x@0", "the share 0 is no number above 0"),
        ("b=x@-0.2", "the share -0.2 is no number above 0"),
        ("b=x@nan", "the share nan is no number above 0"),
        ("b=x@inf", "the share inf is no number above 0"),
        ("b=x@1e999", "the share 1e999 is no number above 0"),
        ("b=x@0%", "the share 0% is no number above 0"),
    ],
)
def test_what_is_no_source_is_told(text: str, problem: str) -> None:
    assert len(problems(text)) == 1
    assert problem in problems(text)[0]


def test_every_problem_is_told_at_once() -> None:
    told = problems("books", "web=x@-1", "code=c@0.9", "code=d@0.8", "rest=r", "more=m@0.4")
    assert len(told) == 4
    assert "has no name" in told[0]
    assert "-1" in told[1]
    assert "code was given the share 0.9 before" in told[2]
    assert told[3].startswith("the shares sum to 1.3 and leave nothing for rest")


def test_no_source_at_all_is_told() -> None:
    assert problems() == ["no sources: give --source"]


def test_shares_for_some_must_leave_something() -> None:
    assert problems("a=x@0.6", "b=y@0.4", "c=z", "d=w")[0].startswith("the shares sum to 1 and leave nothing for c, d")
    assert problems("a=x@3", "b=y")[0].startswith("the shares sum to 3 and leave nothing for b")
    assert len(parse_sources(["a=x@0.6", "b=y@0.3", "c=z"])) == 3
    assert len(parse_sources(["a=x@3", "b=y@7"])) == 2


@pytest.mark.parametrize("shares", [(0.3, 0.7), (3, 7), (30, 70), (0.03, 0.07)])
def test_shares_given_for_all_are_weights(shares: tuple[float, float]) -> None:
    assert divide(shares, [1, 1_000]) == pytest.approx([0.3, 0.7])


def test_what_shares_leave_goes_to_the_others_by_their_tokens() -> None:
    assert divide([None, 0.4, None], [100, 5, 300]) == pytest.approx([0.15, 0.4, 0.45])
    assert divide([None, None], [1, 3]) == [0.25, 0.75]


@given(st.lists(st.tuples(st.none() | st.floats(0.001, 0.09), st.integers(1, 10**12)), min_size=1, max_size=10))
def test_shares_sum_to_one_and_given_ones_stay(sources: list[tuple[float | None, int]]) -> None:
    given_shares = [share for share, _ in sources]
    shares = divide(given_shares, [size for _, size in sources])
    assert math.isclose(sum(shares), 1, rel_tol=1e-9)
    assert all(share > 0 for share in shares)
    if None in given_shares:
        assert all(got == asked for got, asked in zip(shares, given_shares, strict=True) if asked is not None)


def test_shares_that_may_hold_a_slip_are_noted() -> None:
    assert reading_of(parse_sources(["a=x@0.3", "b=y@0.6"])) == [
        "the shares sum to 0.9 and are taken as weights: a 33.3%, b 66.7%"
    ]
    for good in (["a=x@0.3", "b=y@0.7"], ["a=x@3", "b=y@7"], ["a=x@30", "b=y@70"], ["a=x@0.3", "b=y"], ["a=x", "b=y"]):
        assert reading_of(parse_sources(good)) == []
