"""What readers need: pages, and server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx

from .errors import ServerUnavailable

Json = dict[str, Any]

PAGE_EVENTS: Final = 200
"""Items that one request for a list asks for."""
LOOK_FIRST_S: Final = 0.01
LOOK_LONGEST_S: Final = 0.25
"""How often it is asked whether read tables hold what is committed."""
TAIL_IDLE_S: Final = 60.0
"""A tail that hears nothing for so long, not even the server's heartbeat, begins anew."""


@dataclass(frozen=True)
class Message:
    """A server-sent event."""

    id: str | None
    event: str
    data: str


class MessageParser:
    """Reads `text/event-stream` from pieces of any size, as the HTML standard says.

    Lines end with CR, LF or both, and with nothing else: JSON may hold other line separators.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._id: str | None = None
        self.last_id: str | None = None
        """The id to go on after. A message without data may tell it too."""
        self._event = ""
        self._data: list[str] = []

    def feed(self, content: bytes) -> Iterator[Message]:
        """The messages that end within this piece."""
        content = self._rest + content
        # The last byte may be the first half of CR LF.
        kept = content[-1:] if content.endswith(b"\r") else b""
        content = content[: len(content) - len(kept)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = content.split(b"\n")
        self._rest = rest + kept
        for line in lines:
            message = self._take(line.decode("utf-8", "replace"))
            if message is not None:
                yield message

    def _take(self, line: str) -> Message | None:
        if not line:
            data, event = self._data, self._event
            self._data, self._event = [], ""
            self.last_id = self._id
            return Message(self._id, event or "message", "\n".join(data)) if data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None


class Page:
    """Follows the cursors of a list."""

    def __init__(self, name: str, limit: int | None) -> None:
        self._name = name
        self._left = limit
        self._cursor: object = None
        self.more = limit is None or limit > 0

    def parameters(self) -> dict[str, object]:
        """What to add to the next request."""
        limit = PAGE_EVENTS if self._left is None else min(self._left, PAGE_EVENTS)
        return {"limit": limit, "cursor": self._cursor}

    def items(self, body: Any) -> list[Json]:
        """The items of an answer."""
        found = body.get(self._name) if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise ServerUnavailable(f"the answer has no list `{self._name}`: is this Annals?")
        items: list[Json] = found if self._left is None else found[: self._left]
        if self._left is not None:
            self._left -= len(items)
        self._cursor = body.get("next")
        self.more = self._cursor is not None and self._left != 0
        return items


def is_visible(projections: Any, seq: int) -> bool:
    """Whether all read tables hold what is in the log up to a place."""
    try:
        return all(projection["position"] >= seq for projection in projections["projections"])
    except (KeyError, TypeError):
        raise ServerUnavailable("the answer does not say where the read tables are: is this Annals?") from None


def head_of(log: Any) -> int:
    """The last place in the log."""
    events = log.get("events") if isinstance(log, dict) else None
    if not isinstance(events, int):
        raise ServerUnavailable("the answer does not say how many events there are: is this Annals?")
    return events


def body_of(response: httpx.Response) -> Any:
    """The JSON of a good answer."""
    try:
        return json.loads(response.content)
    except ValueError:
        raise ServerUnavailable("the answer is not JSON: is this Annals?") from None
