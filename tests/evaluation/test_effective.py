"""RULER's rule, and how sure it is."""

import pytest

from evaluation.effective import effective_length


def of(**means: float) -> dict[str, dict[int, list[float]]]:
    """One task; each length has a hundred answers, right or wrong, of that mean."""
    return {
        "task": {int(length[1:]): [100.0] * round(mean) + [0.0] * round(100 - mean) for length, mean in means.items()}
    }


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (of(_256=100, _512=90, _1024=50), 512),
        (of(_256=100, _512=90, _1024=86), 1024),
        (of(_256=100, _512=85, _1024=100), 256),  # what comes after a fall does not count
        (of(_256=10, _512=100), 0),
        ({"a": {256: [100.0], 512: [100.0]}, "b": {256: [80.0], 512: [70.0]}}, 256),  # the mean over tasks
        ({"a": {256: [100.0], 512: [100.0]}, "b": {512: [10.0]}}, 256),  # a task that has no short sample
    ],
)
def test_the_longest_up_to_which_all_are_over(cells: dict[str, dict[int, list[float]]], expected: int) -> None:
    assert effective_length(cells, 85.6, 0).length.value == expected


def test_the_interval_is_wide_near_the_threshold_and_narrow_far_from_it() -> None:
    near = effective_length(of(_256=100, _512=86, _1024=84, _2048=0), 85.6, 0).length
    assert near.low == 256 and near.high == 1024
    far = effective_length(of(_256=100, _512=100, _1024=2), 85.6, 0).length
    assert (far.low, far.value, far.high) == (512, 512, 512)
    assert near == effective_length(of(_256=100, _512=86, _1024=84, _2048=0), 85.6, 0).length


def test_in_words() -> None:
    assert "512 tokens (the longest measured)" in effective_length(of(_256=100, _512=99), 85.6, 0).in_words()
    assert "No effective length: 10.0 points at 256" in effective_length(of(_256=10, _512=99), 85.6, 0).in_words()
    assert "95 %: 256–512" in effective_length(of(_256=100, _512=85), 85.6, 0).in_words()
