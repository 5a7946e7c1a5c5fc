from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import httpx
import pytest

import annals
from annals._tail import Message, MessageParser

from .support import free_port, note, wait_until

STREAM = (
    ": a heartbeat\n\n"
    'id: 1\nevent: note.logged\ndata: {"seq": 1, "message": "a\u2028b\u0085c\x0b"}\n\n'
    "id:2\r\ndata:one\r\ndata: two\r\n\r\n"
    "event: only a name\n\n"
    "id: 3\rdata: three\r\r"
    "data: never ended"
).encode()

MESSAGES = [
    Message("1", "note.logged", '{"seq": 1, "message": "a\u2028b\u0085c\x0b"}'),
    Message("2", "message", "one\ntwo"),
    Message("3", "message", "three"),
]


def test_server_sent_events_are_read_whatever_pieces_they_come_in() -> None:
    for cut in range(len(STREAM) + 1):
        parser = MessageParser()
        assert [*parser.feed(STREAM[:cut]), *parser.feed(STREAM[cut:])] == MESSAGES, cut
    parser = MessageParser()
    assert [message for byte in STREAM for message in parser.feed(bytes([byte]))] == MESSAGES


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> annals.Client:
    return annals.Client("http://127.0.0.1:1", transport=httpx.MockTransport(answer))


def sessions(request: httpx.Request) -> httpx.Response:
    """Pages of a list of 450 sessions."""
    assert request.url.path == "/v1/sessions"
    start = int(request.url.params.get("cursor", 0))
    end = min(start + int(request.url.params["limit"]), 450)
    assert request.url.params["status"] == "failed"
    assert request.url.params["with_findings"] == "true"
    body = {"sessions": [{"id": str(number)} for number in range(start, end)], "next": end if end < 450 else None}
    return httpx.Response(200, json=body)


@pytest.mark.parametrize(("limit", "given"), [(None, 450), (0, 0), (1, 1), (200, 200), (201, 201), (1_000, 450)])
def test_lists_are_read_page_by_page(limit: int | None, given: int) -> None:
    with answering(sessions) as client:
        found = list(client.sessions(status="failed", with_findings=True, profile=None, limit=limit))
    assert [int(session["id"]) for session in found] == list(range(given))


def test_lists_are_read_by_await_too() -> None:
    async def main() -> list[Any]:
        async with annals.AsyncClient("http://127.0.0.1:1", async_transport=httpx.MockTransport(sessions)) as client:
            return [found async for found in client.sessions(status="failed", with_findings=True, limit=300)]

    assert len(asyncio.run(main())) == 300


def test_ids_are_parts_of_paths() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path == b"/v1/sessions/a%2Fb%20%3F"
        return httpx.Response(200, json={"id": "a/b ?"})

    with answering(answer) as client:
        assert client.session_record("a/b ?") == {"id": "a/b ?"}


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, annals.Unauthorized),
        (403, annals.Forbidden),
        (404, annals.NotFound),
        (422, annals.ApiError),
        (429, annals.ServerUnavailable),
        (503, annals.ServerUnavailable),
    ],
)
def test_errors_carry_what_the_server_said(status: int, error: type[Exception]) -> None:
    body = {"type": "urn:annals:problem:x", "title": "X", "status": status, "detail": "because", "field": "since"}
    headers = {"content-type": "application/problem+json", "retry-after": "7"}
    with (
        answering(lambda request: httpx.Response(status, json=body, headers=headers)) as client,
        pytest.raises(error, match=f"{status}: field `since`: because") as raised,
    ):
        client.session_record("s")
    assert isinstance(raised.value, annals.ApiError | annals.ServerUnavailable)
    assert raised.value.problem is not None
    assert raised.value.problem.members == {"field": "since"}
    if isinstance(raised.value, annals.ServerUnavailable):
        assert raised.value.retry_after == 7.0


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"sessions": 7}'])
def test_an_answer_that_is_not_of_annals_is_said(content: bytes) -> None:
    with (
        answering(lambda request: httpx.Response(200, content=content)) as client,
        pytest.raises(annals.ServerUnavailable, match="is this Annals"),
    ):
        list(client.sessions())


