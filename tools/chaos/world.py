"""The log, its servers, every process, and what is done to them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

SHORT_S = (0.02, 0.4)
"""Between two disturbances."""
STOPPED_S = (0.01, 1.5)
STARVED_S = (0.05, 1.0)
CLOSING_S = 600.0
"""Only a hang takes so long."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class World:
    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.folder = folder
        self.annals = os.environ["ANNALS_BIN"]
        self.seed = seed
        self.random = random.Random(seed)
        self.over = threading.Event()
        """No more is begun."""
        self.stopping = threading.Event()
        """The servers end in peace."""
        self.abandoned = False
        self.last_words: dict[str, str] = {}
        """What the last process of a name said."""
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._living: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        self._mounted: list[Path] = []
        self._keepers: list[threading.Thread] = []
        self.ports = [free_port(), free_port()]
        self.logs = self._volume("log", 256 + int(4 * seconds))
        self.spools = self._volume("spools", 24)
        self.path = self.logs / "audit.db"
        self.key = ""
        self.errors = folder / "errors"
        self.errors.mkdir()
        self.environment = {
            **os.environ,
            "ANNALS_HOME": str(folder / "home"),
            "ANNALS_DB": str(self.path),
            "USER": "chaos",
            "RUST_BACKTRACE": "1",
        }

    def _volume(self, name: str, mebibytes: int) -> Path:
        """A file system of its own, where one can be mounted: then it can be filled."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        options = f"size={mebibytes}m,mode=700"
        command = ["mount", "-t", "tmpfs", "-o", options, "annals-chaos", str(folder)]
        with suppress(OSError):
            if subprocess.run(command, capture_output=True, check=False).returncode == 0:
                self._mounted.append(folder)
        return folder

    def fault(self, text: str) -> None:
        with self._lock:
            self.faults.append(text)
        print(f"fault: {text}", flush=True)

    def count(self, what: str, times: int = 1) -> None:
        with self._lock:
            self.counts[what] += times

    # Processes.

    def command(self, *arguments: str) -> list[str]:
        return [self.annals, *arguments]

    @contextmanager
    def process(self, name: str, command: Sequence[str], **pipes: IO[bytes] | int) -> Iterator[subprocess.Popen[bytes]]:
        """A process that anything may happen to until it ends."""
        number = time.monotonic_ns()
        errors = self.errors / f"{name}-{number}"
        with errors.open("wb") as file:
            process = subprocess.Popen(command, stderr=file, env=self.environment, **pipes)  # type: ignore[call-overload]
        with self._lock:
            self._living[process.pid] = (name, process)
        try:
            yield process
        finally:
            with self._lock:
                self._living.pop(process.pid, None)
            if process.poll() is None:
                process.kill()
            process.wait()
            said = errors.read_text("utf-8", "replace")
            if "panicked" in said or process.returncode in (101, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
                self.fault(f"{name} ended with {process.returncode}: {said[-2000:]}")
            else:
                errors.unlink()
            self.last_words[name] = said

    def run(self, name: str, arguments: Sequence[str], content: bytes = b"") -> tuple[int, bytes, str]:
        """Runs a command to its end, which may come early. Its status, its answer, and what it said."""
        errors = self.errors / f"{name}-{time.monotonic_ns()}"
        with errors.open("wb") as file:
            process = subprocess.Popen(
                self.command(*arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env=self.environment,
            )
        with self._lock:
            self._living[process.pid] = (name, process)
        try:
            answer, _ = process.communicate(content, timeout=CLOSING_S)
        except subprocess.TimeoutExpired:
            self.fault(f"{name} hangs")
            process.kill()
            answer, _ = process.communicate()
        finally:
            with self._lock:
                self._living.pop(process.pid, None)
        said = errors.read_text("utf-8", "replace")
        if "panicked" in said or process.returncode in (101, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS):
            self.fault(f"{name} ended with {process.returncode}: {said[-2000:]}")
        errors.unlink()
        return process.returncode, answer, said

    # The log and its servers.

    def begin(self) -> None:
        for arguments in (("record",), ("key", "generate", "--epochs")):
            status, _, said = self.run("begin", arguments)
            if status:
                raise SystemExit(f"annals {arguments[0]} cannot begin a log: {said}")
        status, answer, said = self.run(
            "begin", ["--json", "apikey", "create", "--name", "chaos", "--scopes", "emit,read,verify,admin"]
        )
        if status:
            raise SystemExit(f"annals apikey cannot make a key: {said}")
        self.key = json.loads(answer)["key"]
        for port in self.ports:
            keeper = threading.Thread(target=self._serve, args=(port,), name=f"server-{port}")
            keeper.start()
            self._keepers.append(keeper)

    def _serve(self, port: int) -> None:
        """Keeps a server running, whatever becomes of it."""
        while not self.stopping.is_set():
            with self.process(
                "serve",
                self.command("serve", "--listen", f"127.0.0.1:{port}", "--grace", "5"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            ) as process:
                while process.poll() is None:
                    if self.stopping.wait(0.02):
                        process.send_signal(signal.SIGTERM)
                        try:
                            process.wait(CLOSING_S)
                        except subprocess.TimeoutExpired:
                            self.fault("a server does not stop")
                        if process.returncode and not self.abandoned:
                            self.fault(f"a server that was stopped in peace ended with {process.returncode}")
                        break
            self.count(f"server ended ({process.returncode})")
            time.sleep(0.02)

    def stop_servers(self) -> None:
        self.stopping.set()
        for keeper in self._keepers:
            keeper.join(CLOSING_S)

    # Disorder.

    def disturb(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        choices = [self._kill, self._kill, self._kill, self._terminate, self._stop, self._stop, self._hog]
        if self._mounted:
            choices += [self._fill]
        while time.monotonic() < end and not self.faults:
            time.sleep(self.random.uniform(*SHORT_S))
            self.random.choice(choices)()

    def calm(self) -> None:
        """Ends all disorder."""
        self.over.set()
        deadline = time.monotonic() + CLOSING_S
        for thread in threading.enumerate():
            if thread.name.startswith("disorder"):
                thread.join(max(0.0, deadline - time.monotonic()))

    def _victim(self) -> tuple[str, subprocess.Popen[bytes]] | None:
        with self._lock:
            living = sorted(self._living.items())
        return self.random.choice(living)[1] if living else None

    def _send(self, number: signal.Signals) -> subprocess.Popen[bytes] | None:
        if (victim := self._victim()) is None:
            return None
        name, process = victim
        with suppress(ProcessLookupError):
            process.send_signal(number)
        self.count(f"{number.name} to {name}")
        return process

    def _kill(self) -> None:
        self._send(signal.SIGKILL)

    def _terminate(self) -> None:
        self._send(signal.SIGTERM)

    def _stop(self) -> None:
        process, seconds = self._send(signal.SIGSTOP), self.random.uniform(*STOPPED_S)
        if process is not None:
            self._meanwhile(seconds, lambda: process.send_signal(signal.SIGCONT))

    def _hog(self) -> None:
        hogs = [
            subprocess.Popen(["sh", "-c", "while :; do :; done"], start_new_session=True)
            for _ in range(self.random.randrange(1, 5))
        ]
        self.count("processors taken", len(hogs))

        def end() -> None:
            for hog in hogs:
                hog.kill()
                hog.wait()

        self._meanwhile(self.random.uniform(*STARVED_S), end)

    def _fill(self) -> None:
        volume = self.random.choice(self._mounted)
        filler = volume / "filler"
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        self.count(f"{volume.name} filled")
        self._meanwhile(self.random.uniform(*STARVED_S), lambda: filler.unlink(missing_ok=True))

    def _meanwhile(self, seconds: float, then: object) -> None:
        def end() -> None:
            self.over.wait(seconds)
            with suppress(ProcessLookupError):
                then()  # type: ignore[operator]

        threading.Thread(target=end, name="disorder").start()

    # The end.

    def print_figures(self, sources: Sequence[object]) -> None:
        for source in sources:
            print(source)
        for what, times in sorted(self.counts.items()):
            print(f"{times:8}  {what}")
        print(f"{self.path.stat().st_size / 1e6:.1f} MB of log")

    def end(self) -> None:
        self.abandoned = True
        self.over.set()
        self.stopping.set()
        with self._lock:
            living = list(self._living.values())
        for _, process in living:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
        for keeper in self._keepers:
            keeper.join(10)
        for folder in self._mounted:
            if self.faults:
                # What is judged must outlast its volume.
                subprocess.run(["cp", "-a", f"{folder}/.", f"{folder}.left"], check=False)
            subprocess.run(["umount", "-l", str(folder)], check=False)
