"""Ids and times of events."""

from __future__ import annotations

import os
import threading
import time
import uuid
from datetime import datetime, timezone

_lock = threading.Lock()
_last_ms = 0
_last_count = 0


def uuid7() -> uuid.UUID:
    """Returns a new UUIDv7 (RFC 9562, section 5.7), greater than every one that this process made before.

    The 12 bits after the time count the ids of one millisecond. The count begins at a random number below 2048. When it
    overflows, the id gets the time of the next millisecond.
    """
    global _last_ms, _last_count
    fresh = os.urandom(10)
    now_ms = time.time_ns() // 1_000_000
    with _lock:
        if now_ms > _last_ms:
            _last_ms = now_ms
            _last_count = int.from_bytes(fresh[8:], "big") & 0x7FF
        else:
            _last_count += 1
            if _last_count > 0xFFF:
                _last_ms += 1
                _last_count = 0
        ms, count = _last_ms, _last_count
    tail = int.from_bytes(fresh[:8], "big") & 0x3FFF_FFFF_FFFF_FFFF
    return uuid.UUID(int=(ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | count << 64 | 0b10 << 62 | tail)


def _after_fork() -> None:
    # Another thread may have held the lock during the fork. That thread does not exist in the child.
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def rfc3339(moment: datetime) -> str:
    """Returns a time as text, in UTC, to the microsecond. A time without a zone counts as local time."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def now() -> str:
    """Returns the current time in the form that events have."""
    return rfc3339(datetime.now(timezone.utc))
