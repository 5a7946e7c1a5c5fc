"""The thread that sends: in order, in batches, until each event is committed or refused for good."""

from __future__ import annotations

import gzip
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, Literal

import httpx

from ._answers import Held, Indigestible, Later, Outcome, Settled, outcome
from ._pace import Backoff
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
"""Refused events that the client keeps in memory."""
FULL_WARNING_S: Final = 10.0
"""How often a caller that waits for room says so."""
SYNC_S: Final = 1.0
"""How often the spool is flushed to the disk, unless it is for every event."""
CLOSING_S: Final = 1.0
"""How long a closing client waits at most between two attempts: there is not much time left."""
JOIN_S: Final = 0.5
"""How long `close` waits for the thread beyond its own time: a request may be under way."""


@dataclass(frozen=True)
class Options:
    """How to send."""

    batch_events: int
    batch_bytes: int
    linger: float
    when_full: WhenFull
    gzip: bool
    fsync: Fsync
    first_delay: float
    longest_delay: float


class Delivery:
    """Owns the queue and the thread.

    `_changed` guards everything here. Only the thread takes lines off the queue, so what it has peeked at stays at the
    front while it sends without the lock.
    """

    def __init__(self, queue: EventQueue, http: httpx.Client, options: Options) -> None:
        self._queue = queue
        self._http = http
        self._options = options
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._accepted = len(queue)
        self._flushes: list[tuple[int, Future[None]]] = []
        self._room: list[Future[None]] = []
        self._closing = False
        self._stop = threading.Event()
        # Ends the wait between two attempts.
        self._nudge = threading.Event()
        self._failed_closing = False
        self._hurry = False
        self._idle = False
        self._finished = False
        self._left = 0
        self._broken: BaseException | None = None
        self._trouble: str | None = None
        self._held = False
        self._batch_events = options.batch_events
        self.refused: deque[Refused] = deque(maxlen=REFUSED_KEPT)
        self.refused_count = 0
        self._refused_reported = 0
        self._lost_reported = 0
        self.last_seq = 0
        self._backoff = Backoff(options.first_delay, options.longest_delay)
        if self._accepted:
            logger.info("%d events are left %s; they are sent first", self._accepted, queue.describe())
        self._thread = threading.Thread(target=self._run, name="annals-delivery", daemon=True)
        self._thread.start()
        if options.fsync == "second":
            # A thread of its own: the other one may wait for an answer for long.
            threading.Thread(target=self._sync_every_second, name="annals-spool", daemon=True).start()

    # What callers do.

    def put(self, line: bytes) -> None:
        """Takes a line. Waits for room, unless the options say otherwise. NotFlushed says that it was taken."""
        self._check_process()
        with self._changed:
            warned = time.monotonic()
            while not self._take(line):
                self._changed.wait(FULL_WARNING_S)
                if time.monotonic() - warned >= FULL_WARNING_S:
                    warned = time.monotonic()
                    logger.warning("the queue is full (%s); a caller waits for room", self._trouble or "busy")
        if self.fsync_always:
            self._queue.sync()

    def try_put(self, line: bytes) -> Future[None] | None:
        """Takes a line, or gives a future that is done when it is worth trying again.

        It does not flush the spool to the disk: where `fsync_always` says so, the caller does, by `sync`.
        """
        self._check_process()
        with self._changed:
            if not self._take(line):
                room: Future[None] = Future()
                self._room.append(room)
                return room
        return None

    def _take(self, line: bytes) -> bool:
        self._check_open()
        if not self._queue.has_room(line):
            # The thread would wait for itself, where a handler of its logger emits.
            if self._options.when_full == "raise" or threading.current_thread() is self._thread:
                raise QueueFull(f"{len(self._queue)} events wait already: {self._trouble or 'the server is slow'}")
            return False
        self._queue.append(line)
        self._accepted += 1
        # Waking the thread for every event while it gathers a batch slows the callers down.
        if self._idle or len(self._queue) == self._batch_events:
            self._changed.notify_all()
        return True

    @property
    def fsync_always(self) -> bool:
        """Whether an event counts as taken only when it is on the disk."""
        return self._options.fsync == "always"

    def sync(self) -> None:
        """Flushes the queue to the disk."""
        self._queue.sync()

    def _check_process(self) -> None:
        # Before any lock is taken: one that another thread held at the fork stays held for ever.
        if os.getpid() != self._pid:
            raise Closed("the client was made in another process; make one after the fork")

    def _check_open(self) -> None:
        if self._broken is not None:
            raise Closed(f"the client has failed: {self._broken!r}") from self._broken
        if self._closing:
            raise Closed("the client is closed")

    @property
    def pending(self) -> int:
        """Events that are not known to be committed."""
        self._check_process()
        with self._changed:
            return self._left if self._finished else len(self._queue)

    def settled(self) -> Future[None]:
        """Done when every event taken so far is committed or refused; NotDelivered where waiting is of no use."""
        self._check_process()
        future: Future[None] = Future()
        with self._changed:
            if not self.pending:
                _resolve(future)
            elif self._finished or (self._closing and self._is_vain()):
                _resolve(future, self.not_delivered())
            else:
                self._flushes.append((self._accepted, future))
                self._hurry = True
                if self._held:
                    # Somebody may have done something about it: one more attempt tells.
                    self._nudge.set()
                self._changed.notify_all()
        return future

    def _is_vain(self) -> bool:
        """Whether who waits had better stop: somebody has to do something, or the events are safe where they are."""
        if self._closing:
            return self._failed_closing and self._queue.durable
        return self._held

    def not_delivered(self) -> NotDelivered:
        """What to raise where time is up."""
        return NotDelivered(self.pending, self._trouble or "no time was left")

    def report_refused(self) -> None:
        """Raises EventsRefused or EventsLost where events were refused or lost since it was last raised."""
        with self._changed:
            count = self.refused_count - self._refused_reported
            self._refused_reported = self.refused_count
            latest = list(self.refused)[-count:] if count else []
            lost = 0 if count else self._queue.lost - self._lost_reported
            self._lost_reported += lost
        if count:
            raise EventsRefused(count, latest[::-1])
        if lost:
            raise EventsLost(lost)

    def begin_close(self) -> bool:
        """Takes no more events. False where that was so already, or the client is of another process."""
        if os.getpid() != self._pid:
            return False
        with self._changed:
            first = not self._closing
            self._closing = True
            self._nudge.set()
            self._changed.notify_all()
            self._wake_room()
        return first

    def finish(self) -> int:
        """Stops the thread, and says how many events it leaves."""
        with self._changed:
            self._stop.set()
            self._nudge.set()
            self._changed.notify_all()
        self._thread.join(JOIN_S)
        return self.pending

    @property
    def trouble(self) -> str | None:
        """What stopped the last attempt, if it failed."""
        return self._trouble

    @property
    def durable(self) -> bool:
        """Whether what is left is sent later."""
        return self._queue.durable

    def describe(self) -> str:
        """Where the events are."""
        return self._queue.describe()

    # What the thread does.

    def _run(self) -> None:
        try:
            while self._send_some():
                pass
        except BaseException as error:
            logger.critical("events are not sent any more", exc_info=error)
            self._broken = error
            self._trouble = repr(error)
        finally:
            with self._changed:
                self._left = len(self._queue)
                self._finished = True
                self._wake_room()
                self._fail_flushes()
                self._changed.notify_all()
            self._queue.close()
            self._http.close()

    def _send_some(self) -> bool:
        """Sends a batch, and sees to its answer. False when it is time to stop."""
        try:
            batch = self._next_batch()
            if batch is None:
                return False
            if batch:
                self._settle(batch, self._send(batch))
        except (SpoolError, OSError) as error:
            logger.error("the spool: %s", error)
            self._fail(str(error), held=False)
            self._pause(self._backoff.next())
        return not self._stop.is_set()

    def _next_batch(self) -> list[bytes] | None:
        with self._changed:
            while not len(self._queue):
                self._settle_flushes()
                if self._stop.is_set():
                    return None
                self._idle = True
                self._changed.wait()
            self._idle = False
            if self._stop.is_set():
                return None
            # A little patience makes batches of what comes one by one.
            until = time.monotonic() + self._options.linger
            while not self._hurry and not self._closing and len(self._queue) < self._batch_events:
                rest = until - time.monotonic()
                if rest <= 0:
                    break
                self._changed.wait(rest)
            batch = self._queue.peek(self._batch_events, self._options.batch_bytes)
            if not batch:
                self._settle_flushes()
                self._wake_room()
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
            return Later(f"{type(error).__name__}: {error}")

    def _settle(self, batch: list[bytes], answer: Outcome) -> None:
        match answer:
            case Settled(refused, last_seq):
                self.last_seq = max(self.last_seq, last_seq)
                self._done(batch, refused)
            case Indigestible(problem) if len(batch) == 1:
                self._done(batch, [(0, problem)])
            case Indigestible(problem):
                self._batch_events = len(batch) // 2
                logger.debug("sending %d events at once: %s", self._batch_events, problem)
            case Held(reason):
                self._fail(reason, held=True)
                self._pause(self._backoff.next())
            case Later(reason, wait):
                self._fail(reason, held=False)
                self._pause(max(wait or 0.0, self._backoff.next()), asked=wait is not None)

    def _done(self, batch: list[bytes], refused: Sequence[tuple[int, Problem]]) -> None:
        records = [Refused(parse(batch[place]) or {}, problem) for place, problem in refused]
        if records:
            try:
                self._queue.keep_refused(records)
            except SpoolError:
                # An event that was refused leaves only once it is kept. Until then those before it do.
                if first := min(place for place, _ in refused):
                    self._leave(first, [])
                raise
        for record in records:
            logger.error(
                "the server refused %s %s: %s (%s)",
                record.event.get("type"),
                record.event.get("id"),
                record.problem,
                record.problem.type,
            )
        self._leave(len(batch), records)

    def _leave(self, count: int, records: list[Refused]) -> None:
        with self._changed:
            self.refused.extend(records)
            self.refused_count += len(records)
            self._queue.advance(count)
            self._batch_events = min(self._batch_events * 2, self._options.batch_events)
            if self._trouble is not None:
                logger.info("the server takes events again")
            self._trouble = None
            self._held = False
            self._backoff.reset()
            self._settle_flushes()
            self._wake_room()
            self._changed.notify_all()

    def _settle_flushes(self) -> None:
        settled = self._accepted - len(self._queue)
        waiting = []
        for mark, future in self._flushes:
            if mark > settled:
                waiting.append((mark, future))
            else:
                _resolve(future)
        self._flushes = waiting
        self._hurry = bool(waiting)

    def _wake_room(self) -> None:
        waiting, self._room = self._room, []
        for future in waiting:
            _resolve(future)

    def _fail(self, reason: str, *, held: bool) -> None:
        with self._changed:
            if self._trouble is None or (held and not self._held):
                logger.warning("events cannot be sent; they wait %s: %s", self._queue.describe(), reason)
            self._trouble = reason
            self._held = held
            self._failed_closing = self._closing
            if self._is_vain():
                self._fail_flushes()

    def _fail_flushes(self) -> None:
        for _, future in self._flushes:
            _resolve(future, self.not_delivered() if self.pending else None)
        self._flushes = []
        self._hurry = False

    def _pause(self, seconds: float, *, asked: bool = False) -> None:
        """Waits before the next attempt. What the server asked for is waited for whole."""
        if self._closing and not asked:
            seconds = min(seconds, CLOSING_S)
        until = time.monotonic() + seconds
        while (rest := until - time.monotonic()) > 0 and not self._stop.is_set():
            if self._nudge.wait(rest):
                self._nudge.clear()
                if not asked:
                    return
                with self._changed:
                    self._failed_closing = self._closing
                    if self._is_vain():
                        self._fail_flushes()

    def _sync_every_second(self) -> None:
        while not self._stop.wait(SYNC_S) and not self._finished:
            try:
                if len(self._queue):
                    self._queue.sync()
            except NotFlushed as error:
                logger.error("%s", error)

    def abandon(self) -> None:
        """Lets go of the spool in a forked process."""
        abandon: Callable[[], None] | None = getattr(self._queue, "abandon", None)
        if abandon is not None:
            abandon()


def _resolve(future: Future[None], error: AnnalsError | None = None) -> None:
    # Who waited may have given up, and then the future is cancelled.
    if not future.set_running_or_notify_cancel():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
