"""What waits to be sent: the seam between the sender and where events are kept meanwhile."""

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
    """Lines in order, taken from the front only once they are settled.

    All but `sync` is called under the lock of the delivery that owns the queue.
    """

    durable: bool
    """Whether what is left in it at the end is sent later."""
    lost: int
    """How many lines were taken and are gone, because somebody else deleted them."""

    def __len__(self) -> int:
        """How many lines wait."""

    def has_room(self, line: bytes) -> bool:
        """Whether the line fits. Into an empty queue every line does."""

    def append(self, line: bytes) -> None:
        """Takes a line, whole, with its line break. SpoolError where that fails, and then nothing of it is kept."""

    def sync(self) -> None:
        """Makes what was appended as durable as the queue can, else NotFlushed. Any thread, without the lock."""

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        """Some of the first lines: at least one where any is left, and beyond that at most so many."""

    def advance(self, count: int) -> None:
        """Drops the first lines, which are settled. They were among those of the last `peek`."""

    def keep_refused(self, refused: Sequence[Refused]) -> None:
        """Keeps what was refused for good. It is on the disk when this returns, where the queue is durable."""

    def describe(self) -> str:
        """Where the events are, for people."""

    def close(self) -> None:
        """Lets go of everything. Nothing is called after it."""


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
        """Nothing to do: memory is as durable as the process."""

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        return within(islice(self._lines, events_max), bytes_max)

    def advance(self, count: int) -> None:
        for _ in range(count):
            self._bytes -= len(self._lines.popleft())

    def keep_refused(self, refused: Sequence[Refused]) -> None:
        """Nothing to do: the client has the latest, and the logger was told of each."""

    def describe(self) -> str:
        return "in memory"

    def close(self) -> None:
        self._lines.clear()
        self._bytes = 0


def within(lines: islice[bytes] | list[bytes], bytes_max: int) -> list[bytes]:
    """The first of the lines, and those after it as long as all together have at most so many bytes."""
    taken: list[bytes] = []
    total = 0
    for line in lines:
        total += len(line)
        if taken and total > bytes_max:
            break
        taken.append(line)
    return taken


def parse(line: bytes) -> dict[str, object] | None:
    """The event of a line, or None where the line is none: damaged, or torn."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and "type" in event and "id" in event else None
