"""A server that behaves as badly as it is told, and what several tests need."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import annals

Event = dict[str, Any]

REPOSITORY = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Reaction:
    """What happens to one request instead of the ordinary."""

    status: int | None = None
    """The answer; None is none at all: the connection is cut."""
    commits: bool = False
    """Whether the events are committed all the same."""
    retry_after: str | None = None
    delay: float = 0.0
    held: threading.Event | None = None
    """Set to let the answer go."""
    body: bytes = b"out of order"
    content_type: str = "text/plain"


def problem(status: int, name: str, **members: object) -> Reaction:
    """A reaction of Annals itself."""
    body = {"type": f"urn:annals:problem:{name}", "title": name, "status": status, **members}
    return Reaction(status, body=json.dumps(body).encode(), content_type="application/problem+json")


class Server:
    """What `POST /v1/events` of Annals does, in memory."""

    def __init__(self, port: int = 0) -> None:
        self.plan: deque[Reaction] = deque()
        """What happens to the next requests."""
        self.always: Reaction | None = None
        """What happens to those after the plan."""
        self.refuses: Callable[[Event], str | None] = lambda event: None
        self.log: list[Event] = []
        self.requests: list[tuple[float, dict[str, str], list[Event]]] = []
        self.batch_max: int | None = None
        self.lock = threading.Lock()
        self._ids: dict[str, int] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._post(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Http(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: object, client_address: object) -> None:
                """A connection that is cut is nothing to speak of."""

        self._http = Http(("127.0.0.1", port), Handler)
        self.port = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def ids(self) -> list[str]:
        return [event["id"] for event in self.log]

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        if handler.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        events = [json.loads(line) for line in body.splitlines()]
        with self.lock:
            self.requests.append((time.monotonic(), {k.lower(): v for k, v in handler.headers.items()}, events))
            reaction = self.plan.popleft() if self.plan else self.always
            if reaction is None and self.batch_max is not None and len(events) > self.batch_max:
                reaction = problem(413, "too-large")
            results = [self._commit(event) for event in events] if reaction is None or reaction.commits else []
        if reaction is None:
            refused = sum("error" in result for result in results)
            answer: dict[str, Any] = {"committed": len(results) - refused, "results": results}
            if refused:
                answer |= {"type": "urn:annals:problem:events-refused", "title": "refused", "refused": refused}
            self._answer(handler, 422 if refused else 200, json.dumps(answer).encode(), "application/json", None)
            return
        time.sleep(reaction.delay)
        if reaction.held is not None:
            reaction.held.wait()
        if reaction.status is None:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        self._answer(handler, reaction.status, reaction.body, reaction.content_type, reaction.retry_after)

    def _commit(self, event: Event) -> Event:
        reason = self.refuses(event)
        if reason is not None:
            error = {"type": "urn:annals:problem:invalid-event", "title": "invalid event", "detail": reason}
            return {"id": event["id"], "error": error | {"field": "status"}}
        known = self._ids.get(event["id"])
        if known is None:
            self._ids[event["id"]] = len(self.log)
            self.log.append(event)
        seq = self._ids[event["id"]]
        digest = hashlib.sha256(str(seq).encode()).hexdigest()
        return {
            "id": event["id"],
            "seq": seq,
            "hash": digest,
            "outcome": "new" if known is None else "already_recorded",
        }

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str, retry_after: str | None
    ) -> None:
        handler.send_response(status)
        handler.send_header("content-type", content_type)
        handler.send_header("content-length", str(len(body)))
        if retry_after is not None:
            handler.send_header("retry-after", retry_after)
        handler.end_headers()
        handler.wfile.write(body)


@contextmanager
def serving(port: int = 0) -> Iterator[Server]:
    server = Server(port)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def client(url: str, **settings: Any) -> annals.Client:
    """A client that has little patience between attempts."""
    return annals.Client(url, **({"retry_pause_min": 0.01, "retry_pause_max": 0.05, "linger": 0.0} | settings))


def note(number: int, session: str = "s") -> Event:
    return {"type": "note.logged", "session": session, "message": str(number)}


def numbers(events: list[Event]) -> list[int]:
    return [int(event["message"]) for event in events]


def wait_until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Waits for what another thread or process does; only a hang fails it."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)
