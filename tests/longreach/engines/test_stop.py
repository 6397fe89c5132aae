"""Where stop strings cut an answer."""

import pytest

from longreach.engines.stop import cut


@pytest.mark.parametrize(
    ("text", "stops", "before"),
    [
        ("an answer\nand more", ("\n",), "an answer"),
        ("an answer", ("\n",), None),
        ("an answer", (), None),
        ("\nand more", ("\n",), ""),
        ("one. two. three", (" three", " two"), "one."),
        ("abc", ("abc", "b"), "a"),  # letter by letter "b" is there before "abc" is
        ("ab", ("ab", "b"), ""),  # both end here: the one that was named first
        ("ab", ("b", "ab"), "a"),
    ],
)
def test_an_answer_ends_before_the_stop_string_that_is_complete_first(
    text: str, stops: tuple[str, ...], before: str | None
) -> None:
    assert cut(text, stops) == before
