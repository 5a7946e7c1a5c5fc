"""The numbers of events that a client has sent for its open sessions, for declarations of coverage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from ._ids import uuid7


@dataclass
class _Count:
    """The count of one session."""

    scopes: int = 0
    """Number of open `Session` objects with this id."""
    instance: str = field(default_factory=lambda: str(uuid7()))
    """Tells this count from those of other runs."""
    kinds: Counter[str] = field(default_factory=Counter)


class Sent:
    """Counts events by session and kind, from the start of a session until its end. Several threads may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open: dict[str, _Count] = {}

    def begin(self, session_id: str) -> None:
        """Counts the events of a session from now on, with the one that started it."""
        with self._lock:
            count = self._open.setdefault(session_id, _Count())
            count.scopes += 1
            count.kinds["session.started"] += 1

    def end(self, session_id: str) -> None:
        """Forgets the count of a session, unless it is still open elsewhere."""
        with self._lock:
            count = self._open.get(session_id)
            if count is not None:
                count.scopes -= 1
                if count.scopes == 0:
                    del self._open[session_id]

    def add(self, event: Mapping[str, Any]) -> None:
        """Counts an event, if its session is open."""
        session_id = event.get("session")
        if not isinstance(session_id, str) or session_id not in self._open:
            return
        with self._lock:
            count = self._open.get(session_id)
            if count is not None:
                count.kinds[event["type"]] += 1

    def of(self, session_id: str) -> dict[str, Any]:
        """Returns the fields of a declaration of coverage that state the count of a session."""
        with self._lock:
            count = self._open.get(session_id)
            return {} if count is None else {"instance": count.instance, "announced": dict(count.kinds)}
