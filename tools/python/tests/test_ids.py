from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta, timezone

from annals import _ids
from annals._ids import rfc3339, uuid7


def test_ids_are_uuids_of_version_7_that_carry_the_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    after = time.time_ns() // 1_000_000
    assert made.version == 7
    assert made.variant == uuid.RFC_4122
    assert before <= made.int >> 80 <= after + 1


def test_ids_grow_even_within_a_millisecond_and_when_the_clock_goes_back(monkeypatch: object) -> None:
    first = [uuid7() for _ in range(20_000)]
    assert first == sorted(first)
    assert len(set(first)) == len(first)
    _ids._last_ms += 60_000
    try:
        later = [uuid7() for _ in range(10)]
        assert [first[-1], *later] == sorted([first[-1], *later])
    finally:
        _ids._last_ms -= 60_000


def test_times_are_utc_to_the_microsecond() -> None:
    moment = datetime(2026, 11, 20, 13, 0, 0, 7, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(moment) == "2026-11-20T12:00:00.000007Z"
