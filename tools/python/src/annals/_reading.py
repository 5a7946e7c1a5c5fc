"""Reading without the waiting: requests, answers, pages and pauses, for both clients."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from ._answers import check
from ._backoff import Backoff
from .errors import Closed, ServerUnavailable

Json = dict[str, Any]

LOG: Final = "/v1/log"
PROJECTIONS: Final = "/v1/projections"
SEARCH: Final = "/v1/search"
SESSIONS: Final = "/v1/sessions"

PAGE_ITEMS: Final = 200
"""Number of items of a list that one request asks for."""
CATCH_UP_PAUSE_MIN_S: Final = 0.01
CATCH_UP_PAUSE_MAX_S: Final = 0.25


def check_open(http: httpx.Client | httpx.AsyncClient) -> None:
    """Raises Closed if the client of httpx is closed."""
    if http.is_closed:
        raise Closed("the client is closed")


@contextmanager
def network_errors() -> Iterator[None]:
    """Raises ServerUnavailable in place of an error of the network."""
    try:
        yield
    except httpx.TransportError as error:
        raise unavailable(error) from error


def unavailable(error: httpx.TransportError) -> ServerUnavailable:
    """Returns an error of the network as an exception of this package."""
    return ServerUnavailable(f"{type(error).__name__}: {error}")


def content_of(response: httpx.Response) -> Any:
    """Returns the JSON of an answer. Raises ApiError or ServerUnavailable if the answer is an error or not JSON."""
    check(response)
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        raise ServerUnavailable("the answer is not JSON: is this Annals?") from None


def head_of(log: Any) -> int:
    """Returns the last position of the log."""
    events = log.get("events") if isinstance(log, dict) else None
    if not isinstance(events, int):
        raise ServerUnavailable("the answer lacks the number of events: is this Annals?")
    return events


class Pages:
    """Requests for the pages of a list, each made from the cursor of the page before."""

    def __init__(self, path: str, name: str, limit: int | None, filters: Mapping[str, object]) -> None:
        self.path = path
        self._name = name
        self._filters = filters
        self._remaining = limit
        self._cursor: object = None
        self.more = limit is None or limit > 0
        """True if there is another page to ask for."""

    def parameters(self) -> dict[str, object]:
        """Returns the parameters of the next request."""
        limit = PAGE_ITEMS if self._remaining is None else min(self._remaining, PAGE_ITEMS)
        return {**self._filters, "limit": limit, "cursor": self._cursor}

    def items(self, page: Any) -> list[Json]:
        """Returns the items of a page."""
        found = page.get(self._name) if isinstance(page, dict) else None
        if not isinstance(found, list):
            raise ServerUnavailable(f"the answer lacks the list `{self._name}`: is this Annals?")
        items: list[Json] = found if self._remaining is None else found[: self._remaining]
        if self._remaining is not None:
            self._remaining -= len(items)
        self._cursor = page.get("next")
        self.more = self._cursor is not None and self._remaining != 0
        return items


class CatchUp:
    """Waiting until the read tables hold the log up to a position. The timeout begins when this is made."""

    def __init__(self, timeout: float | None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._backoff = Backoff(CATCH_UP_PAUSE_MIN_S, CATCH_UP_PAUSE_MAX_S)

    def is_done(self, projections: Any, position: int) -> bool:
        """Returns whether all read tables have caught up. Raises ServerUnavailable if not, and the timeout is over."""
        try:
            done = all(projection["position"] >= position for projection in projections["projections"])
        except (KeyError, TypeError):
            raise ServerUnavailable("the answer lacks the positions of the projections: is this Annals?") from None
        if not done and self._deadline is not None and time.monotonic() > self._deadline:
            raise ServerUnavailable("every event is committed, but the read tables have not caught up yet")
        return done

    def pause(self) -> float:
        """Returns the seconds to wait before the next request."""
        return self._backoff.next()
