"""The client."""

from __future__ import annotations

import json
import logging
import os
import ssl
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from . import _current
from ._answers import check
from ._delivery import WhenFull
from ._encode import encode
from ._http import path_part, query
from ._open import end, open_delivery, unavailable
from ._pace import Backoff
from ._queue import Fsync
from ._reading import LOOK_FIRST_S, LOOK_LONGEST_S, TAIL_IDLE_S, Json, MessageParser, Page, body_of, head_of, is_visible
from ._session import Session, Step
from .errors import Closed, EventsLost, EventsRefused, NotDelivered, NotFlushed, Refused, ServerUnavailable
from .fields import SessionFields, StepFields

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

logger = logging.getLogger("annals")


class Client:
    """Records to a server of Annals, and reads from it.

    Events are taken at once and sent by a thread, in order and in batches. `flush` waits until they are committed.
    A client may be used from any number of threads, and belongs to the process that made it: make one after a fork.

    url: `http://…`, `https://…` or `unix:/path`; else ANNALS_URL, else http://127.0.0.1:4318.
    api_key: else ANNALS_API_KEY, else none.
    spool: a folder that keeps events until they are committed; else ANNALS_SPOOL, else events are kept in memory.
    spool_bytes: what the spool may hold.
    fsync: when the spool is flushed to the disk. "second", the default: every second, while events are in it. A process
        that dies loses nothing; a machine that does, at most the last second. "always": before `emit` returns.
        "never": when the system pleases.
    queue_events, queue_bytes: what may wait in memory where there is no spool.
    when_full: "block", the default: who emits waits for room, for as long as it takes. "raise": QueueFull.
    batch_events, batch_bytes: the most that is sent at once; an event larger than that goes alone.
    linger: seconds that the first event of a batch waits for others. `flush` does not wait for it.
    gzip: whether requests are compressed.
    timeout: seconds that a request may take, each for sending and for the answer.
    verify: a TLS context, or False for no verification of the server's certificate.
    retry_first, retry_longest: the first and longest wait between attempts, in seconds. Each failure doubles it.
    transport: instead of the network, for tests.

    Raises ValueError for an address that is none, SpoolInUse and SpoolError.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        spool: str | os.PathLike[str] | None = None,
        *,
        spool_bytes: int = 1 << 30,
        fsync: Fsync = "second",
        queue_events: int = 10_000,
        queue_bytes: int = 64 << 20,
        when_full: WhenFull = "block",
        batch_events: int = 500,
        batch_bytes: int = 1 << 20,
        linger: float = 0.02,
        gzip: bool = False,
        timeout: float = 30.0,
        verify: ssl.SSLContext | bool = True,
        retry_first: float = 0.2,
        retry_longest: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._delivery, self._http = open_delivery(
            url,
            api_key,
            spool,
            spool_bytes=spool_bytes,
            fsync=fsync,
            queue_events=queue_events,
            queue_bytes=queue_bytes,
            when_full=when_full,
            batch_events=batch_events,
            batch_bytes=batch_bytes,
            linger=linger,
            gzip=gzip,
            timeout=timeout,
            verify=verify,
            retry_first=retry_first,
            retry_longest=retry_longest,
            transport=transport,
        )

    # Recording.

    def emit(self, event: Mapping[str, Any]) -> str:
        """Takes an event, as docs/events.md describes them, and returns its id.

        An event without an `id` gets one. Waits while the queue is full, unless the client was told to raise. Raises
        InvalidEvent, QueueFull, SpoolError and Closed; then the event was not taken. With `fsync="always"`, NotFlushed:
        it was taken, and is not safe from a loss of power. What the server has to say against its fields is heard
        later: see `refused` and `flush`.
        """
        event_id, line = encode(event)
        try:
            self._delivery.put(line)
        except NotFlushed as error:
            error.event_id = event_id
            raise
        return event_id

    def session(self, profile: str | None = None, *, id: str | None = None, **fields: Unpack[SessionFields]) -> Session:
        """A session, for `with`; or a decorator, which makes a session of every call.

        Begun within another session of this client, it has that as its `parent_session`.
        """
        return Session(self, id, {"profile": profile, **fields})

    def step(
        self,
        module: str | None = None,
        *,
        id: str | None = None,
        capture_input: bool = False,
        capture_output: bool = False,
        **fields: Unpack[StepFields],
    ) -> Step:
        """A step of the session, or part of the step, that is open here; for `with`, or as a decorator.

        As a decorator, each call is a step; `module` is the function's name unless it is given, and `capture_input` and
        `capture_output` record arguments and result. NoSession where no session is open.
        """
        return Step(self, None, module, id, capture_input, capture_output, fields)

    @property
    def current_session(self) -> str | None:
        """The id of the session that is open here."""
        scope = _current.innermost(self)
        return scope._session_id if scope is not None else None

    @property
    def current_step(self) -> Step | None:
        """The step that is open here."""
        scope = _current.innermost(self)
        return scope if isinstance(scope, Step) else None

    # Delivery.

    @property
    def pending(self) -> int:
        """How many events are not known to be committed."""
        return self._delivery.pending

    @property
    def refused(self) -> list[Refused]:
        """The events that the server refused for good, oldest first, and why: the latest 1,000."""
        return list(self._delivery.refused)

    @property
    def refused_count(self) -> int:
        """How many events the server refused for good."""
        return self._delivery.refused_count

    def flush(self, timeout: float | None = 30.0, *, visible: bool = False) -> None:
        """Returns when all that was taken is committed. `timeout` is in seconds; None waits for as long as it takes.

        `visible` waits until readers see it, too; that needs the scope read. Raises NotDelivered when time is up, or at
        once where waiting does not help, as with an API key that is not valid; ServerUnavailable where all is committed
        and not visible in time; EventsRefused where events were refused since it was last raised, once all others are
        committed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        try:
            self._delivery.settled().result(timeout)
        except FutureTimeout:
            raise self._delivery.not_delivered() from None
        if visible:
            self._wait_visible(until)
        self._delivery.report_refused()

    def _wait_visible(self, until: float | None) -> None:
        backoff = Backoff(LOOK_FIRST_S, LOOK_LONGEST_S)
        while not is_visible(body_of(self._get("/v1/projections", {})), self._delivery.last_seq):
            if until is not None and time.monotonic() > until:
                raise ServerUnavailable("all is committed, but the read tables do not hold it yet")
            time.sleep(backoff.next())

    def close(self, timeout: float | None = 10.0) -> None:
        """Takes no more events, and waits up to `timeout` seconds until the others are committed. Twice is as once.

        What is left then stays in the spool, for the next client that opens it; where the server is away, that is not
        waited for. Without a spool NotDelivered says how many events are lost. EventsRefused as from `flush`. A request
        that is under way then is not cut off; until it ends, this process cannot open the same spool again.
        """
        if not self._delivery.begin_close():
            return
        with suppress(FutureTimeout, NotDelivered):
            self._delivery.settled().result(timeout)
        end(self._delivery)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except (NotDelivered, EventsLost, EventsRefused) as failure:
            if error is None:
                raise
            logger.error("%s", failure)

    # Reading.

    def sessions(self, *, limit: int | None = None, **filters: object) -> Iterator[Json]:
        """Sessions, newest first, as rows of the read table; pages are asked for as they are needed.

        `limit` is the most to give. Filters: status, profile, conversation, since, until, module, max_confidence,
        with_findings, text; times are `datetime` or RFC 3339. Raises ApiError and ServerUnavailable.
        """
        return self._list("/v1/sessions", "sessions", limit, filters)

    def session_record(self, id: str) -> Json:
        """A session with its steps, decisions and findings. NotFound where there is none."""
        return cast(Json, body_of(self._get("/v1/sessions/" + path_part(id), {})))

    def search(self, q: str, *, limit: int | None = None, **filters: object) -> Iterator[Json]:
        """Events in which all the words stand: hits with a `snippet`, newest first.

        A phrase stands in double quotes, the beginning of words before a star. Filters: session, kind;
        `order="rank"` gives the best matches first, at most 1,000.
        """
        return self._list("/v1/search", "hits", limit, {"q": q, **filters})

    def tail(
        self, after: int | None = None, *, session: str | None = None, kind: str | Sequence[str] | None = None
    ) -> Generator[Json, None, None]:
        """Events as they are committed, without end, each with its `seq`.

        Those after the place `after` first; None is from now on. `session` and `kind`, a type or several, narrow it. A
        connection that breaks is made again, and goes on where it was. Raises ServerUnavailable only where the first
        attempt fails.
        """
        if after is None:
            after = head_of(body_of(self._get("/v1/log", {})))
        backoff = Backoff()
        connected = False
        while True:
            if self._http.is_closed:
                raise Closed("the client is closed")
            parser = MessageParser()
            try:
                with self._http.stream(
                    "GET",
                    "/v1/tail",
                    params=query(after=after, session=session, kind=kind),
                    headers={"accept": "text/event-stream"},
                    timeout=httpx.Timeout(TAIL_IDLE_S, connect=5.0),
                ) as response:
                    if not response.is_success:
                        response.read()
                    check(response)
                    connected = True
                    for content in response.iter_bytes():
                        for message in parser.feed(content):
                            backoff.reset()
                            after = int(message.id or after)
                            yield json.loads(message.data)
                        after = int(parser.last_id or after)
            except (httpx.TransportError, ServerUnavailable) as error:
                if not connected:
                    raise unavailable(error) from error
                wait = error.retry_after if isinstance(error, ServerUnavailable) else None
                time.sleep(max(wait or 0.0, backoff.next()))
            else:
                time.sleep(backoff.next())

    def _list(self, path: str, name: str, limit: int | None, filters: Mapping[str, object]) -> Iterator[Json]:
        page = Page(name, limit)
        while page.more:
            yield from page.items(body_of(self._get(path, {**filters, **page.parameters()})))

    def _get(self, path: str, parameters: Mapping[str, object]) -> httpx.Response:
        if self._http.is_closed:
            raise Closed("the client is closed")
        try:
            response = self._http.get(path, params=query(**parameters))
        except httpx.TransportError as error:
            raise unavailable(error) from error
        check(response)
        return response
