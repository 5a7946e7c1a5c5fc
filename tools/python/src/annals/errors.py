"""What can go wrong. Every exception of this package is an `AnnalsError`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Problem:
    """What the server says is wrong: problem details of RFC 9457."""

    type: str
    """A URI that names the kind of problem: `urn:annals:problem:…`, or `about:blank`."""
    title: str
    """The kind of problem in a few words."""
    status: int | None = None
    """The HTTP status, where the problem is that of a whole request."""
    detail: str | None = None
    """What is wrong this time."""
    members: Mapping[str, Any] = field(default_factory=dict)
    """The members beyond those of RFC 9457, such as `field`."""

    def __str__(self) -> str:
        where = self.members.get("field")
        text = self.detail or self.title
        return f"field `{where}`: {text}" if isinstance(where, str) and where not in text else text


@dataclass(frozen=True)
class Refused:
    """An event that the server will never take, and why."""

    event: Mapping[str, Any]
    """The event as it was sent."""
    problem: Problem
    """What is wrong with it."""


class AnnalsError(Exception):
    """The base of all exceptions of this package."""


class InvalidEvent(AnnalsError, ValueError):
    """The event cannot be sent as it is: it is not JSON, has no type, or its `id` is no UUID. It was not taken."""


class NoSession(AnnalsError, LookupError):
    """A step, or what belongs to one, was begun where no session is open in this context."""


class Closed(AnnalsError):
    """The client is closed, or was made in another process. The event was not taken."""


class QueueFull(AnnalsError):
    """There is no room for the event, and the client does not wait for any. The event was not taken."""


class SpoolError(AnnalsError):
    """The spool cannot be written or read. The event, if there was one, was not taken."""


class SpoolInUse(SpoolError):
    """Another client, of this process or another, has the spool folder open."""


class NotFlushed(AnnalsError):
    """The spool could not be flushed to the disk, with `fsync="always"`.

    The event **was taken**, and is sent like any other: do not emit it again. Only a loss of power before it is sent
    can lose it.
    """

    event_id: str | None = None
    """The event's id."""


class EventsLost(AnnalsError):
    """Somebody else deleted events from the spool before they were sent; the others are committed."""

    def __init__(self, count: int) -> None:
        events = f"{count} events are" if count != 1 else "1 event is"
        super().__init__(f"{events} gone from the spool: somebody else deleted its files, or cut them")
        self.count = count
        """How many events were lost since this was last raised."""


class EventsRefused(AnnalsError):
    """The server refused events for good; all others that were waited for are committed.

    With a spool the refused events are in its `refused.jsonl`.
    """

    def __init__(self, count: int, refused: Sequence[Refused]) -> None:
        first = refused[0] if refused else None
        example = f"; the last: {first.event.get('type')} {first.event.get('id')}: {first.problem}" if first else ""
        super().__init__(f"the server refused {count} event{'s' if count != 1 else ''}{example}")
        self.count = count
        """How many events were refused since this was last raised."""
        self.refused = tuple(refused)
        """The latest of them, newest first, at most 1,000."""


class NotDelivered(AnnalsError):
    """Events are not known to be committed.

    Some may be: those whose answer got lost. Without a spool and after `close` they are gone; else the client goes on
    sending them, or they stay in the spool.
    """

    def __init__(self, count: int, reason: str) -> None:
        super().__init__(f"{count} event{'s' if count != 1 else ''} not known to be committed: {reason}")
        self.count = count
        """How many events."""
        self.reason = reason
        """What stopped the last attempt."""


class ServerUnavailable(AnnalsError):
    """The server cannot be reached, or answers that it cannot serve now. The same may work later."""

    def __init__(self, message: str, *, problem: Problem | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.problem = problem
        """What the server said, where it answered."""
        self.retry_after = retry_after
        """Seconds after which it wants to be asked again, where it said so."""


class ApiError(AnnalsError):
    """The server refused a request. `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.status}: {problem}")
        self.problem = problem
        """What the server said."""


class Unauthorized(ApiError):
    """No API key was sent, or one that is not valid (401)."""


class Forbidden(ApiError):
    """The API key lacks the scope for this (403)."""


class NotFound(ApiError):
    """The resource does not exist (404)."""
