"""The thread that sends events, in order and in batches, until each is committed or refused for good."""

from __future__ import annotations

import gzip
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Literal

import httpx

from ._answers import BatchRefused, Blocked, Outcome, RetryLater, Settled, outcome
from ._backoff import Backoff
from ._queue import EventQueue, Fsync, parse
from .errors import (
    AnnalsError,
    Closed,
    EventsLost,
    EventsRefused,
    NotDelivered,
    NotFlushed,
    Problem,
    QueueFull,
    Refused,
    SpoolError,
)

logger = logging.getLogger("annals")

WhenFull = Literal["block", "raise"]

REFUSED_KEPT: Final = 1_000
"""Number of refused events that the client keeps in memory."""
FULL_WARNING_INTERVAL_S: Final = 10.0
"""Time between two warnings of a caller that waits for room."""
SYNC_INTERVAL_S: Final = 1.0
"""Time between two flushes of the spool to the disk, with `fsync="second"`."""
CLOSING_PAUSE_MAX_S: Final = 1.0
"""The longest pause between two attempts while the client closes, because `close` waits only for seconds."""
JOIN_TIMEOUT_S: Final = 0.5
"""The timeout of `close` for the end of the thread, beyond its own timeout: a request may be running."""


@dataclass(frozen=True)
class Options:
    """Settings of the delivery."""

    batch_events: int
    batch_bytes: int
    linger: float
    when_full: WhenFull
    gzip: bool
    fsync: Fsync
    retry_pause_min: float
    retry_pause_max: float


