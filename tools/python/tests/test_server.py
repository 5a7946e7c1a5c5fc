"""Against the real server: `annals serve`, of the binary that ANNALS_BIN names."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

import annals

from .support import client, free_port, note, numbers, wait_until

BINARY = os.environ.get("ANNALS_BIN", "")

pytestmark = pytest.mark.skipif(not BINARY, reason="ANNALS_BIN names no annals binary: the real server is not tested")


class Annals:
    """A log, and a server of it that can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.db = folder / "audit.db"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket = folder / "annals.sock"
        self._environment = os.environ | {"ANNALS_HOME": str(folder / "home")}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [BINARY, "--db", str(self.db), "serve", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--unix", str(self.socket)]
        self._process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        until = time.monotonic() + 600
        while True:
            try:
                if httpx.get(self.url + "/readyz", trust_env=False).is_success:
                    return
            except httpx.TransportError:
                pass
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop(signal.SIGKILL)
                raise AssertionError("annals serve does not start")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        process, self._process = self._process, None
        if process is None:
            return ""
        process.send_signal(how)
        _, errors = process.communicate(timeout=600)
        return errors.decode()

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [BINARY, "--db", str(self.db), *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run("--json", *arguments))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the read tables say. The server is stopped first."""
        self.stop()
        # Any command catches the read tables up.
        self.run("verify")
        with closing(sqlite3.connect(self.db)) as database:
            return database.execute(query).fetchall()


@pytest.fixture
def log_server(tmp_path: Path) -> Iterator[Annals]:
    running = Annals(tmp_path)
    running.start()
    yield running
    running.stop()


def test_sessions_and_steps_end_up_in_the_read_tables(log_server: Annals) -> None:
    with client(log_server.url) as log, log.session("refunds", id="s-1", input="order 1812", agent="desk") as session:
        with session.step("look-up", id="1", kind="llm", model="m", input="order") as step:
            step.output = {"days": 30}
            step.tokens(120, 8)
            with session.step("rank", id="2"):
                session.note("cold", data={"entries": 0})
        session.decide("refund", [{"option": "refund", "score": 0.7, "why": "kind"}, "refuse"], confidence=0.9)
        finding = session.find(severity="high", category="fees", evidence=[1, {"two": None}])
        session.update_finding(finding, status="confirmed", actor="ada", correction={"original": "a", "corrected": "b"})
        session.review("ada", "approved", reason="fine")
        session.artifact(digest="ab" * 32, label="lease.pdf", position=1, media_type="application/pdf", size=7)
        session.metric("latency", 2.5, unit="s", labels={"a": "b"})
        session.action(
            {"id": "u", "kind": "user"}, "delete", outcome="denied", changes={"before": 1}, context={"ip": "192.0.2.1"}
        )
        session.update(status="paused", progress=0.5, message="half")
        session.risk_level = "high"
        session.scores = {"completeness": 0.9}
        log.emit({"type": "custom", "session": "s-1", "name": "budget.checked", "data": {"left": 12.5}})
    assert log_server.rows(
        "SELECT id, profile, status, agent, step_count, decision_count, finding_count, tokens_used, risk_level,"
        " progress FROM sessions"
    ) == [("s-1", "refunds", "completed", "desk", 2, 1, 1, 128, "high", 0.5)]
    assert log_server.rows("SELECT id, parent_step_id, module, status, output FROM steps ORDER BY id") == [
        ("1", None, "look-up", "ok", '{"days": 30}'),
        ("2", "1", "rank", "ok", None),
    ]
    assert log_server.rows("SELECT chosen_option, confidence, step_id FROM decisions") == [("refund", 0.9, None)]
    assert log_server.rows("SELECT status, updated_by FROM findings") == [("confirmed", "ada")]
    assert log_server.rows("SELECT step_id, message FROM notes") == [("2", "cold")]
    assert log_server.rows("SELECT subject_kind, subject_id FROM reviews") == [("session", "s-1")]
    # Nothing was a field that its type does not know.
    for table in ("sessions", "steps", "decisions", "findings", "reviews", "artifacts", "metrics", "notes", "actions"):
        assert log_server.rows(f"SELECT attributes FROM {table} WHERE attributes NOT IN ('', '{{}}')") == [], table


def test_what_the_server_refuses_is_reported_and_the_rest_is_committed(log_server: Annals, tmp_path: Path) -> None:
    log = client(log_server.url, spool=tmp_path / "spool")
    log.emit(note(1))
    wrong = log.emit({"type": "step.ended", "session": "s", "step": "1", "status": "sideways"})
    log.emit({"type": "no.such.type"})
    twice = log.emit(note(2))
    log.emit(note(3) | {"id": twice})
    with pytest.raises(annals.EventsRefused) as raised:
        log.flush()
    assert raised.value.count == 3
    assert [one.problem.type.rsplit(":")[-1] for one in log.refused] == ["invalid-event", "invalid-event", "conflict"]
    assert log.refused[0].event["id"] == wrong
    assert "status" in str(log.refused[0].problem)
    log.close()
    assert len((tmp_path / "spool" / "refused.jsonl").read_text().splitlines()) == 3
    assert log_server.rows("SELECT message FROM notes ORDER BY seq") == [("1",), ("2",)]


def test_an_event_larger_than_the_log_takes_holds_nobody_up(log_server: Annals) -> None:
    log = client(log_server.url)
    log.emit(note(1))
    log.emit({"type": "note.logged", "session": "s", "message": "x" * (5 << 20)})
    log.emit({"type": "note.logged", "session": "s", "message": "x" * (3 << 20)})
    log.emit(note(2))
    with pytest.raises(annals.EventsRefused, match="refused 1 event"):
        log.close()
    assert log_server.rows("SELECT length(message) FROM notes ORDER BY seq") == [(1,), (3 << 20,), (1,)]


def test_all_ways_in_lead_to_the_log(log_server: Annals) -> None:
    with client(log_server.url, gzip=True) as log:
        log.emit(note(1))
    with client(f"unix:{log_server.socket}") as log:
        log.emit(note(2))

    async def main() -> None:
        async with annals.AsyncClient(f"unix://{log_server.socket}") as log, log.session("p") as session:
            await session.note("3")

    asyncio.run(main())
    assert log_server.rows("SELECT message FROM notes ORDER BY seq") == [("1",), ("2",), ("3",)]


@pytest.mark.parametrize("with_spool", [True, False])
def test_killed_and_restarted_under_load_every_event_is_there_once_and_in_order(
    log_server: Annals, tmp_path: Path, with_spool: bool
) -> None:
    sent: dict[str, list[str]] = {}
    spool = tmp_path / "spool" if with_spool else None
    with client(log_server.url, spool=spool, batch_events=20, timeout=5) as log:

        def work(session: str) -> None:
            for number in range(500):
                sent[session].append(log.emit(note(number, session=session)))
                time.sleep(0.001)

        threads = []
        for number in range(4):
            sent[f"s{number}"] = []
            threads.append(threading.Thread(target=work, args=(f"s{number}",)))
        for thread in threads:
            thread.start()
        choose = random.Random(7)
        for _ in range(4):
            time.sleep(choose.uniform(0.05, 0.3))
            log_server.stop(signal.SIGKILL)
            time.sleep(choose.uniform(0.0, 0.2))
            log_server.start()
        for thread in threads:
            thread.join()
        log.flush(None)
        assert log.refused_count == 0
    rows = log_server.rows("SELECT t.session_id, n.message FROM notes n JOIN timeline t USING (seq) ORDER BY seq")
    assert len(rows) == 2_000
    for session in sent:
        assert [int(message) for name, message in rows if name == session] == list(range(500))
    exported = [json.loads(line) for line in log_server.run("export").splitlines()]
    ids = [event["id"] for event in exported if event["type"] == "note.logged"]
    assert sorted(ids) == sorted(event_id for own in sent.values() for event_id in own)
    log_server.run("verify")


def test_a_server_that_is_stopped_in_good_order_loses_nothing_either(log_server: Annals) -> None:
    with client(log_server.url) as log:
        for number in range(200):
            log.emit(note(number))
        log_server.stop(signal.SIGTERM)
        for number in range(200, 400):
            log.emit(note(number))
        log_server.start()
    rows = log_server.rows("SELECT message FROM notes ORDER BY seq")
    assert [int(message) for (message,) in rows] == list(range(400))


def test_what_was_recorded_can_be_read(log_server: Annals) -> None:
    with client(log_server.url) as log:
        for number in range(3):
            with log.session("refunds" if number else "claims", conversation="c", input="water damage") as session:
                session.find(title="moisture", severity="high")
                session.decide("repair", ["repair", "replace"])
        log.flush(visible=True)
        assert [found["profile"] for found in log.sessions()] == ["refunds", "refunds", "claims"]
        assert len(list(log.sessions(profile="refunds", with_findings=True, status="completed"))) == 2
        assert len(list(log.sessions(since=datetime.now(timezone.utc)))) == 0
        assert len(list(log.sessions(limit=1))) == 1
        record = log.session_record(session.id)
        assert record["session"]["id"] == session.id
        assert record["decisions"][0]["chosen_option"] == "repair"
        hits = list(log.search('"water damage"', session=session.id))
        assert [hit["type"] for hit in hits] == ["session.started"]
        assert len(list(log.search("water", order="rank"))) == 3
        with pytest.raises(annals.NotFound):
            log.session_record("no such session")
        with pytest.raises(annals.ApiError):
            list(log.sessions(status="sideways"))


def test_many_pages_are_read_without_gap(log_server: Annals) -> None:
    with client(log_server.url) as log:
        for number in range(450):
            log.emit({"type": "session.started", "session": f"s{number}", "input": "same words"})
        log.flush(visible=True)
        assert [found["id"] for found in log.sessions()] == [f"s{number}" for number in reversed(range(450))]
        assert [hit["session"] for hit in log.search("words")] == [f"s{number}" for number in reversed(range(450))]


def test_a_tail_goes_on_while_the_server_is_killed_and_restarted(log_server: Annals) -> None:
    seen: list[dict[str, Any]] = []
    with client(log_server.url) as log, client(log_server.url) as reader:

        def follow() -> None:
            for event in reader.tail(0, kind=["note.logged", "custom"]):
                seen.append(event)
                if event["type"] == "custom":
                    return

        following = threading.Thread(target=follow, daemon=True)
        following.start()
        for number in range(300):
            log.emit(note(number))
            if number in (100, 200):
                wait_until(lambda: bool(seen))
                log_server.stop(signal.SIGKILL)
                log_server.start()
        log.emit({"type": "custom", "name": "end"})
        log.flush()
        following.join(60)
        assert not following.is_alive()
    assert numbers(seen[:-1]) == list(range(300))
    assert [event["seq"] for event in seen] == sorted({event["seq"] for event in seen})


def test_a_tail_from_now_on_leaves_out_what_was(log_server: Annals) -> None:
    async def main() -> list[str]:
        async with annals.AsyncClient(log_server.url) as log:
            await log.emit(note(1))
            await log.flush(visible=True)
            events = log.tail()
            following = asyncio.create_task(anext(events))
            while not following.done():
                await log.emit(note(2))
                await log.flush()
                await asyncio.sleep(0.05)
            await events.aclose()
            return [(await following)["message"]]

    assert asyncio.run(main()) == ["2"]


def test_keys_are_asked_for_and_their_scopes_kept(log_server: Annals) -> None:
    log_server.stop()
    emitting = log_server.json("apikey", "create", "--name", "emits", "--scopes", "emit")["key"]
    reading = log_server.json("apikey", "create", "--name", "reads", "--scopes", "read")["key"]
    log_server.start()
    with client(log_server.url, api_key=emitting) as log:
        log.emit(note(1))
        log.flush()
        with pytest.raises(annals.Forbidden):
            list(log.sessions())
    with client(log_server.url, api_key=reading) as log:
        assert [found["id"] for found in log.sessions()] == ["s"]
        with pytest.raises(annals.Unauthorized), annals.Client(log_server.url) as nobody:
            list(nobody.sessions())
        log.emit(note(2))
        with pytest.raises(annals.NotDelivered, match="403"):
            log.flush()
        with pytest.raises(annals.NotDelivered):
            log.close(timeout=0.1)
    assert log_server.rows("SELECT message FROM notes") == [("1",)]
