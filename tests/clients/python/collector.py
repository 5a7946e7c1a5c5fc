"""A collector, rotel, in front of `annals serve`: each span that it took is in the log exactly once, whatever befalls.

    collector.py ANNALS

runs that program three times over: undisturbed; behind a proxy that answers 429 and 503, to some requests in place of
the server's own answer; and killed and started again while spans arrive. Exits with 1 if spans are missing or doubled.

The server is killed when it has answered: rotel drops what it was sending when a connection is reset.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import rotel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

TRACES = 40
SPANS_PER_TRACE = 5
SPANS = TRACES * SPANS_PER_TRACE
LIMIT_SECONDS = 120


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {LIMIT_SECONDS} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """`annals serve` at one port with one log, however often it is killed."""

    def __init__(self, program: str, folder: Path) -> None:
        self.log = folder / "audit.annals"
        self.port = free_port()
        self.command = [program, "serve", "--db", str(self.log), "--listen", f"127.0.0.1:{self.port}"]
        self.environment = os.environ | {"ANNALS_HOME": str(folder)}
        self.start()

    def start(self) -> None:
        devnull = subprocess.DEVNULL
        self.process = subprocess.Popen(self.command, stdout=devnull, stderr=devnull, env=self.environment)
        wait_for("the server listens", lambda: listens(self.port))

    def end(self, by: signal.Signals) -> None:
        self.process.send_signal(by)
        self.process.wait(LIMIT_SECONDS)

    def count(self, query: str) -> int:
        connection = sqlite3.connect(f"file:{self.log}?mode=ro", uri=True)
        try:
            return connection.execute(query).fetchone()[0]
        finally:
            connection.close()

    def spans(self) -> int:
        return self.count("SELECT count(*) FROM timeline WHERE kind = 'otel.span'")


@contextmanager
def collector(port: int, folder: Path) -> Iterator[int]:
    """rotel with a port of its own, which sends on to another."""
    own = free_port()
    program = Path(rotel.__file__).parent / "rotel-agent"
    options = {
        "otlp-http-endpoint": f"127.0.0.1:{own}",
        "otlp-grpc-endpoint": f"127.0.0.1:{free_port()}",
        "exporter": "otlp",
        "otlp-exporter-endpoint": f"http://127.0.0.1:{port}",
        "otlp-exporter-protocol": "http",
        "otlp-exporter-retry-initial-backoff": "100ms",
        "otlp-exporter-retry-max-backoff": "500ms",
        "otlp-exporter-retry-max-elapsed-time": f"{LIMIT_SECONDS}s",
        "batch-timeout": "100ms",
        "batch-max-size": "20",
        "pid-file": str(folder / f"rotel-{own}.pid"),
    }
    arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
    with open(folder / f"rotel-{own}.log", "wb") as log:
        process = subprocess.Popen([program, "start", *arguments], stdout=log, stderr=log)
    try:
        wait_for("the collector listens", lambda: listens(own))
        yield own
    finally:
        process.terminate()
        process.wait(LIMIT_SECONDS)


class Proxy(BaseHTTPRequestHandler):
    """Answers the first requests as `trouble` says, and sends on the others.

    With `committed` it sends on, and answers 503 all the same: the collector sends again what the log has.
    """

    protocol_version = "HTTP/1.1"
    target: int
    trouble: list[str]
    lock = threading.Lock()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with Proxy.lock:
            trouble = Proxy.trouble.pop(0) if Proxy.trouble else ""
        if trouble.isdigit():
            self.answer(int(trouble), b"")
            return
        try:
            status, answer = self.send_on(body)
        except OSError:
            status, answer = 503, b""
        self.answer(503 if trouble == "committed" else status, answer)

    def send_on(self, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", Proxy.target, timeout=LIMIT_SECONDS)
        names = ("Content-Type", "Content-Encoding")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        connection.request("POST", self.path, body, headers)
        answer = connection.getresponse()
        answered = answer.read()
        connection.close()
        return answer.status, answered

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", self.headers["Content-Type"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def proxy(port: int) -> Iterator[int]:
    Proxy.target = port
    Proxy.trouble = ["429", "503", "committed", "503", "429", "committed"]
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
    if Proxy.trouble:
        sys.exit(f"the proxy was asked too seldom: {Proxy.trouble} are left")


def send(port: int, between: Callable[[int], None] = lambda _: None) -> None:
    """Send all spans to the collector, trace by trace, with a word in between."""
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{port}/v1/traces")
    provider = TracerProvider(resource=Resource({"service.name": "weather-desk"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("weather-desk", "1.0")
    for number in range(TRACES):
        with tracer.start_as_current_span(f"question {number}"):
            for step in range(SPANS_PER_TRACE - 1):
                with tracer.start_as_current_span(f"step {step}"):
                    pass
        provider.force_flush()
        between(number)
    provider.shutdown()


def check(server: Server, what: str) -> None:
    wait_for(f"{what}: all {SPANS} spans", lambda: server.spans() >= SPANS)
    time.sleep(3)  # longer than the collector waits: for those that it sends again
    server.end(signal.SIGTERM)
    found = server.spans(), server.count("SELECT count(*) FROM steps"), server.count("SELECT count(*) FROM sessions")
    if found != (SPANS, SPANS, TRACES):
        sys.exit(f"{what}: {found} events, steps and sessions in place of {(SPANS, SPANS, TRACES)}")
    command = [server.command[0], "--db", str(server.log), "verify"]
    if subprocess.run(command, stdout=subprocess.DEVNULL, env=server.environment, check=False).returncode != 0:
        sys.exit(f"{what}: the log does not verify")


def undisturbed(server: Server, folder: Path) -> None:
    with collector(server.port, folder) as port:
        send(port)
        check(server, "undisturbed")


def refused(server: Server, folder: Path) -> None:
    with proxy(server.port) as between, collector(between, folder) as port:
        send(port)
        check(server, "refused")


def killed(server: Server, folder: Path) -> None:
    def kill(number: int) -> None:
        if number in (TRACES // 4, TRACES // 2):
            wait_for("the server has answered", lambda: server.spans() == (number + 1) * SPANS_PER_TRACE)
            time.sleep(0.2)
            server.end(signal.SIGKILL)
        if number in (TRACES // 4 + 5, TRACES // 2 + 5):
            time.sleep(1)  # the collector tries in vain
            server.start()

    with collector(server.port, folder) as port:
        send(port, kill)
        check(server, "killed")


def main() -> None:
    for case in (undisturbed, refused, killed):
        with tempfile.TemporaryDirectory() as folder:
            server = Server(sys.argv[1], Path(folder))
            try:
                case(server, Path(folder))
            finally:
                server.process.kill()
        print(f"{case.__name__}: {SPANS} spans, each once")


if __name__ == "__main__":
    main()