class Delivery:
    """Owns the queue and the thread that sends.

    `_changed` guards the queue and everything that callers and the thread share. The thread sends without this lock:
    only the thread removes lines from the queue, so the lines that it has peeked at stay at the front meanwhile.
    """

    def __init__(self, queue: EventQueue, http: httpx.Client, options: Options) -> None:
        self._queue = queue
        self._http = http
        self._options = options
        self._pid = os.getpid()
        self._changed = threading.Condition()
        # Number of lines that ever were in the queue.
        self._accepted = len(queue)
        # For each caller that waits for a flush: the value of `_accepted` at its call.
        self._flushes: list[tuple[int, Future[None]]] = []
        self._waiting_for_room: list[Future[None]] = []
        self._closing = False
        self._stop = threading.Event()
        # Ends the pause between two attempts.
        self._end_pause = threading.Event()
        # True if an attempt has failed since the client began to close.
        self._failed_while_closing = False
        # True while the thread waits for an event.
        self._idle = False
        self._finished = False
        self._left_at_finish = 0
        # The exception that ended the thread, if one did.
        self._crash: BaseException | None = None
        self._last_error: str | None = None
        # True after the answer `Blocked`, until another answer comes.
        self._blocked = False
        self._batch_events = options.batch_events
        self.refused: deque[Refused] = deque(maxlen=REFUSED_KEPT)
        self.refused_count = 0
        self._refused_reported = 0
        self._lost_reported = 0
        self.last_seq = 0
        self._backoff = Backoff(options.retry_pause_min, options.retry_pause_max)
        if self._accepted:
            logger.info("%d events are left %s; they are sent first", self._accepted, queue.describe())
        self._thread = threading.Thread(target=self._run, name="annals-delivery", daemon=True)
        self._thread.start()
        if options.fsync == "second":
            # A second thread, because the first one may wait long for an answer.
            threading.Thread(target=self._sync_every_second, name="annals-spool", daemon=True).start()

    # Called by the client.

    def put(self, line: bytes) -> None:
        """Accepts a line. If the queue is full, waits for room or raises QueueFull, as the options say.

        The line is accepted even if NotFlushed is raised.
        """
        self._check_process()
        with self._changed:
            warned = time.monotonic()
            while not self._append_if_room(line):
                self._changed.wait(FULL_WARNING_INTERVAL_S)
                if time.monotonic() - warned >= FULL_WARNING_INTERVAL_S:
                    warned = time.monotonic()
                    reason = self._last_error or "the server is slow"
                    logger.warning("the queue is full (%s); a caller waits for room", reason)
        if self.fsync_always:
            self._queue.sync()

    def try_put(self, line: bytes) -> Future[None] | None:
        """Accepts a line and returns None; or returns a future that is done when the caller should try again.

        It does not flush the spool to the disk. If `fsync_always` is true, the caller calls `sync` afterwards.
        """
        self._check_process()
        with self._changed:
            if not self._append_if_room(line):
                room: Future[None] = Future()
                self._waiting_for_room.append(room)
                return room
        return None

    def _append_if_room(self, line: bytes) -> bool:
        self._check_open()
        if not self._queue.has_room(line):
            # The thread itself gets here if a handler of its logger emits. It would wait for itself forever.
            if self._options.when_full == "raise" or threading.current_thread() is self._thread:
                reason = self._last_error or "the server is slow"
                raise QueueFull(f"the queue is full with {len(self._queue)} events: {reason}")
            return False
        self._queue.append(line)
        self._accepted += 1
        # To wake the thread for every event while it collects a batch would slow the callers down.
        if self._idle or len(self._queue) == self._batch_events:
            self._changed.notify_all()
        return True

    @property
    def fsync_always(self) -> bool:
        """True if an event must be on the disk before `emit` returns."""
        return self._options.fsync == "always"

    def sync(self) -> None:
        """Flushes the queue to the disk, or raises NotFlushed."""
        self._queue.sync()

    def _check_process(self) -> None:
        # It comes before every lock: a lock that another thread held during the fork is never released in the child.
        if os.getpid() != self._pid:
            raise Closed("the client was made in another process; make one after the fork")

    def _check_open(self) -> None:
        if self._crash is not None:
            raise Closed(f"the client has failed: {self._crash!r}") from self._crash
        if self._closing:
            raise Closed("the client is closed")

    @property
    def pending(self) -> int:
        """Number of events that are not known to be committed."""
        self._check_process()
        with self._changed:
            return self._left_at_finish if self._finished else len(self._queue)

    def settled(self) -> Future[None]:
        """Returns a future that is done when every event accepted so far is settled.

        It fails with NotDelivered as soon as waiting cannot help.
        """
        self._check_process()
        future: Future[None] = Future()
        with self._changed:
            if not self.pending:
                _resolve(future)
            elif self._finished or (self._closing and self._waiting_is_useless()):
                _resolve(future, self.not_delivered())
            else:
                self._flushes.append((self._accepted, future))
                if self._blocked:
                    # The key or the address may have been corrected: one more attempt shows it.
                    self._end_pause.set()
                self._changed.notify_all()
        return future

    def _waiting_is_useless(self) -> bool:
        """Returns whether a flush should fail now instead of at its timeout.

        While the client closes: if an attempt failed and the events are safe in the spool. Otherwise: if the server
        accepts nothing until its operator or the caller changes something.
        """
        if self._closing:
            return self._failed_while_closing and self._queue.durable
        return self._blocked

    def not_delivered(self) -> NotDelivered:
        """Returns the exception for a flush that failed."""
        return NotDelivered(self.pending, self._last_error or "the timeout expired")

    def raise_unreported(self) -> None:
        """Raises EventsRefused or EventsLost if there are such events that no earlier call has raised."""
        with self._changed:
            count = self.refused_count - self._refused_reported
            self._refused_reported = self.refused_count
            latest = list(self.refused)[-count:] if count else []
            # One exception a call: lost events are raised by the next one.
            lost = 0 if count else self._queue.lost - self._lost_reported
            self._lost_reported += lost
        if count:
            raise EventsRefused(count, latest[::-1])
        if lost:
            raise EventsLost(lost)

    def begin_close(self) -> bool:
        """Accepts no more events. Returns false if the client closes already or belongs to another process."""
        if os.getpid() != self._pid:
            return False
        with self._changed:
            first = not self._closing
            self._closing = True
            self._end_pause.set()
            self._changed.notify_all()
            self._wake_waiting_for_room()
        return first

    @property
    def is_running(self) -> bool:
        """True until `finish` is called, in the process that made the client."""
        return os.getpid() == self._pid and not self._stop.is_set()

    def finish(self) -> int:
        """Stops the thread, and returns the number of events that are left."""
        with self._changed:
            self._stop.set()
            self._end_pause.set()
            self._changed.notify_all()
        self._thread.join(JOIN_TIMEOUT_S)
        return self.pending

    @property
    def last_error(self) -> str | None:
        """The reason why the last attempt failed; None after a success."""
        return self._last_error

    @property
    def durable(self) -> bool:
        """True if the events that are left at the end are sent later."""
        return self._queue.durable

    def describe(self) -> str:
        """Returns the location of the events, for messages."""
        return self._queue.describe()

    def abandon(self) -> None:
        """Releases the spool in a forked process."""
        self._queue.abandon()

    # Called by the thread.

    def _run(self) -> None:
        try:
            while self._send_next():
                pass
        except BaseException as error:
            logger.critical("no more events are sent", exc_info=error)
            self._crash = error
            self._last_error = repr(error)
        finally:
            with self._changed:
                self._left_at_finish = len(self._queue)
                self._finished = True
                self._wake_waiting_for_room()
                self._fail_flushes()
                self._changed.notify_all()
            self._queue.close()
            self._http.close()

    def _send_next(self) -> bool:
        """Sends a batch and handles its answer. Returns false when the thread is to stop."""
        try:
            batch = self._next_batch()
            if batch is None:
                return False
            if batch:
                self._handle(batch, self._send(batch))
        except (SpoolError, OSError) as error:
            logger.error("the spool: %s", error)
            self._fail(str(error), blocked=False)
            self._pause(self._backoff.next())
        return not self._stop.is_set()

    def _next_batch(self) -> list[bytes] | None:
        """Waits for events. Returns None when the thread is to stop, and [] if the events were lost from the spool."""
        with self._changed:
            while not len(self._queue):
                self._resolve_flushes()
                if self._stop.is_set():
                    return None
                self._idle = True
                self._changed.wait()
            self._idle = False
            if self._stop.is_set():
                return None
            # A short wait collects events that arrive one by one into a batch.
            until = time.monotonic() + self._options.linger
            while not self._flushes and not self._closing and len(self._queue) < self._batch_events:
                remaining = until - time.monotonic()
                if remaining <= 0:
                    break
                self._changed.wait(remaining)
            batch = self._queue.peek(self._batch_events, self._options.batch_bytes)
            if not batch:
                self._resolve_flushes()
                self._wake_waiting_for_room()
                self._changed.notify_all()
            return batch

    def _send(self, batch: list[bytes]) -> Outcome:
        body = b"".join(batch)
        headers = {"content-type": "application/x-ndjson"}
        if self._options.gzip:
            body = gzip.compress(body, 1)
            headers["content-encoding"] = "gzip"
        try:
            return outcome(self._http.post("/v1/events", content=body, headers=headers), len(batch))
        except httpx.HTTPError as error:
            return RetryLater(f"{type(error).__name__}: {error}")

    def _handle(self, batch: list[bytes], answer: Outcome) -> None:
        match answer:
            case Settled(refused, last_seq):
                self.last_seq = max(self.last_seq, last_seq)
                self._settle(batch, refused)
            case BatchRefused(problem) if len(batch) == 1:
                self._settle(batch, [(0, problem)])
            case BatchRefused(problem):
                self._batch_events = len(batch) // 2
                logger.debug("the next batch has at most %d events: %s", self._batch_events, problem)
            case Blocked(reason):
                self._fail(reason, blocked=True)
                self._pause(self._backoff.next())
            case RetryLater(reason, wait):
                self._fail(reason, blocked=False)
                self._pause(max(wait or 0.0, self._backoff.next()), asked_by_server=wait is not None)

    def _settle(self, batch: list[bytes], refused: Sequence[tuple[int, Problem]]) -> None:
        records = [Refused(parse(batch[index]) or {}, problem) for index, problem in refused]
        if records:
            try:
                self._queue.keep_refused(records)
            except SpoolError:
                # A refused event leaves the queue only when it is kept. The events before the first one leave now.
                if first := min(index for index, _ in refused):
                    self._remove(first, [])
                raise
        for record in records:
            logger.error(
                "the server refused %s %s: %s (%s)",
                record.event.get("type"),
                record.event.get("id"),
                record.problem,
                record.problem.type,
            )
        self._remove(len(batch), records)

    def _remove(self, count: int, records: list[Refused]) -> None:
        """Removes the first events, which are settled, and notes the success."""
        with self._changed:
            self.refused.extend(records)
            self.refused_count += len(records)
            self._queue.advance(count)
            self._batch_events = min(self._batch_events * 2, self._options.batch_events)
            if self._last_error is not None:
                logger.info("the server accepts events again")
            self._last_error = None
            self._blocked = False
            self._backoff.reset()
            self._resolve_flushes()
            self._wake_waiting_for_room()
            self._changed.notify_all()

    def _resolve_flushes(self) -> None:
        settled = self._accepted - len(self._queue)
        waiting = []
        for accepted, future in self._flushes:
            if accepted > settled:
                waiting.append((accepted, future))
            else:
                _resolve(future)
        self._flushes = waiting

    def _fail_flushes(self) -> None:
        for _, future in self._flushes:
            _resolve(future, self.not_delivered() if self.pending else None)
        self._flushes = []

    def _wake_waiting_for_room(self) -> None:
        waiting, self._waiting_for_room = self._waiting_for_room, []
        for future in waiting:
            _resolve(future)

    def _fail(self, reason: str, *, blocked: bool) -> None:
        """Notes that an attempt failed. Only the first failure in a row is logged, and the first that is `blocked`."""
        with self._changed:
            if self._last_error is None or (blocked and not self._blocked):
                logger.warning("events cannot be sent; they wait %s: %s", self._queue.describe(), reason)
            self._last_error = reason
            self._blocked = blocked
            self._failed_while_closing = self._closing
            if self._waiting_is_useless():
                self._fail_flushes()

    def _pause(self, seconds: float, *, asked_by_server: bool = False) -> None:
        """Waits before the next attempt. Neither a flush nor `close` shortens a pause that the server asked for."""
        if self._closing and not asked_by_server:
            seconds = min(seconds, CLOSING_PAUSE_MAX_S)
        until = time.monotonic() + seconds
        while (remaining := until - time.monotonic()) > 0 and not self._stop.is_set():
            if self._end_pause.wait(remaining):
                self._end_pause.clear()
                if not asked_by_server:
                    return
                with self._changed:
                    self._failed_while_closing = self._closing
                    if self._waiting_is_useless():
                        self._fail_flushes()

    def _sync_every_second(self) -> None:
        while not self._stop.wait(SYNC_INTERVAL_S) and not self._finished:
            try:
                if len(self._queue):
                    self._queue.sync()
            except NotFlushed as error:
                logger.error("%s", error)


def _resolve(future: Future[None], error: AnnalsError | None = None) -> None:
    # A caller that stopped waiting has cancelled its future.
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
