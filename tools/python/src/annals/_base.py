"""The part that both clients have in common: settings, delivery, and their state."""

from __future__ import annotations

import os
import ssl

import httpx

from . import _current
from ._closing import close_at_exit
from ._coverage import Sent
from ._delivery import Delivery, Options, WhenFull
from ._http import spool_folder, sync_http
from ._queue import EventQueue, Fsync, MemoryQueue
from .errors import Refused


class ClientBase:
    """Opens the queue, and starts the thread that sends."""

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
    ) -> None:
        if when_full not in ("block", "raise"):
            raise ValueError(f"when_full must be `block` or `raise`, not {when_full!r}")
        if fsync not in ("always", "second", "never"):
            raise ValueError(f"fsync must be `always`, `second` or `never`, not {fsync!r}")
        if min(spool_bytes, queue_events, queue_bytes, batch_events, batch_bytes) < 1:
            raise ValueError("every bound of the queue, the spool and the batches must be at least 1")
        # The delivery sends with it, and closes it. A `Client` reads with it too.
        self._http = sync_http(url, api_key, timeout, verify, transport)
        folder = spool_folder(spool)
        queue: EventQueue
        if folder is None:
            queue = MemoryQueue(queue_events, queue_bytes)
        else:
            # Imported only here, because its file locks exist on Unix only.
            from ._spool import Spool

            queue = Spool(folder, bytes_max=spool_bytes, fsync=fsync)
        options = Options(
            batch_events=batch_events,
            batch_bytes=batch_bytes,
            linger=linger,
            when_full=when_full,
            gzip=gzip,
            fsync=fsync if folder is not None else "never",
            retry_pause_min=retry_pause_min,
            retry_pause_max=retry_pause_max,
        )
        self._delivery = Delivery(queue, self._http, options)
        close_at_exit(self._delivery)
        self._sent = Sent()

    @property
    def current_session(self) -> str | None:
        """The id of the session that is open in this context."""
        scope = _current.innermost(self)
        return scope._session_id if scope is not None else None

    @property
    def pending(self) -> int:
        """Number of events that are not known to be committed."""
        return self._delivery.pending

    @property
    def refused(self) -> list[Refused]:
        """The latest 1,000 events that the server refused for good, oldest first, each with the reason."""
        return list(self._delivery.refused)

    @property
    def refused_count(self) -> int:
        """Number of events that the server refused for good."""
        return self._delivery.refused_count
