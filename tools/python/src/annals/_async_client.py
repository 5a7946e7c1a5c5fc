"""The client for asyncio."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from . import _current
from ._answers import check
from ._async_session import AsyncSession, AsyncStep
from ._delivery import WhenFull
from ._encode import encode
from ._http import path_part, query
from ._open import end, open_delivery, open_reader, unavailable
from ._pace import Backoff
from ._queue import Fsync
from ._reading import LOOK_FIRST_S, LOOK_LONGEST_S, TAIL_IDLE_S, Json, MessageParser, Page, body_of, head_of, is_visible
from .errors import Closed, EventsLost, EventsRefused, NotDelivered, NotFlushed, Refused, ServerUnavailable
from .fields import SessionFields, StepFields

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

logger = logging.getLogger("annals")


class AsyncClient:
    """The same as `Client`, for asyncio: what may wait is awaited.

    It takes the same settings, and `async_transport` for its readers. Events are sent by a thread here too, so that a
    busy loop holds nothing up. An event is written to the spool by the loop's own thread, which takes some
    microseconds; with `fsync="always"` the disk is waited for elsewhere.
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
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._delivery, _ = open_delivery(
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
        self._http = open_reader(url, api_key, timeout=timeout, verify=verify, transport=async_transport)

    # Recording.

    async def emit(self, event: Mapping[str, Any]) -> str:
        """Takes an event, as docs/events.md describes them, and returns its id.

        An event without an `id` gets one. Waits while the queue is full, unless the client was told to raise. Raises
        InvalidEvent, QueueFull, SpoolError and Closed; then the event was not taken. With `fsync="always"`, NotFlushed:
        it was taken, and is not safe from a loss of power. What the server has to say against its fields is heard
        later: see `refused` and `flush`.
        """
        event_id, line = encode(event)
        while (room := self._delivery.try_put(line)) is not None:
            await asyncio.wrap_future(room)
        if self._delivery.fsync_always:
            try:
                await asyncio.to_thread(self._delivery.sync)
            except NotFlushed as error:
                error.event_id = event_id
                raise
        return event_id

    def session(
        self, profile: str | None = None, *, id: str | None = None, **fields: Unpack[SessionFields]
    ) -> AsyncSession:
        """A session, for `async with`; or a decorator, which makes a session of every call.

        Begun within another session of this client, it has that as its `parent_session`.
        """
        return AsyncSession(self, id, {"profile": profile, **fields})

    def step(
        self,
        module: str | None = None,
        *,
        id: str | None = None,
        capture_input: bool = False,
        capture_output: bool = False,
        **fields: Unpack[StepFields],
    ) -> AsyncStep:
        """A step of the session, or part of the step, that is open here; for `async with`, or as a decorator.

        As a decorator, each call is a step; `module` is the function's name unless it is given, and `capture_input` and
        `capture_output` record arguments and result. NoSession where no session is open.
        """
        return AsyncStep(self, None, module, id, capture_input, capture_output, fields)

    @property
    def current_session(self) -> str | None:
        """The id of the session that is open here."""
        scope = _current.innermost(self)
        return scope._session_id if scope is not None else None

    @property
    def current_step(self) -> AsyncStep | None:
        """The step that is open here."""
        scope = _current.innermost(self)
        return scope if isinstance(scope, AsyncStep) else None

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

    async def flush(self, timeout: float | None = 30.0, *, visible: bool = False) -> None:
        """Returns when all that was taken is committed. `timeout` is in seconds; None waits for as long as it takes.

        `visible` waits until readers see it, too; that needs the scope read. Raises NotDelivered when time is up, or at
        once where waiting does not help, as with an API key that is not valid; ServerUnavailable where all is committed
        and not visible in time; EventsRefused where events were refused since it was last raised, once all others are
        committed.
        """
        until = None if timeout is None else time.monotonic() + timeout
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._delivery.settled()), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            raise self._delivery.not_delivered() from None
        if visible:
            await self._wait_visible(until)
        self._delivery.report_refused()

    async def _wait_visible(self, until: float | None) -> None:
        backoff = Backoff(LOOK_FIRST_S, LOOK_LONGEST_S)
        while not is_visible(body_of(await self._get("/v1/projections", {})), self._delivery.last_seq):
            if until is not None and time.monotonic() > until:
                raise ServerUnavailable("all is committed, but the read tables do not hold it yet")
            await asyncio.sleep(backoff.next())

    async def close(self, timeout: float | None = 10.0) -> None:
        """Takes no more events, and waits up to `timeout` seconds until the others are committed. Twice is as once.

        What is left then stays in the spool, for the next client that opens it; where the server is away, that is not
        waited for. Without a spool NotDelivered says how many events are lost. EventsRefused as from `flush`. A request
        that is under way then is not cut off; until it ends, this process cannot open the same spool again.
        """
        if not self._delivery.begin_close():
            return
        with suppress(TimeoutError, asyncio.TimeoutError, NotDelivered):
            await asyncio.wait_for(asyncio.wrap_future(self._delivery.settled()), timeout)
        await self._http.aclose()
        await asyncio.to_thread(end, self._delivery)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except (NotDelivered, EventsLost, EventsRefused) as failure:
            if error is None:
                raise
            logger.error("%s", failure)

    # Reading.

    def sessions(self, *, limit: int | None = None, **filters: object) -> AsyncIterator[Json]:
        """Sessions, newest first, as rows of the read table; pages are asked for as they are needed.

        `limit` is the most to give. Filters: status, profile, conversation, since, until, module, max_confidence,
        with_findings, text; times are `datetime` or RFC 3339. Raises ApiError and ServerUnavailable.
        """
        return self._list("/v1/sessions", "sessions", limit, filters)

    async def session_record(self, id: str) -> Json:
        """A session with its steps, decisions and findings. NotFound where there is none."""
        return cast(Json, body_of(await self._get("/v1/sessions/" + path_part(id), {})))

    def search(self, q: str, *, limit: int | None = None, **filters: object) -> AsyncIterator[Json]:
        """Events in which all the words stand: hits with a `snippet`, newest first.

        A phrase stands in double quotes, the beginning of words before a star. Filters: session, kind;
        `order="rank"` gives the best matches first, at most 1,000.
        """
        return self._list("/v1/search", "hits", limit, {"q": q, **filters})

    async def tail(
        self, after: int | None = None, *, session: str | None = None, kind: str | Sequence[str] | None = None
    ) -> AsyncGenerator[Json, None]:
        """Events as they are committed, without end, each with its `seq`.

        Those after the place `after` first; None is from now on. `session` and `kind`, a type or several, narrow it. A
        connection that breaks is made again, and goes on where it was. Raises ServerUnavailable only where the first
        attempt fails.
        """
        if after is None:
            after = head_of(body_of(await self._get("/v1/log", {})))
        backoff = Backoff()
        connected = False
        while True:
            if self._http.is_closed:
                raise Closed("the client is closed")
            parser = MessageParser()
            try:
                async with self._http.stream(
                    "GET",
                    "/v1/tail",
                    params=query(after=after, session=session, kind=kind),
                    headers={"accept": "text/event-stream"},
                    timeout=httpx.Timeout(TAIL_IDLE_S, connect=5.0),
                ) as response:
                    if not response.is_success:
                        await response.aread()
                    check(response)
                    connected = True
                    async for content in response.aiter_bytes():
                        for message in parser.feed(content):
                            backoff.reset()
                            after = int(message.id or after)
                            yield json.loads(message.data)
                        after = int(parser.last_id or after)
            except (httpx.TransportError, ServerUnavailable) as error:
                if not connected:
                    raise unavailable(error) from error
                wait = error.retry_after if isinstance(error, ServerUnavailable) else None
                await asyncio.sleep(max(wait or 0.0, backoff.next()))
            else:
                await asyncio.sleep(backoff.next())

    async def _list(
        self, path: str, name: str, limit: int | None, filters: Mapping[str, object]
    ) -> AsyncIterator[Json]:
        page = Page(name, limit)
        while page.more:
            for item in page.items(body_of(await self._get(path, {**filters, **page.parameters()}))):
                yield item

    async def _get(self, path: str, parameters: Mapping[str, object]) -> httpx.Response:
        if self._http.is_closed:
            raise Closed("the client is closed")
        try:
            response = await self._http.get(path, params=query(**parameters))
        except httpx.TransportError as error:
            raise unavailable(error) from error
        check(response)
        return response
