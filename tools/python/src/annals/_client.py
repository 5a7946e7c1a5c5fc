"""The client."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import httpx

from . import _current
from ._base import ClientBase
from ._closing import finish, suppressed_by
from ._encode import encode
from ._http import path_part, query
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
from ._session import Session, Step
from ._tail import Tail
from .errors import NotDelivered, NotFlushed, ServerUnavailable
from .fields import SessionFields, StepFields

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class Client(ClientBase):
    """Records to an Annals server, and reads from it.

    The client accepts events at once. A thread sends them, in order and in batches; `flush` waits until they are
    committed. Any number of threads may use a client. It works only in the process that made it: make one after a fork.

    url: `http://…`, `https://…` or `unix:/path`. Default: ANNALS_URL, or else http://127.0.0.1:4318.
    api_key: the API key. Default: ANNALS_API_KEY, or else none.
    spool: the folder that keeps events until they are committed. Default: ANNALS_SPOOL, or else events stay in memory.
    spool_bytes: the largest size of the spool.
    fsync: when the spool is flushed to the disk. "second", the default: every second while it has events. Then no event
        is lost if the process is killed; a loss of power loses at most the last second. "always": before `emit`
        returns. "never": when the operating system does it.
    queue_events, queue_bytes: the largest size of the queue in memory, which is used without a spool.
    when_full: "block", the default: `emit` waits for room, without a timeout. "raise": `emit` raises QueueFull.
    batch_events, batch_bytes: the largest size of a batch. A larger event is sent alone.
    linger: seconds that the first event of a batch waits for others. A `flush` ends this wait.
    gzip: True compresses requests.
    timeout: the timeout of a request in seconds, for sending and for receiving separately.
    verify: a TLS context; or False, which accepts any certificate of the server.
    retry_pause_min, retry_pause_max: the shortest and longest pause between attempts, in seconds. Each failure doubles
        the pause.
    transport: a replacement of the network, for tests.

    Raises ValueError for a setting that is not valid, SpoolInUse, and SpoolError.
    """

    # Recording.

    def emit(self, event: Mapping[str, Any]) -> str:
        """Accepts an event, in the form of docs/events.md, and returns its id.

        An event without an `id` gets one. While the queue is full, it waits or raises QueueFull, as `when_full` says.
        After InvalidEvent, QueueFull, SpoolError or Closed the event was not accepted. After NotFlushed, which only
        `fsync="always"` raises, it was accepted, but a loss of power can lose it. The server checks the fields of the
        event later: see `refused` and `flush`.
        """
        event_id, line = encode(event)
        # Before it is accepted: an event that the queue refuses is a gap that a declaration of coverage shows.
        self._sent.add(event)
        try:
            self._delivery.put(line)
        except NotFlushed as error:
            error.event_id = event_id
            raise
        return event_id

    def session(self, profile: str | None = None, *, id: str | None = None, **fields: Unpack[SessionFields]) -> Session:
        """Makes a session, for `with`. As a decorator, it makes a session of every call.

        A session that begins inside another one of this client has that one as its `parent_session`.
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
        """Makes a step of the session or step that is open in this context, for `with` or as a decorator.

        As a decorator, it makes a step of every call. Then `module` is the function's name by default, and
        `capture_input` and `capture_output` record the arguments and the result. If no session is open, NoSession is
        raised when the step begins.
        """
        return Step(self, None, module, id, capture_input, capture_output, fields)

    @property
    def current_step(self) -> Step | None:
        """The step that is open in this context."""
        scope = _current.innermost(self)
        return scope if isinstance(scope, Step) else None

    # Delivery.

    def flush(self, timeout: float | None = 30.0, *, visible: bool = False) -> None:
        """Waits until every event accepted so far is committed. `timeout` is in seconds; None waits without a timeout.

        With `visible` it then waits until readers see them, which needs the API key's scope `read`.

        Raises NotDelivered after the timeout; or at once if waiting cannot help, as with an invalid API key. Raises
        ServerUnavailable if every event is committed, but is not visible in time. Raises EventsRefused or EventsLost if
        events were refused or lost that no earlier call has reported; all others are committed then.
        """
        catch_up = CatchUp(timeout)
        try:
            self._delivery.settled().result(timeout)
        except FutureTimeout:
            raise self._delivery.not_delivered() from None
        if visible:
            position = self._delivery.last_seq
            while not catch_up.is_done(self._get(PROJECTIONS), position):
                time.sleep(catch_up.pause())
        self._delivery.raise_unreported()

    def close(self, timeout: float | None = 10.0) -> None:
        """Accepts no more events, and waits up to `timeout` seconds until the others are committed.

        A second call does nothing. With a spool, events that are left stay there for the next client that opens it;
        `close` does not wait for a server that is away. Without a spool, they are lost, and NotDelivered has their
        number. Raises EventsRefused and EventsLost like `flush`. A request that is running is not interrupted; until it
        ends, this process cannot open the same spool again.
        """
        if not self._delivery.begin_close():
            return
        with suppress(FutureTimeout, NotDelivered):
            self._delivery.settled().result(timeout)
        finish(self._delivery)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppressed_by(error, "the client was closed"):
            self.close()

    # Reading.

    def sessions(self, *, limit: int | None = None, **filters: object) -> Iterator[Json]:
        """Iterates over sessions, newest first, as rows of the read table. It requests each page when it is needed.

        `limit` is the largest number of sessions. Filters: status, profile, conversation, since, until, module,
        max_confidence, with_findings, text. Times are `datetime` or RFC 3339. Raises ApiError and ServerUnavailable.
        """
        return self._list(Pages(SESSIONS, "sessions", limit, filters))

    def session_record(self, id: str) -> Json:
        """Returns a session with its steps, decisions and findings. Raises NotFound if there is none."""
        return cast(Json, self._get(f"{SESSIONS}/{path_part(id)}"))

    def search(self, q: str, *, limit: int | None = None, **filters: object) -> Iterator[Json]:
        """Iterates over the events that contain all the words, newest first, each with a `snippet`.

        Double quotes enclose a phrase, and `refund*` finds all words that begin with `refund`. Filters: session, kind.
        With `order="rank"` the best matches come first, at most 1,000.
        """
        return self._list(Pages(SEARCH, "hits", limit, {"q": q, **filters}))

    def tail(
        self, after: int | None = None, *, session: str | None = None, kind: str | Sequence[str] | None = None
    ) -> Generator[Json, None, None]:
        """Iterates over events as they are committed, without end, each with its `seq`.

        It begins after the position `after`; None leaves out the events that are in the log when the iteration begins.
        `session` and `kind`, a type or several, select events. After a broken connection it connects again, and
        continues after the last event. Raises ApiError, and ServerUnavailable if the first connection fails.
        """
        tail = Tail(head_of(self._get(LOG)) if after is None else after, session, kind)
        while True:
            check_open(self._http)
            try:
                with self._http.stream(**tail.request()) as response:
                    if not response.is_success:
                        response.read()
                    tail.accept(response)
                    for content in response.iter_bytes():
                        yield from tail.events(content)
            except (httpx.TransportError, ServerUnavailable) as error:
                time.sleep(tail.pause(error))
            else:
                time.sleep(tail.pause())

    def _list(self, pages: Pages) -> Iterator[Json]:
        while pages.more:
            yield from pages.items(self._get(pages.path, pages.parameters()))

    def _get(self, path: str, parameters: Mapping[str, object] | None = None) -> Any:
        check_open(self._http)
        with network_errors():
            response = self._http.get(path, params=query(parameters or {}))
        return content_of(response)
