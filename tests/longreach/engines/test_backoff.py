"""Waiting: doubled, jittered, bounded, and as long as a server asks within reason."""

from datetime import UTC, datetime

import pytest

from longreach.engines.backoff import LONGEST_RETRY_AFTER, Backoff, retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def test_the_ceiling_doubles_up_to_the_longest_wait() -> None:
    backoff = Backoff(first=0.5, longest=6.0)
    assert [backoff.ceiling(failures) for failures in range(1, 7)] == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]
    assert backoff.ceiling(10**6) == 6.0


def test_the_jitter_is_drawn_between_nothing_and_the_ceiling() -> None:
    drawn: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 4

    assert Backoff(first=1.0, jitter=jitter).delay(3) == 1.0
    assert drawn == [(0.0, 4.0)]
    assert len({Backoff().delay(3) for _ in range(20)}) > 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
        ("Mon, 23 Nov 2026 14:00:30 +0200", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("86400", LONGEST_RETRY_AFTER),
        ("9" * 5000, LONGEST_RETRY_AFTER),
        ("Tue, 24 Nov 2026 12:00:00 GMT", LONGEST_RETRY_AFTER),
        ("nan", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        ("Mon, 99 Nov 2026 12:00:30 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(header: str, seconds: float) -> None:
    assert retry_after(header, NOW) == seconds
