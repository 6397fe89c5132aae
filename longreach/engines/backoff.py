"""How long to wait before asking a server again: what it asked for, or longer after each failure.

Jitter is full: anywhere between now and the ceiling, so that requests that failed together do not come back together.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_RETRY_AFTER = 120.0  # seconds; a server that asks for an hour is asked again sooner


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds that double with each failure in a row."""

    first: float = 0.5
    longest: float = 60.0
    jitter: Callable[[float, float], float] = random.Random().uniform  # its own generator: a seeded one stays untouched

    def ceiling(self, failures: int) -> float:
        """The longest wait after so many failures in a row."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 64))

    def delay(self, failures: int) -> float:
        """A random wait up to the ceiling."""
        return self.jitter(0.0, self.ceiling(failures))


STEADY = Backoff()


def retry_after(header: str, now: datetime) -> float:
    """Seconds asked for by a Retry-After header, a number or an HTTP date, capped; 0 where it says nothing usable."""
    try:
        seconds = float(header)
    except ValueError:
        seconds = _until(header, now)
    return 0.0 if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _until(date: str, now: datetime) -> float:
    try:
        when = parsedate_to_datetime(date)
    except ValueError:
        return 0.0
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds()
