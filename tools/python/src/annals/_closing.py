"""The end of a client: when it is closed, when the program ends, and in a forked process."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from typing import Final

from ._delivery import Delivery
from .errors import AnnalsError, EventsLost, EventsRefused, NotDelivered

logger = logging.getLogger("annals")

EXIT_TIMEOUT_S: Final = 5.0
"""The timeout of the end of the program for each client that was not closed."""

_deliveries: weakref.WeakSet[Delivery] = weakref.WeakSet()


def close_at_exit(delivery: Delivery) -> None:
    """Closes the delivery at the end of the program, unless it is closed before. Abandons it in forked processes."""
    _deliveries.add(delivery)


def finish(delivery: Delivery) -> None:
    """Stops the delivery. Raises NotDelivered, EventsRefused or EventsLost if not every event was committed."""
    left = delivery.finish()
    unreported: EventsRefused | EventsLost | None = None
    try:
        delivery.raise_unreported()
    except (EventsRefused, EventsLost) as error:
        unreported = error
    if left and not delivery.durable:
        raise NotDelivered(left, delivery.last_error or "the timeout expired") from unreported
    if left:
        logger.warning("%d events are left %s: %s", left, delivery.describe(), delivery.last_error)
    if unreported is not None:
        raise unreported


@contextmanager
def suppressed_by(error: BaseException | None, what: str) -> Iterator[None]:
    """Logs an AnnalsError of the body instead of raising it, if `error` is not None.

    `error` is the exception that leaves the caller's `with` block. The caller must get that one.
    """
    try:
        yield
    except AnnalsError as failure:
        if error is None:
            raise
        logger.error("%s: %s", what, failure)


def _close_all() -> None:
    for delivery in list(_deliveries):
        # This includes a client whose `close` was interrupted or cancelled.
        if not delivery.is_running:
            continue
        delivery.begin_close()
        with suppress(FutureTimeout, NotDelivered):
            delivery.settled().result(EXIT_TIMEOUT_S)
        try:
            finish(delivery)
        except AnnalsError as error:
            logger.error("%s", error)


def _abandon_all() -> None:
    for delivery in list(_deliveries):
        delivery.abandon()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
