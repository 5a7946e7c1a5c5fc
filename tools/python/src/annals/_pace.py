"""When to try again."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 30.0
LONGEST_RETRY_AFTER: Final = 3600.0
"""A server that asks for more patience than an hour is asked again all the same."""


class Backoff:
    """Seconds to wait, doubled with each failure up to 30, and spread so that clients do not come all at once."""

    def __init__(self, first: float = FIRST_DELAY, longest: float = LONGEST_DELAY) -> None:
        self._first = first
        self._longest = longest
        self._failures = 0

    def next(self) -> float:
        """The delay after one more failure: between half of the present bound and the bound."""
        bound: float = min(self._longest, self._first * 2 ** min(self._failures, 30))
        self._failures += 1
        return bound * random.uniform(0.5, 1.0)  # noqa: S311 (it is no secret)

    def reset(self) -> None:
        """Begins anew, after a success."""
        self._failures = 0


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, given in seconds or as a date; None where it is neither."""
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
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
