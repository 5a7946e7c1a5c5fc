"""What the server's answers mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from ._pace import retry_after
from .errors import ApiError, Forbidden, NotFound, Problem, ServerUnavailable, Unauthorized

_OF_THE_BODY: Final = frozenset({"urn:annals:problem:not-json", "urn:annals:problem:too-large"})
_AGAIN: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Settled:
    """Every event of the batch is committed, but for those that will never be."""

    refused: tuple[tuple[int, Problem], ...] = ()
    """Their places in the batch, and what is wrong with each."""
    last_seq: int = 0
    """The last place in the log that one of the others has."""


@dataclass(frozen=True)
class Later:
    """Nothing is known of the batch: it is to be sent again, all of it."""

    reason: str
    wait: float | None = None
    """Seconds that the server asked for."""


@dataclass(frozen=True)
class Held:
    """The server will not take anything from this client as things are, and the events are not at fault."""

    reason: str


@dataclass(frozen=True)
class Indigestible:
    """The server took nothing, because of what the batch is. One event alone that gets this answer is refused."""

    problem: Problem


Outcome = Settled | Later | Held | Indigestible


def outcome(response: httpx.Response, sent: int) -> Outcome:
    """What became of a batch of `sent` events."""
    status = response.status_code
    body = _json(response)
    if status == 200:
        return _settled(body, sent) or Later("the answer 200 does not say what became of each event")
    said = problem(response)
    if status in _AGAIN or status >= 500:
        return Later(f"{status}: {said}", retry_after(response.headers.get("retry-after")))
    if status == 422 and (settled := _settled(body, sent)) is not None:
        return settled
    # Only Annals can say that an event is no good: a proxy that refuses everything must not empty the queue.
    if status in (400, 413) and (said.type in _OF_THE_BODY or (status == 413 and sent > 1)):
        return Indigestible(said)
    return Held(f"{status}: {said}")


def problem(response: httpx.Response) -> Problem:
    """What an answer says is wrong. Any answer will do: of one that is no problem the status is told."""
    body = _json(response)
    title = response.reason_phrase or "unexpected answer"
    if not isinstance(body, dict):
        return Problem("about:blank", title, response.status_code)
    found = _problem(body, title)
    return Problem(found.type, found.title, response.status_code, found.detail, found.members)


def check(response: httpx.Response) -> None:
    """Raises what an answer to a reader says is wrong, if anything is."""
    if response.is_success:
        return
    found = problem(response)
    status = response.status_code
    if status in _AGAIN or status >= 500:
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
    results = body.get("results") if isinstance(body, dict) else None
    if not isinstance(results, list) or len(results) != sent:
        return None
    refused = []
    last_seq = 0
    for place, result in enumerate(results):
        if not isinstance(result, dict):
            return None
        error = result.get("error")
        if isinstance(error, dict):
            refused.append((place, _problem(error, "refused")))
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
