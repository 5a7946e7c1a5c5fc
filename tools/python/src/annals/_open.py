"""The beginning and the end of a client."""

from __future__ import annotations

import atexit
import logging
import os
import ssl
import weakref
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Final

import httpx

from ._delivery import Delivery, Options, WhenFull
from ._http import DEFAULT_URL, Address, from_environment, settings, spool_folder
from ._queue import EventQueue, Fsync, MemoryQueue
from .errors import AnnalsError, EventsLost, EventsRefused, NotDelivered, ServerUnavailable

logger = logging.getLogger("annals")

EXIT_S: Final = 5.0
"""How long the end of the program waits for a client that nobody closed."""

_open: weakref.WeakSet[Delivery] = weakref.WeakSet()


def open_delivery(
    url: str | None,
    api_key: str | None,
    spool: str | os.PathLike[str] | None,
    *,
    spool_bytes: int,
    fsync: Fsync,
    queue_events: int,
    queue_bytes: int,
    when_full: WhenFull,
    batch_events: int,
    batch_bytes: int,
    linger: float,
    gzip: bool,
    timeout: float,
    verify: ssl.SSLContext | bool,
    retry_first: float,
    retry_longest: float,
    transport: httpx.BaseTransport | None,
) -> tuple[Delivery, httpx.Client]:
    """Starts the delivery. The client of httpx that it sends with is closed by it."""
    if when_full not in ("block", "raise"):
        raise ValueError(f"when_full is `block` or `raise`, not {when_full!r}")
    if fsync not in ("always", "second", "never"):
        raise ValueError(f"fsync is `always`, `second` or `never`, not {fsync!r}")
    if min(spool_bytes, queue_events, queue_bytes, batch_events, batch_bytes) < 1:
        raise ValueError("queues and batches must have room for something")
    address = Address.parse(from_environment("ANNALS_URL", url) or DEFAULT_URL)
    key = from_environment("ANNALS_API_KEY", api_key)
    if transport is None and address.socket is not None:
        transport = httpx.HTTPTransport(uds=address.socket)
    http = httpx.Client(**settings(address, key, timeout, verify), transport=transport)
    folder = spool_folder(spool)
    queue: EventQueue
    if folder is None:
        queue = MemoryQueue(queue_events, queue_bytes)
    else:
        # Imported where it is needed: it locks files as only Unix does.
        from ._spool import Spool

        queue = Spool(folder, bytes_max=spool_bytes, fsync=fsync)
    options = Options(
        batch_events=batch_events,
        batch_bytes=batch_bytes,
        linger=linger,
        when_full=when_full,
        gzip=gzip,
        fsync=fsync if folder is not None else "never",
        first_delay=retry_first,
        longest_delay=retry_longest,
    )
    delivery = Delivery(queue, http, options)
    _open.add(delivery)
    return delivery, http


def open_reader(
    url: str | None,
    api_key: str | None,
    *,
    timeout: float,
    verify: ssl.SSLContext | bool,
    transport: httpx.AsyncBaseTransport | None,
) -> httpx.AsyncClient:
    """What an `AsyncClient` reads with."""
    address = Address.parse(from_environment("ANNALS_URL", url) or DEFAULT_URL)
    if transport is None and address.socket is not None:
        transport = httpx.AsyncHTTPTransport(uds=address.socket)
    key = from_environment("ANNALS_API_KEY", api_key)
    return httpx.AsyncClient(**settings(address, key, timeout, verify), transport=transport)


def end(delivery: Delivery) -> None:
    """Stops the delivery, and raises what must be known of it."""
    left = delivery.finish()
    refused: EventsRefused | EventsLost | None = None
    try:
        delivery.report_refused()
    except (EventsRefused, EventsLost) as error:
        refused = error
    if left and not delivery.durable:
        raise NotDelivered(left, delivery.trouble or "no time was left") from refused
    if left:
        logger.warning("%d events are left %s: %s", left, delivery.describe(), delivery.trouble)
    if refused is not None:
        raise refused


def unavailable(error: Exception) -> ServerUnavailable:
    """A failure of the network as an exception of this package."""
    if isinstance(error, ServerUnavailable):
        return error
    return ServerUnavailable(f"{type(error).__name__}: {error}")


def _close_open() -> None:
    for delivery in list(_open):
        if not delivery.begin_close():
            continue
        with suppress(FutureTimeout, NotDelivered):
            delivery.settled().result(EXIT_S)
        try:
            end(delivery)
        except AnnalsError as error:
            logger.error("%s", error)


def _abandon_open() -> None:
    for delivery in list(_open):
        delivery.abandon()


atexit.register(_close_open)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_open)
