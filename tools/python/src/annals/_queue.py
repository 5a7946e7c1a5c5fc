"""The queue of events that are not settled yet, in memory or on disk.

An event is settled when it is committed, or refused for good.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal, Protocol

from .errors import Refused

Fsync = Literal["always", "second", "never"]
"""When a queue on disk is flushed to it."""


class EventQueue(Protocol):
    """Lines in order. They leave from the front, and only when they are settled.

    The delivery that owns the queue holds its lock for every call except `sync` and `abandon`.
    """

    durable: bool
    """True if the events that are left at the end are sent later."""
    lost: int
    """Number of accepted lines that are gone because somebody else deleted them."""

    def __len__(self) -> int:
        """Returns the number of lines."""

    def has_room(self, line: bytes) -> bool:
        """Returns whether the line fits. An empty queue has room for any line."""

    def append(self, line: bytes) -> None:
        """Appends a whole line, with its line break. After a SpoolError the queue has nothing of it."""

    def sync(self) -> None:
        """Makes the appended lines as durable as the queue can, or raises NotFlushed.

        Any thread may call it, without the lock.
        """

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        """Returns lines from the front, within both bounds, but at least one if the queue is not empty."""

    def advance(self, count: int) -> None:
        """Removes the first lines, which are settled. They were returned by the last `peek`."""

    def keep_refused(self, refused: Sequence[Refused]) -> None:
        """Keeps events that were refused for good. If the queue is durable, they are on the disk afterwards."""

    def describe(self) -> str:
        """Returns the location of the events, for messages."""

    def close(self) -> None:
        """Releases all resources. It is the last call."""

    def abandon(self) -> None:
        """Releases the resources in a forked process, without any effect on the parent."""


class MemoryQueue:
    """A queue in memory, bounded in events and in bytes."""

    durable = False
    lost = 0

    def __init__(self, events_max: int, bytes_max: int) -> None:
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._events_max = events_max
        self._bytes_max = bytes_max

    def __len__(self) -> int:
        return len(self._lines)

    def has_room(self, line: bytes) -> bool:
        if not self._lines:
            return True
        return len(self._lines) < self._events_max and self._bytes + len(line) <= self._bytes_max

    def append(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    def sync(self) -> None:
        """Does nothing: no call makes memory more durable."""

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        return first_within(islice(self._lines, events_max), bytes_max)

    def advance(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._lines.popleft())

    def keep_refused(self, refused: Sequence[Refused]) -> None:
        """Does nothing: the delivery logs each refused event and keeps the latest ones."""

    def describe(self) -> str:
        return "in memory"

    def close(self) -> None:
        self._lines.clear()
        self._bytes = 0

    def abandon(self) -> None:
        """Does nothing: the memory of a forked process is its own."""


def first_within(lines: islice[bytes] | list[bytes], bytes_max: int) -> list[bytes]:
    """Returns the first line, and the following ones until their total size would exceed `bytes_max`."""
    taken: list[bytes] = []
    total = 0
    for line in lines:
        total += len(line)
        if taken and total > bytes_max:
            break
        taken.append(line)
    return taken


def parse(line: bytes) -> dict[str, object] | None:
    """Returns the event of a line; None if the line is not an event because it is damaged or cut off."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "type" in event and "id" in event else None
