"""Whoever writes to the log, and what was acknowledged to them."""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from world import World

HANG_S = 900.0
"""Only a hang takes so long."""
PAUSE_S = 0.02
ANSWER_S = 60.0
AHEAD = 2_000
"""Events that a client with a spool may be ahead of what it acknowledged."""


class Source:
    """Events of one origin: those that were sent, and those that were acknowledged."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        self.world = world
        self.name = name
        self.random = random.Random(seed)
        self.sent: dict[str, str] = {}
        """Message by id, in order."""
        self.acknowledged: set[str] = set()
        self.again = 0

    def next(self) -> dict[str, object]:
        number = len(self.sent)
        event_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        length = self.random.choice([0, 10, 100, 1_000]) if number % 97 else 40_000
        message = f"{self.name} {number} " + "x" * length
        self.sent[event_id] = message
        return {"type": "note.logged", "id": event_id, "session": f"{self.name}-{number // 50}", "message": message}

    def batch(self) -> list[dict[str, object]]:
        return [self.next() for _ in range(self.random.randrange(1, 40))]

    def take(self, ids: list[str]) -> None:
        for event_id in ids:
            if event_id not in self.sent:
                self.world.fault(f"{self.name}: {event_id} was acknowledged and never sent")
        self.acknowledged.update(ids)

    def work(self) -> None:
        """Sends a batch until it is acknowledged, and again, until it is over or something is wrong."""
        while not self.world.over.is_set():
            batch = self.batch()
            while not self.send(batch):
                if self.world.faults:
                    return
                self.again += 1
                time.sleep(PAUSE_S)
            time.sleep(self.random.uniform(0, 2 * PAUSE_S))

    def send(self, batch: list[dict[str, object]]) -> bool:
        raise NotImplementedError

    def drain(self) -> None:
        """Brings what is left on the way to its end."""

    def __str__(self) -> str:
        sent, acknowledged = len(self.sent), len(self.acknowledged)
        return f"{self.name:>8}: {sent} events sent, {acknowledged} acknowledged, {self.again} attempts more"


def ask(
    world: World, port: int, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
) -> tuple[int, bytes]:
    """The status and body of an answer; 0 where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    try:
        connection.request(method, path, body, {"content-type": content_type, "authorization": f"Bearer {world.key}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Http(Source):
    def send(self, batch: list[dict[str, object]]) -> bool:
        body = b"".join(json.dumps(event).encode() + b"\n" for event in batch)
        status, answer = ask(
            self.world, self.random.choice(self.world.ports), "POST", "/v1/events", body, "application/x-ndjson"
        )
        self.world.count(f"answer {status or 'none'} to HTTP")
        if status in (400, 409, 413, 415, 422):
            self.world.fault(f"{self.name}: {status} {answer[:500]!r}")
        if status != 200:
            return False
        self.take([result["id"] for result in json.loads(answer)["results"]])
        return True


class Otlp(Source):
    """Spans; an id is that of the trace and the span."""

    def next(self) -> dict[str, object]:
        number = len(self.sent)
        trace, span = f"{self.random.getrandbits(128):032x}", f"{self.random.getrandbits(64):016x}"
        name = f"{self.name} {number}"
        self.sent[trace + span] = name
        begun = 1_790_000_000_000_000_000 + number
        return {
            "traceId": trace,
            "spanId": span,
            "name": name,
            "kind": 1,
            "startTimeUnixNano": str(begun),
            "endTimeUnixNano": str(begun + 1_000),
        }

    def send(self, batch: list[dict[str, object]]) -> bool:
        body = {"resourceSpans": [{"scopeSpans": [{"spans": batch}]}]}
        port = self.random.choice(self.world.ports)
        status, answer = ask(self.world, port, "POST", "/v1/traces", json.dumps(body).encode())
        self.world.count(f"answer {status or 'none'} to OTLP")
        if status in (400, 413, 415, 422):
            self.world.fault(f"{self.name}: {status} {answer[:500]!r}")
        if status != 200:
            return False
        if json.loads(answer).get("partialSuccess"):
            self.world.fault(f"{self.name}: {answer[:500]!r}")
        self.take([f"{span['traceId']}{span['spanId']}" for span in batch])
        return True


class Record(Source):
    """A process for each batch."""

    def send(self, batch: list[dict[str, object]]) -> bool:
        content = b"".join(json.dumps(event).encode() + b"\n" for event in batch)
        status, answer, said = self.world.run("record", ["--json", "record"], content)
        self.world.count(f"record ended ({status})")
        if status == 1:
            self.world.fault(f"record: {said[-1000:]}")
        if status:
            self.world.count(f"record said: {reason(said)}" if said else "record said nothing")
            return False
        done = json.loads(answer)
        if done["appended"] + done["already_recorded"] != len(batch):
            self.world.fault(f"record of {len(batch)} events: {answer!r}")
        self.take([str(event["id"]) for event in batch])
        return True


class Spooled(Source):
    """A client with a spool: a process that reads events, and says the id of each that is safe."""

    def __init__(self, world: World, name: str, seed: int, command: Callable[[int, Path], list[str]]) -> None:
        super().__init__(world, name, seed)
        self.command = command
        self.folder = world.spools / name
        self.waiting: dict[str, bytes] = {}
        """Events that were given to a process and not acknowledged."""
        self._lock = threading.Lock()

    def work(self) -> None:
        while not self.world.over.is_set():
            self.live()
            self.again += 1
            time.sleep(PAUSE_S)

    def drain(self) -> None:
        deadline = time.monotonic() + HANG_S
        while not self.live(to_the_end=True):
            if time.monotonic() > deadline:
                self.world.fault(
                    f"{self.name}: its spool is not sent: {self.world.last_words.get(self.name, '')[-1000:]}"
                )
                return
            time.sleep(PAUSE_S)

    def live(self, *, to_the_end: bool = False) -> bool:
        """The life of one process. Whether it said that it sent everything."""
        command = self.command(self.random.choice(self.world.ports), self.folder)
        with self.world.process(self.name, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stdout is not None
            hearing = threading.Thread(target=self.hear, args=(process,))
            hearing.start()
            with suppress(BrokenPipeError):
                with self._lock:
                    left = list(self.waiting.values())
                # What the one before was killed over is given again: it has its id.
                for line in left:
                    process.stdin.write(line)
                while not to_the_end and not self.world.over.is_set() and process.poll() is None:
                    with self._lock:
                        ahead = len(self.waiting)
                    for event in self.batch() if ahead < AHEAD else []:
                        line = json.dumps(event).encode() + b"\n"
                        with self._lock:
                            self.waiting[str(event["id"])] = line
                        process.stdin.write(line)
                    process.stdin.flush()
                    time.sleep(self.random.uniform(0, 4 * PAUSE_S))
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(HANG_S)
            except subprocess.TimeoutExpired:
                self.world.fault(f"{self.name} does not end")
                process.kill()
            hearing.join()
            process.stdout.close()
        self.world.count(f"{self.name} ended ({process.returncode})")
        if process.returncode > 0:
            self.world.count(f"{self.name} said: {reason(self.world.last_words.get(self.name, ''))}")
        with self._lock:
            return process.returncode == 0 and not self.waiting

    def hear(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            # One that was cut off by a kill is none.
            if line.endswith(b"\n"):
                event_id = line.decode().strip()
                self.take([event_id])
                with self._lock:
                    self.waiting.pop(event_id, None)


class Administrator(Source):
    """The commands that look after a log, one after the other."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        super().__init__(world, name, seed)
        self.keys: list[str] = []
        self.erased: list[int] = []
        """Events whose erasure was acknowledged."""
        self.to_erase: set[str] = set()
        """Ids of events whose erasure was asked for."""
        self.copies = 0

    def work(self) -> None:
        commands = [
            self.verify,
            self.verify,
            self.checkpoint,
            self.rotate,
            self.anchor,
            self.copy,
            self.rebuild,
            self.create_key,
            self.revoke_key,
            self.redact,
            self.redact,
            self.look,
            self.over_http,
        ]
        while not self.world.over.is_set():
            self.random.choice(commands)()
            time.sleep(PAUSE_S)

    def do(self, *arguments: str, allowed: tuple[int, ...] = (0, 2)) -> tuple[int, bytes]:
        words = [word for word in arguments if not word.startswith(("-", "/"))]
        name = "-".join(words[:2] if words[0] in ("key", "apikey", "anchor", "projections") else words[:1])
        status, answer, said = self.world.run(name, list(arguments))
        self.world.count(f"{name} ended ({status})")
        if status >= 0 and status not in allowed and status < 128:
            self.world.fault(f"annals {' '.join(arguments)} ended with {status}: {answer[-800:]!r} {said[-1500:]}")
        elif status == 2:
            self.world.count(f"{name} said: {reason(said)}")
        return status, answer

    def verify(self) -> None:
        self.do("--json", "verify", *(["--log-only"] if self.random.random() < 0.5 else []))

    def checkpoint(self) -> None:
        self.do("checkpoint")

    def rotate(self) -> None:
        self.do("key", "rotate", "--reason", "chaos", *(["--epoch"] if self.random.random() < 0.5 else []))

    def anchor(self) -> None:
        path = self.world.folder / f"anchor-{self.random.randrange(3)}"
        if self.random.random() < 0.5:
            self.do("anchor", "add", "file", str(path))
        else:
            self.do("anchor", "remove", f"file {path}")

    def copy(self) -> None:
        path = self.world.folder / f"copy-{self.copies}.db"
        self.copies += 1
        status, _ = self.do("copy", str(path))
        if status == 0:
            self.do("--db", str(path), "verify", allowed=(0,))
        elif path.exists():
            # Its end may have been lost with the process, but never half a copy may be there under its name.
            self.do("--db", str(path), "verify", allowed=(0,))
        path.unlink(missing_ok=True)

    def rebuild(self) -> None:
        self.do("projections", "rebuild", self.random.choice(["sessions", "activity", "search", "keys"]))

    def create_key(self) -> None:
        status, answer = self.do("--json", "apikey", "create", "--name", f"k{len(self.keys)}", "--scopes", "emit")
        if status == 0:
            self.keys.append(json.loads(answer)["id"])

    def revoke_key(self) -> None:
        if self.keys:
            self.do("apikey", "revoke", self.random.choice(self.keys), "--reason", "chaos")

    def redact(self) -> None:
        """Erases an event of its own."""
        event = self.next()
        status, answer, _ = self.world.run("record", ["--json", "record"], json.dumps(event).encode() + b"\n")
        if status:
            return
        self.take([str(event["id"])])
        done = json.loads(answer)
        if done["appended"]:
            seq = done["last_seq"]
            self.to_erase.add(str(event["id"]))
            status, _ = self.do("redact", str(seq), "--reason", "chaos", "--actor", "chaos", "--yes")
            if status == 0:
                self.erased.append(seq)

    def look(self) -> None:
        self.do(
            *self.random.choice(
                [
                    ("info",),
                    ("sessions",),
                    ("search", "http0"),
                    ("--json", "sql", "SELECT count(*) FROM notes"),
                    ("apikey", "list"),
                    ("anchor", "list"),
                    ("tail", "--lines", "5"),
                ]
            )
        )

    def over_http(self) -> None:
        method, path, body = self.random.choice(
            [
                ("GET", "/v1/log", b""),
                ("GET", "/v1/sessions?limit=20", b""),
                ("GET", "/v1/search?q=http0&limit=5", b""),
                ("GET", "/metrics", b""),
                ("GET", "/readyz", b""),
                ("GET", "/v1/checkpoint", b""),
                ("GET", "/v1/proofs/events/1", b""),
                ("POST", "/v1/verification", b"{}"),
                ("POST", "/v1/checkpoint", b"{}"),
                ("POST", "/v1/projections/activity/rebuild", b"{}"),
            ]
        )
        status, answer = ask(self.world, self.random.choice(self.world.ports), method, path, body)
        path = path.split("?")[0]
        self.world.count(f"answer {status or 'none'} to {method} {path}")
        if status not in (0, 200, 202, 429, 503):
            self.world.count(f"{method} {path} said: {answer[:300]!r}")
        elif (method, path, status) == ("POST", "/v1/verification", 200) and not json.loads(answer)["self_consistent"]:
            self.world.fault(f"the server says that its log is not good: {answer[:1500]!r}")


def reason(said: str) -> str:
    """An error without what differs from one time to the next."""
    lines = [line for line in said.splitlines() if line.strip()]
    line = next((line for line in lines if "rror" in line), lines[-1] if lines else "nothing")
    return "".join("#" if letter.isdigit() else letter for letter in line)[:160]


def make(world: World) -> list[Source]:
    here = Path(__file__).resolve().parent
    python, send = os.environ["ANNALS_TEST_CLIENT_PYTHON"], os.environ["ANNALS_SEND"]

    def rust(port: int, folder: Path) -> list[str]:
        return [send, f"http://127.0.0.1:{port}", str(folder)]

    def client(port: int, folder: Path) -> list[str]:
        return [python, str(here / "emit.py"), f"http://127.0.0.1:{port}", str(folder)]

    world.environment["ANNALS_API_KEY"] = world.key
    seeds = random.Random(world.seed)
    sources: list[Source] = [Http(world, f"http{number}", seeds.getrandbits(64)) for number in range(3)]
    sources += [Otlp(world, "otlp", seeds.getrandbits(64))]
    sources += [Record(world, f"record{number}", seeds.getrandbits(64)) for number in range(2)]
    sources += [
        Spooled(world, "rust", seeds.getrandbits(64), rust),
        Spooled(world, "python", seeds.getrandbits(64), client),
    ]
    sources += [Administrator(world, f"admin{number}", seeds.getrandbits(64)) for number in range(2)]
    return sources


def start(world: World, sources: list[Source]) -> list[threading.Thread]:
    def work(source: Source) -> None:
        try:
            source.work()
        except Exception as error:
            world.fault(f"{source.name}: {error!r}")
            raise

    workers = [threading.Thread(target=work, args=(source,), name=source.name, daemon=True) for source in sources]
    for worker in workers:
        worker.start()
    return workers


def drain(world: World, sources: list[Source]) -> None:
    for source in sources:
        source.drain()
