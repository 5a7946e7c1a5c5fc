from __future__ import annotations

import logging
import os
import threading
import time
from email.utils import formatdate

import httpx
import pytest

import annals
from annals._answers import Blocked, RetryLater, outcome
from annals._backoff import Backoff, retry_after

from .support import Reaction, Server, client, free_port, note, numbers, problem, serving, wait_until


def test_flush_returns_when_every_event_is_committed_in_order(server: Server) -> None:
    with client(server.url) as log:
        sent = [log.emit(note(number)) for number in range(2_000)]
        log.flush()
        assert server.ids() == sent
        assert log.pending == 0


def test_many_threads_lose_nothing_and_each_keeps_its_order(server: Server) -> None:
    with client(server.url) as log:

        def work(name: str) -> None:
            for number in range(300):
                log.emit(note(number, session=name))

        threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.flush()
    for name in (f"t{number}" for number in range(8)):
        assert numbers([event for event in server.log if event["session"] == name]) == list(range(300))


def test_batches_keep_to_their_bounds(server: Server) -> None:
    server.plan.append(Reaction(503, delay=0.2))
    with client(server.url, batch_events=7, batch_bytes=2_000) as log:
        for number in range(50):
            log.emit(note(number))
        log.emit({"type": "note.logged", "message": "x" * 5_000})
        log.emit(note(50))
    sizes = [len(events) for _, _, events in server.requests[1:]]
    assert max(sizes) == 7
    assert [len(events[0]["message"]) for _, _, events in server.requests if len(events) == 1].count(5_000) == 1


def test_the_key_and_the_type_of_the_body_are_sent(server: Server) -> None:
    with client(server.url, api_key="annals_k", gzip=True) as log:
        log.emit(note(1))
        log.flush()
        assert "annals_k" not in repr(log)
    headers = server.requests[0][1]
    assert headers["authorization"] == "Bearer annals_k"
    assert headers["content-type"] == "application/x-ndjson"
    assert headers["content-encoding"] == "gzip"
    assert numbers(server.log) == [1]


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(503),
        Reaction(503, commits=True),
        Reaction(429),
        Reaction(500, commits=True),
        Reaction(408),
        Reaction(None),
        Reaction(None, commits=True),
        Reaction(200, body=b"<html>a captive portal</html>"),
        Reaction(200, commits=True, body=b'{"results": [{"seq": 1}]}'),
        Reaction(302),
        Reaction(404),
        Reaction(400, body=b"a proxy that is not pleased"),
    ],
)
def test_after_any_failure_the_same_events_are_sent_again_and_are_there_once(
    server: Server, reaction: Reaction
) -> None:
    server.plan.extend([reaction] * 3)
    with client(server.url) as log:
        sent = [log.emit(note(number)) for number in range(20)]
        wait_until(lambda: len(server.log) == 20 and log.pending == 0)
        log.flush()
        assert log.refused_count == 0
    assert server.ids() == sent


def test_a_slow_answer_is_a_failure_and_the_events_are_there_once(server: Server) -> None:
    held = threading.Event()
    server.plan.append(Reaction(200, commits=True, held=held))
    with client(server.url, timeout=1.0) as log:
        sent = [log.emit(note(number)) for number in range(20)]
        # A busy machine may be late more than once.
        log.flush(None)
        held.set()
    assert server.ids() == sent


def test_retry_after_is_respected(server: Server) -> None:
    server.plan.append(Reaction(429, retry_after="1"))
    with client(server.url) as log:
        log.emit(note(1))
        log.flush()
    assert server.requests[1][0] - server.requests[0][0] >= 0.99


def test_retry_after_may_be_seconds_or_a_date_and_has_a_bound() -> None:
    assert retry_after("7") == 7.0
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("-1") is None
    assert retry_after("99999999999999") == 3600.0
    in_a_minute = retry_after(formatdate(time.time() + 60, usegmt=True))
    assert in_a_minute is not None
    assert 57 < in_a_minute <= 60
    assert retry_after("Sun, 06 Nov 1994 08:49:37 GMT") == 0.0


