"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from . import _current
from ._async_session import AsyncSession, AsyncStep
from ._base import ClientBase
from ._closing import finish, suppressed_by
from ._delivery import WhenFull
from ._encode import encode
from ._http import async_http, path_part, query
from ._queue import Fsync
from ._reading import (
    LOG,
    PROJECTIONS,
    SEARCH,
    SESSIONS,
    CatchUp,
    Json,
    Pages,
    check_open,
    content_of,
    head_of,
    network_errors,
)
from ._tail import Tail
from .errors import NotDelivered, NotFlushed, ServerUnavailable
from .fields import SessionFields, StepFields

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class AsyncClient(ClientBase):
    """The same as `Client`, for asyncio: every method that may wait is awaited.

    It takes the same settings, and `async_transport` for reading. A thread sends events here too, so a busy event loop
    does not delay them. The event loop itself writes an event to the spool, which takes some microseconds; with
    `fsync="always"` another thread waits for the disk.
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
        retry_pause_min: float = 0.2,
        retry_pause_max: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        async_transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(
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
            retry_pause_min=retry_pause_min,
            retry_pause_max=retry_pause_max,
            transport=transport,
        )
        self._async_http = async_http(url, api_key, timeout, verify, async_transport)

    # Recording.

    async def emit(self, event: Mapping[str, Any]) -> str:
        """Accepts an event, in the form of docs/events.md, and returns its id.

        An event without an `id` gets one. While the queue is full, it waits or raises QueueFull, as `when_full` says.
        After InvalidEvent, QueueFull, SpoolError or Closed the event was not accepted. After NotFlushed, which only
        `fsync="always"` raises, it was accepted, but a loss of power can lose it. The server checks the fields of the
        event later: see `refused` and `flush`.
        """
        event_id, line = encode(event)
        # Before it is accepted: an event that the queue refuses is a gap that a declaration of coverage shows.
        self._sent.add(event)
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
        """Makes a session, for `async with`. As a decorator, it makes a session of every call.

        A session that begins inside another one of this client has that one as its `parent_session`.
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
        """Makes a step of the session or step that is open in this context, for `async with` or as a decorator.

        As a decorator, it makes a step of every call. Then `module` is the function's name by default, and
        `capture_input` and `capture_output` record the arguments and the result. If no session is open, NoSession is
        raised when the step begins.
        """
        return AsyncStep(self, None, module, id, capture_input, capture_output, fields)

    @property
    def current_step(self) -> AsyncStep | None:
        """The step that is open in this context."""
        scope = _current.innermost(self)
        return scope if isinstance(scope, AsyncStep) else None

    # Delivery.

    async def flush(self, timeout: float | None = 30.0, *, visible: bool = False) -> None:
        """Waits until every event accepted so far is committed. `timeout` is in seconds; None waits without a timeout.

        With `visible` it then waits until readers see them, which needs the API key's scope `read`.

        Raises NotDelivered after the timeout; or at once if waiting cannot help, as with an invalid API key. Raises
        ServerUnavailable if every event is committed, but is not visible in time. Raises EventsRefused or EventsLost if
        events were refused or lost that no earlier call has reported; all others are committed then.
        """
        catch_up = CatchUp(timeout)
        try:
            await asyncio.wait_for(asyncio.wrap_future(self._delivery.settled()), timeout)
        except (TimeoutError, asyncio.TimeoutError):
            raise self._delivery.not_delivered() from None
        if visible:
            position = self._delivery.last_seq
            while not catch_up.is_done(await self._get(PROJECTIONS), position):  # noqa: ASYNC110 (the server is polled)
                await asyncio.sleep(catch_up.pause())
        self._delivery.raise_unreported()

    async def close(self, timeout: float | None = 10.0) -> None:
        """Accepts no more events, and waits up to `timeout` seconds until the others are committed.

        A second call does nothing. With a spool, events that are left stay there for the next client that opens it;
        `close` does not wait for a server that is away. Without a spool, they are lost, and NotDelivered has their
        number. Raises EventsRefused and EventsLost like `flush`. A request that is running is not interrupted; until it
        ends, this process cannot open the same spool again.
        """
        if not self._delivery.begin_close():
            return
        with suppress(TimeoutError, asyncio.TimeoutError, NotDelivered):
            await asyncio.wait_for(asyncio.wrap_future(self._delivery.settled()), timeout)
        await self._async_http.aclose()
        await asyncio.to_thread(finish, self._delivery)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppressed_by(error, "the client was closed"):
            await self.close()

    # Reading.

    def sessions(self, *, limit: int | None = None, **filters: object) -> AsyncIterator[Json]:
        """Iterates over sessions, newest first, as rows of the read table. It requests each page when it is needed.

        `limit` is the largest number of sessions. Filters: status, profile, conversation, since, until, module,
        max_confidence, with_findings, text. Times are `datetime` or RFC 3339. Raises ApiError and ServerUnavailable.
        """
        return self._list(Pages(SESSIONS, "sessions", limit, filters))

    async def session_record(self, id: str) -> Json:
        """Returns a session with its steps, decisions and findings. Raises NotFound if there is none."""
        return cast(Json, await self._get(f"{SESSIONS}/{path_part(id)}"))

    def search(self, q: str, *, limit: int | None = None, **filters: object) -> AsyncIterator[Json]:
        """Iterates over the events that contain all the words, newest first, each with a `snippet`.

        Double quotes enclose a phrase, and `refund*` finds all words that begin with `refund`. Filters: session, kind.
        With `order="rank"` the best matches come first, at most 1,000.
        """
        return self._list(Pages(SEARCH, "hits", limit, {"q": q, **filters}))

    async def tail(
        self, after: int | None = None, *, session: str | None = None, kind: str | Sequence[str] | None = None
    ) -> AsyncGenerator[Json, None]:
        """Iterates over events as they are committed, without end, each with its `seq`.

        It begins after the position `after`; None leaves out the events that are in the log when the iteration begins.
        `session` and `kind`, a type or several, select events. After a broken connection it connects again, and
        continues after the last event. Raises ApiError, and ServerUnavailable if the first connection fails.
        """
        tail = Tail(head_of(await self._get(LOG)) if after is None else after, session, kind)
        while True:
            check_open(self._async_http)
            try:
                async with self._async_http.stream(**tail.request()) as response:
                    if not response.is_success:
                        await response.aread()
                    tail.accept(response)
                    async for content in response.aiter_bytes():
                        for event in tail.events(content):
                            yield event
            except (httpx.TransportError, ServerUnavailable) as error:
                await asyncio.sleep(tail.pause(error))
            else:
                await asyncio.sleep(tail.pause())

    async def _list(self, pages: Pages) -> AsyncIterator[Json]:
        while pages.more:
            for item in pages.items(await self._get(pages.path, pages.parameters())):
                yield item

    async def _get(self, path: str, parameters: Mapping[str, object] | None = None) -> Any:
        check_open(self._async_http)
        with network_errors():
            response = await self._async_http.get(path, params=query(parameters or {}))
        return content_of(response)
