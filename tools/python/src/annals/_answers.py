"""Answers of the server to events and to readers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from ._backoff import retry_after
from .errors import ApiError, Forbidden, NotFound, Problem, ServerUnavailable, Unauthorized

_BODY_PROBLEMS: Final = frozenset({"urn:annals:problem:not-json", "urn:annals:problem:too-large"})
_RETRY_STATUSES: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Settled:
    """Every event of the batch is committed, except those that were refused for good."""

    refused: tuple[tuple[int, Problem], ...] = ()
    """The index in the batch of each refused event, and the reason."""
    last_seq: int = 0
    """The highest sequence number of the committed events."""


@dataclass(frozen=True)
class RetryLater:
    """Some events of the batch may not be committed. The whole batch is to be sent again."""

    reason: str
    wait: float | None = None
    """The pause in seconds that the server asked for."""


@dataclass(frozen=True)
class Blocked:
    """The server accepts nothing from this client until its key or address changes. The events are not at fault."""

    reason: str


@dataclass(frozen=True)
class BatchRefused:
    """The server refused the batch as a whole. An event that gets this answer alone is refused for good."""

    problem: Problem


Outcome = Settled | RetryLater | Blocked | BatchRefused


def outcome(response: httpx.Response, sent: int) -> Outcome:
    """Returns the result of sending a batch of `sent` events."""
    status = response.status_code
    body = _json(response)
    if status == 200:
        return _settled(body, sent) or RetryLater("the answer 200 lacks a result for each event")
    found = problem(response)
    if status in _RETRY_STATUSES or status >= 500:
        return RetryLater(f"{status}: {found}", retry_after(response.headers.get("retry-after")))
    if status == 422 and (settled := _settled(body, sent)) is not None:
        return settled
    # Only Annals itself can refuse an event. A proxy that refuses every request must not empty the queue.
    if status in (400, 413) and (found.type in _BODY_PROBLEMS or (status == 413 and sent > 1)):
        return BatchRefused(found)
    return Blocked(f"{status}: {found}")


def problem(response: httpx.Response) -> Problem:
    """Returns the problem that an answer reports. Without problem details in the answer, it has the status alone."""
    body = _json(response)
    title = response.reason_phrase or "unexpected answer"
    if not isinstance(body, dict):
        return Problem("about:blank", title, response.status_code)
    found = _problem(body, title)
    return Problem(found.type, found.title, response.status_code, found.detail, found.members)


def check(response: httpx.Response) -> None:
    """Raises ApiError or ServerUnavailable if the answer to a reader is an error."""
    if response.is_success:
        return
    found = problem(response)
    status = response.status_code
    if status in _RETRY_STATUSES or status >= 500:
        raise ServerUnavailable(
            f"{status}: {found}", problem=found, retry_after=retry_after(response.headers.get("retry-after"))
        )
    raise {401: Unauthorized, 403: Forbidden, 404: NotFound}.get(status, ApiError)(found)


def _problem(fields: Mapping[str, Any], title: str) -> Problem:
    def text(name: str) -> str | None:
        value = fields.get(name)
        return value if isinstance(value, str) else None

    status = fields.get("status")
    return Problem(
        text("type") or "about:blank",
        text("title") or title,
        status if isinstance(status, int) else None,
        text("detail"),
        {name: value for name, value in fields.items() if name not in ("type", "title", "status", "detail")},
    )


def _settled(body: Any, sent: int) -> Settled | None:
    """Returns the results of a batch; None if the answer does not have one for each event."""
    results = body.get("results") if isinstance(body, dict) else None
    if not isinstance(results, list) or len(results) != sent:
        return None
    refused = []
    last_seq = 0
    for index, result in enumerate(results):
        if not isinstance(result, dict):
            return None
        error = result.get("error")
        if isinstance(error, dict):
            refused.append((index, _problem(error, "refused")))
        elif isinstance(seq := result.get("seq"), int):
            last_seq = max(last_seq, seq)
        else:
            return None
    return Settled(tuple(refused), last_seq)


def _json(response: httpx.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None
