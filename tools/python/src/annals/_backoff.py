"""Pauses between attempts."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final

PAUSE_MIN_S: Final = 0.2
PAUSE_MAX_S: Final = 30.0
RETRY_AFTER_MAX_S: Final = 3600.0
"""The longest pause that a server can ask for; after it the client tries again in any case."""


class Backoff:
    """Pauses in seconds that double with each failure, up to a bound.

    Each has a random length between half and all of its bound. So clients that lost their server at the same moment do
    not all come back at the same moment.
    """

    def __init__(self, pause_min: float = PAUSE_MIN_S, pause_max: float = PAUSE_MAX_S) -> None:
        self._pause_min = pause_min
        self._pause_max = pause_max
        self._failures = 0

    def next(self) -> float:
        """Counts a failure, and returns the pause after it."""
        # The exponent stops at 30, where the float is far above any bound and cannot overflow.
        bound: float = min(self._pause_max, self._pause_min * 2 ** min(self._failures, 30))
        self._failures += 1
        return bound * random.uniform(0.5, 1.0)  # noqa: S311 (it is no secret)

    def reset(self) -> None:
        """Begins again with the shortest pause, after a success."""
        self._failures = 0


def retry_after(value: str | None) -> float | None:
    """Returns the seconds of a Retry-After header, which has seconds or a date; None if it has neither."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        seconds = float(value[:9])
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), RETRY_AFTER_MAX_S)
