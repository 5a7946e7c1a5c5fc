"""How clients end: with the program, in a fork, under load, and while the server has its moods."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import annals

from .support import Reaction, Server, client, free_port, note, numbers, problem, wait_until


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)


def test_a_client_that_nobody_closed_is_closed_at_the_end_of_the_program(server: Server) -> None:
    done = run(
        f"import annals\nlog = annals.Client({server.url!r})\n"
        "for number in range(100): log.emit({'type': 'note.logged', 'message': str(number)})"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert numbers(server.log) == list(range(100))


def test_what_a_program_could_not_send_at_its_end_is_said() -> None:
    done = run(
        f"import annals\nfrom annals import _closing\n_closing.EXIT_TIMEOUT_S = 0.2\n"
        f"log = annals.Client('http://127.0.0.1:{free_port()}')\n"
        "log.emit({'type': 'note.logged', 'message': ''})"
    )
    assert "1 event not known to be committed" in done.stderr


def test_a_client_whose_close_was_interrupted_is_closed_at_the_end_of_the_program() -> None:
    done = run(
        "import os, signal, threading, annals\nfrom annals import _closing\n_closing.EXIT_TIMEOUT_S = 0.2\n"
        f"log = annals.Client('http://127.0.0.1:{free_port()}')\n"
        "log.emit({'type': 'note.logged', 'message': ''})\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try: log.close(timeout=None)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    assert done.stdout == "interrupted\n"
    assert "1 event not known to be committed" in done.stderr


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_neither_closes_nor_keeps_its_parents_spool(tmp_path: Path, server: Server) -> None:
    server.plan.append(Reaction(503, retry_after="1"))
    log = client(server.url, spool=tmp_path)
    log.emit(note(1))
    child = os.fork()
    if child == 0:  # pragma: no cover
        # It lives on after its parent is done with the spool.
        time.sleep(20)
        os._exit(0)
    try:
        with pytest.raises(annals.SpoolInUse):
            client(server.url, spool=tmp_path)
        log.flush()
        log.close()
        client(server.url, spool=tmp_path).close()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert numbers(server.log) == [1]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_after_the_end_of_a_client_closes_nothing_of_others(tmp_path: Path, server: Server) -> None:
    log = client(server.url, spool=tmp_path / "spool")
    log.emit(note(1))
    log.close()
    files = [(tmp_path / str(number)).open("w") for number in range(8)]
    child = os.fork()
    if child == 0:  # pragma: no cover
        try:
            for file in files:
                os.fstat(file.fileno())
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    for file in files:
        file.close()


def test_a_closing_client_without_a_spool_tries_until_its_time_is_up(server: Server) -> None:
    server.plan.extend([problem(401, "unauthorized")] * 3)
    log = client(server.url)
    log.emit(note(1))
    log.close()
    assert numbers(server.log) == [1]


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_a_key_that_can_be_none_is_said_without_telling_it(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as raised:
        annals.Client("http://127.0.0.1:9", key)
    assert key not in str(raised.value)


@pytest.mark.parametrize("seed", range(10 if os.environ.get("ANNALS_TEST_HEAVY") else 2))
@pytest.mark.parametrize("with_spool", [True, False])
def test_whatever_the_server_does_each_event_is_there_once_and_in_order(
    tmp_path: Path, server: Server, seed: int, with_spool: bool
) -> None:
    choose = random.Random(seed)
    moods = [
        *[None] * 20,
        Reaction(503, commits=True),
        Reaction(429, retry_after="0"),
        Reaction(None),
        Reaction(None, commits=True),
        Reaction(200, delay=0.25, commits=True),
        Reaction(413),
        problem(401, "unauthorized"),
        Reaction(200, body=b"{}"),
    ]
    over = threading.Event()

    def change() -> None:
        while not over.is_set():
            server.always = choose.choice(moods)
            over.wait(choose.uniform(0.0, 0.05))
        server.always = None

    def work(session: str) -> None:
        for number in range(60):
            log.emit(note(number, session=session))
            if number % 20 == 19:
                try:
                    log.flush(timeout=0.05)
                except annals.NotDelivered:
                    continue

    spool = tmp_path / "spool" if with_spool else None
    log = client(
        server.url,
        spool=spool,
        queue_events=30,
        spool_bytes=5_000,
        batch_events=choose.choice([3, 7, 500]),
        timeout=0.3,
    )
    changing = threading.Thread(target=change, daemon=True)
    threads = [threading.Thread(target=work, args=(f"t{number}",), daemon=True) for number in range(4)]
    for thread in [changing, *threads]:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    over.set()
    changing.join()
    # An answer of the last mood may be under way still.
    wait_until(lambda: log.pending == 0)
    log.close()
    assert log.refused_count == 0
    for number in range(4):
        own = [event for event in server.log if event["session"] == f"t{number}"]
        assert numbers(own) == list(range(60))
