"""The exceptions of this package. Each is an `AnnalsError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """The reason why the server refused something, as problem details of RFC 9457."""

    type: str
    """A URI that names the kind of problem: `urn:annals:problem:…`, or `about:blank`."""
    title: str
    """The kind of problem in a few words."""
    status: int | None = None
    """The HTTP status, if the problem concerns a whole request."""
    detail: str | None = None
    """A description of this particular problem."""
    members: Mapping[str, Any] = field(default_factory=dict)
    """The members that RFC 9457 does not define, such as `field`."""

    def __str__(self) -> str:
        name = self.members.get("field")
        text = self.detail or self.title
        return f"field `{name}`: {text}" if isinstance(name, str) and name not in text else text


@dataclass(frozen=True)
class Refused:
    """An event that the server refused for good, and the reason."""

    event: Mapping[str, Any]
    """The event as it was sent."""
    problem: Problem
    """The reason."""


class AnnalsError(Exception):
    """The base of all exceptions of this package."""


class InvalidEvent(AnnalsError, ValueError):
    """The event cannot be sent: for example, it has no type, or its `id` is not a UUID. It was not accepted."""


class NoSession(AnnalsError, LookupError):
    """A step was begun in a context in which no session of the client is open."""


class Closed(AnnalsError):
    """The client is closed, has failed, or was made in another process. An event was not accepted."""


class QueueFull(AnnalsError):
    """The queue has no room for the event, and `when_full` is "raise". The event was not accepted."""


class SpoolError(AnnalsError):
    """The spool cannot be read or written. An event was not accepted."""


class SpoolInUse(SpoolError):
    """Another client, in this process or another, has the spool folder open."""


class NotFlushed(AnnalsError):
    """The spool could not be flushed to the disk, with `fsync="always"`.

    The event **was accepted** and will be sent like any other: do not emit it again. Only a loss of power before it is
    sent can lose it.
    """

    event_id: str | None = None
    """The event's id."""


class EventsLost(AnnalsError):
    """Somebody else deleted events from the spool before they were sent. After `flush` all others are committed."""

    def __init__(self, count: int) -> None:
        events = f"{count} events are" if count != 1 else "1 event is"
        super().__init__(f"{events} missing from the spool: somebody else deleted or truncated its files")
        self.count = count
        """Number of events that were lost since this was last raised."""


class EventsRefused(AnnalsError):
    """The server refused events for good. After `flush` all others are committed.

    With a spool, its `refused.jsonl` has the refused events.
    """

    def __init__(self, count: int, refused: Sequence[Refused]) -> None:
        last = refused[0] if refused else None
        example = f"; the last: {last.event.get('type')} {last.event.get('id')}: {last.problem}" if last else ""
        super().__init__(f"the server refused {count} event{'s' if count != 1 else ''}{example}")
        self.count = count
        """Number of events that were refused since this was last raised."""
        self.refused = tuple(refused)
        """The latest of them, newest first, at most 1,000."""


class NotDelivered(AnnalsError):
    """Events are not known to be committed.

    Some may be committed: those whose answer was lost. After `close` without a spool the others are lost. In every
    other case the client still sends them, or they stay in the spool.
    """

    def __init__(self, count: int, reason: str) -> None:
        super().__init__(f"{count} event{'s' if count != 1 else ''} not known to be committed: {reason}")
        self.count = count
        """Number of events."""
        self.reason = reason
        """The reason why the last attempt failed."""


class ServerUnavailable(AnnalsError):
    """The server cannot be reached, or cannot answer the request now. The same request may succeed later."""

    def __init__(self, message: str, *, problem: Problem | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        """The problem that the server reported, if it answered."""
        self.retry_after = retry_after
        """The pause in seconds that the server asked for, if it did."""


class ApiError(AnnalsError):
    """The server refused a request. `problem` has the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status}: {problem}")
        self.problem = problem
        """The problem that the server reported."""


class Unauthorized(ApiError):
    """The request had no API key, or one that is not valid (401)."""


class Forbidden(ApiError):
    """The API key lacks the scope that the request needs (403)."""


class NotFound(ApiError):
    """The resource does not exist (404)."""
