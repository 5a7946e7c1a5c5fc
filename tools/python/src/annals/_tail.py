"""Following the log: server-sent events, and the connections that they arrive on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from ._answers import check
from ._backoff import Backoff
from ._http import CONNECT_TIMEOUT_S, query
from ._reading import Json, unavailable
from .errors import ServerUnavailable

TAIL_TIMEOUT_S: Final = 60.0
"""After so long without any byte, not even the server's heartbeat, the client connects again."""


@dataclass(frozen=True)
class Message:
    """A server-sent event."""

    id: str | None
    event: str
    data: str


class MessageParser:
    """Reads `text/event-stream`, as the HTML standard defines it, from pieces of any size.

    Only CR, LF and CR LF end a line. JSON may contain other line separators.
    """

    def __init__(self) -> None:
        self._incomplete = b""
        self._id: str | None = None
        self.last_id: str | None = None
        """The position after which the next connection begins. A message without data can move it too."""
        self._event = ""
        self._data: list[str] = []

    def feed(self, content: bytes) -> Iterator[Message]:
        """Returns the messages that end in this piece."""
        content = self._incomplete + content
        # A CR at the end may be the first half of CR LF.
        held_back = content[-1:] if content.endswith(b"\r") else b""
        content = content[: len(content) - len(held_back)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, incomplete = content.split(b"\n")
        self._incomplete = incomplete + held_back
        for line in lines:
            message = self._take(line.decode("utf-8", "replace"))
            if message is not None:
                yield message

    def _take(self, line: str) -> Message | None:
        """Returns the message that the line ends, if it is the empty line after one."""
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


class Tail:
    """Follows the log over one connection after another, without doing the requests and the waiting itself."""

    def __init__(self, after: int, session: str | None, kind: str | Sequence[str] | None) -> None:
        self._after = after
        self._filters = {"session": session, "kind": kind}
        self._backoff = Backoff()
        self._has_connected = False
        self._parser = MessageParser()

    def request(self) -> dict[str, Any]:
        """Begins a new connection: returns the arguments of its request."""
        self._parser = MessageParser()
        return {
            "method": "GET",
            "url": "/v1/tail",
            "params": query({"after": self._after, **self._filters}),
            "headers": {"accept": "text/event-stream"},
            "timeout": httpx.Timeout(TAIL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        }

    def accept(self, response: httpx.Response) -> None:
        """Checks the answer to the request. The body of an answer that is an error must have been read."""
        check(response)
        self._has_connected = True

    def events(self, content: bytes) -> Iterator[Json]:
        """Returns the events that end in this piece of the answer."""
        for message in self._parser.feed(content):
            self._backoff.reset()
            self._after = int(message.id or self._after)
            yield json.loads(message.data)
        self._after = int(self._parser.last_id or self._after)

    def pause(self, error: httpx.TransportError | ServerUnavailable | None = None) -> float:
        """Returns the seconds to wait before the next connection, after one that ended.

        Raises ServerUnavailable if no connection has worked yet.
        """
        if error is None or self._has_connected:
            asked = error.retry_after if isinstance(error, ServerUnavailable) else None
            return max(asked or 0.0, self._backoff.next())
        if isinstance(error, ServerUnavailable):
            raise error
        raise unavailable(error) from error