def test_a_server_that_is_away_is_said_to_readers() -> None:
    with annals.Client(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(annals.ServerUnavailable, match="ConnectError"):
            client.session_record("s")
        with pytest.raises(annals.ServerUnavailable, match="ConnectError"):
            next(client.tail())


def test_a_closed_client_reads_nothing() -> None:
    client = annals.Client(f"http://127.0.0.1:{free_port()}")
    client.close()
    with pytest.raises(annals.Closed):
        list(client.sessions())
    with pytest.raises(annals.Closed):
        next(client.tail(0))


def test_a_flush_does_not_wait_until_later_events_are_visible() -> None:
    sequence = count(1)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(
                200, json={"results": [{"seq": next(sequence)} for _ in request.content.splitlines()]}
            )
        # Another event is committed before each answer, so the read tables are always one behind the log.
        position = client._delivery.last_seq
        client.emit(note(0))
        wait_until(lambda: client._delivery.last_seq > position)
        return httpx.Response(200, json={"projections": [{"position": position}]})

    with answering(answer) as client:
        client.emit(note(0))
        client.flush(timeout=5, visible=True)


@contextmanager
def tailing(connections: list[bytes | int]) -> Iterator[tuple[str, list[str]]]:
    """Answers each request with a piece of a stream and cuts it, or with a status; and says what was asked for."""
    left = deque(connections)
    asked: list[str] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if not left:
                over.wait(10)
                return
            what = left.popleft()
            self.send_response(what if isinstance(what, int) else 200)
            self.send_header("content-type", "text/event-stream")
            if not isinstance(what, int):
                # Promises more than comes: the connection breaks off.
                self.send_header("content-length", str(len(what) + 1))
            self.end_headers()
            if not isinstance(what, int):
                self.wfile.write(what)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}", asked
    finally:
        over.set()
        http.shutdown()
        http.server_close()


def stream(*numbers: int) -> bytes:
    return b"".join(
        f"id: {number}\nevent: note.logged\ndata: {json.dumps({'seq': number})}\n\n".encode() for number in numbers
    )


CUTS: list[bytes | int] = [stream(4, 5) + b'id: 6\ndata: {"se', 503, stream(6), b"", stream(7, 8)]


def test_a_tail_goes_on_where_it_was_when_connections_break() -> None:
    with tailing(list(CUTS)) as (url, asked), annals.Client(url) as client:
        events = client.tail(3, session="s")
        assert [next(events)["seq"] for _ in range(5)] == [4, 5, 6, 7, 8]
        events.close()
    assert asked == [f"/v1/tail?after={after}&session=s" for after in (3, 5, 5, 6, 6)]


def test_a_tail_goes_on_by_await_too() -> None:
    async def main(url: str) -> list[int]:
        async with annals.AsyncClient(url) as client:
            seen = []
            async for event in client.tail(3):
                seen.append(event["seq"])
                if len(seen) == 5:
                    break
            return seen

    with tailing(list(CUTS)) as (url, _):
        assert asyncio.run(main(url)) == [4, 5, 6, 7, 8]


def test_a_tail_goes_on_after_what_the_server_has_looked_through_without_a_message() -> None:
    pieces: list[bytes | int] = [b": following\nid: 9\n\n", stream(12)]
    with tailing(pieces) as (url, asked), annals.Client(url) as client:
        assert next(client.tail(3, kind=["custom", "note.logged"]))["seq"] == 12
    assert asked == [f"/v1/tail?after={after}&kind=custom&kind=note.logged" for after in (3, 9)]


def test_a_tail_that_is_refused_says_why() -> None:
    with tailing([stream(4), 403]) as (url, _), annals.Client(url) as client:
        events = client.tail(3)
        assert next(events)["seq"] == 4
        with pytest.raises(annals.Forbidden):
            next(events)