def test_waits_double_up_to_a_bound_and_are_spread() -> None:
    backoff = Backoff(0.2, 30.0)
    for bound in [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]:
        assert bound / 2 <= backoff.next() <= bound
    backoff.reset()
    assert backoff.next() <= 0.2


def test_refused_events_are_reported_and_all_others_are_committed(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = lambda event: "no such state" if int(event["message"]) % 3 == 0 else None
    with client(server.url, batch_events=5) as log:
        for number in range(10):
            log.emit(note(number))
        with pytest.raises(annals.EventsRefused) as raised:
            log.flush()
        assert raised.value.count == 4
        assert [int(one.event["message"]) for one in raised.value.refused] == [9, 6, 3, 0]
        assert [int(one.event["message"]) for one in log.refused] == [0, 3, 6, 9]
        assert log.refused[0].problem.type == "urn:annals:problem:invalid-event"
        assert str(log.refused[0].problem) == "field `status`: no such state"
        assert log.refused_count == 4
        log.flush()
    assert numbers(server.log) == [1, 2, 4, 5, 7, 8]
    assert sum("refused note.logged" in record.message for record in caplog.records) == 4


def test_refusals_that_nobody_heard_of_are_raised_by_close(server: Server) -> None:
    server.refuses = lambda event: "no"
    log = client(server.url)
    log.emit(note(1))
    with pytest.raises(annals.EventsRefused):
        log.close()


def test_a_batch_that_is_too_large_is_sent_in_parts(server: Server) -> None:
    server.batch_max = 3
    with client(server.url) as log:
        server.plan.append(Reaction(503, delay=0.1))
        sent = [log.emit(note(number)) for number in range(50)]
        log.flush()
        assert log.refused_count == 0
    assert server.ids() == sent


def test_one_event_that_annals_cannot_read_is_refused_and_holds_nobody_up(server: Server) -> None:
    server.plan.append(Reaction(503, delay=0.1))
    server.plan.extend([problem(413, "too-large"), problem(413, "too-large"), problem(413, "too-large")])
    with client(server.url) as log:
        for number in range(4):
            log.emit(note(number))
        with pytest.raises(annals.EventsRefused):
            log.flush()
        assert [one.event["message"] for one in log.refused] == ["0"]
    assert numbers(server.log) == [1, 2, 3]


def test_a_key_that_is_not_valid_is_said_at_once_and_the_events_wait(server: Server) -> None:
    server.always = problem(401, "unauthorized", detail="the key was revoked")
    with client(server.url) as log:
        log.emit(note(1))
        with pytest.raises(annals.NotDelivered, match="the key was revoked"):
            log.flush(timeout=20)
        assert log.pending == 1
        server.always = None
        wait_until(lambda: log.pending == 0)
        log.flush()
    assert numbers(server.log) == [1]


def test_flush_tries_again_where_somebody_may_have_mended_it(server: Server) -> None:
    server.plan.append(problem(401, "unauthorized"))
    with client(server.url, retry_pause_min=60, retry_pause_max=60) as log:
        log.emit(note(1))
        wait_until(lambda: log._delivery.last_error is not None)
        log.flush()
    assert numbers(server.log) == [1]


def test_only_annals_can_say_that_an_event_is_no_good() -> None:
    request = httpx.Request("POST", "http://x/v1/events")
    proxy = httpx.Response(413, text="too large for me", request=request)
    assert isinstance(outcome(proxy, 1), Blocked)
    no_list = httpx.Response(200, json={"results": "none"}, request=request)
    assert isinstance(outcome(no_list, 1), RetryLater)
    strange = httpx.Response(200, json={"results": [{"what": 1}]}, request=request)
    assert isinstance(outcome(strange, 1), RetryLater)
    nested = httpx.Response(500, content=b"[" * 100_000, request=request)
    assert isinstance(outcome(nested, 1), RetryLater)


def test_a_full_queue_makes_callers_wait(server: Server) -> None:
    server.plan.append(Reaction(503, retry_after="1"))
    with client(server.url, queue_events=10) as log:
        began = time.monotonic()
        for number in range(11):
            log.emit(note(number))
        assert time.monotonic() - began > 0.9
        log.flush()
    assert numbers(server.log) == list(range(11))


def test_a_full_queue_raises_where_that_was_asked_for(server: Server) -> None:
    server.always = Reaction(503)
    log = client(server.url, queue_events=10, when_full="raise")
    for number in range(10):
        log.emit(note(number))
    with pytest.raises(annals.QueueFull):
        log.emit(note(10))
    assert log.pending == 10
    server.always = None
    log.close()
    assert numbers(server.log) == list(range(10))


def test_a_queue_is_bounded_in_bytes_too_but_takes_any_one_event(server: Server) -> None:
    server.always = Reaction(503)
    log = client(server.url, queue_bytes=1_000, when_full="raise")
    log.emit({"type": "note.logged", "message": "x" * 5_000})
    with pytest.raises(annals.QueueFull):
        log.emit(note(1))
    server.always = None
    log.close()
    assert len(server.log) == 1


def test_without_a_spool_close_says_how_many_events_were_not_sent() -> None:
    log = client(f"http://127.0.0.1:{free_port()}")
    for number in range(3):
        log.emit(note(number))
    with pytest.raises(annals.NotDelivered, match="3 events not known to be committed: ConnectError") as raised:
        log.close(timeout=0.2)
    assert raised.value.count == 3
    log.close()
    with pytest.raises(annals.Closed):
        log.emit(note(4))


def test_flush_says_when_its_time_is_up() -> None:
    log = client(f"http://127.0.0.1:{free_port()}")
    log.emit(note(1))
    with pytest.raises(annals.NotDelivered):
        log.flush(timeout=0.1)
    with pytest.raises(annals.NotDelivered):
        log.close(timeout=0)


def test_a_server_that_comes_later_gets_everything() -> None:
    port = free_port()
    log = client(f"http://127.0.0.1:{port}")
    for number in range(10):
        log.emit(note(number))
    with pytest.raises(annals.NotDelivered):
        log.flush(timeout=0.1)
    with serving(port) as server:
        log.close()
        assert numbers(server.log) == list(range(10))


def test_an_exception_in_the_with_block_is_not_hidden_by_what_close_has_to_say(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = client(f"http://127.0.0.1:{free_port()}")
    log.emit(note(1))
    monkeypatch.setattr(log, "close", lambda: annals.Client.close(log, timeout=0.1))
    with pytest.raises(ZeroDivisionError), log:
        raise ZeroDivisionError
    assert "1 event not known to be committed" in caplog.text


def test_that_the_server_is_away_and_back_is_logged_once_each(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="annals")
    server.plan.extend([Reaction(503)] * 4)
    with client(server.url) as log:
        log.emit(note(1))
    own = [record for record in caplog.records if record.name == "annals"]
    assert [record.levelname for record in own] == ["WARNING", "INFO"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_client_is_of_the_process_that_made_it(server: Server) -> None:
    with client(server.url) as log:
        log.emit(note(1))
        child = os.fork()
        if child == 0:  # pragma: no cover
            code = 1
            try:
                log.emit(note(2))
            except annals.Closed:
                log.close()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        log.emit(note(3))
    assert numbers(server.log) == [1, 3]


def test_settings_come_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNALS_URL", server.url)
    monkeypatch.setenv("ANNALS_API_KEY", "annals_e")
    with annals.Client() as log:
        log.emit(note(1))
    assert server.requests[0][1]["authorization"] == "Bearer annals_e"


@pytest.mark.parametrize("url", ["127.0.0.1:4318", "ftp://x", "http://", "unix:relative.sock", "nonsense"])
def test_an_address_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(ValueError):
        annals.Client(url)


def test_loopback_is_never_asked_through_a_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with client(server.url) as log:
        log.emit(note(1))
    assert numbers(server.log) == [1]
