"""Write down, byte for byte, the OTLP requests that an instrumented program sends over HTTP.

    capture.py FOLDER COMMAND...

runs COMMAND with OTEL_EXPORTER_OTLP_ENDPOINT set to a server of its own, answers every request as a collector
does, and writes the bodies as `<n>.<traces|logs|metrics>.<pb|json>[.gz]` and what the requests' heads said as
`requests.json` into FOLDER. Python's standard library alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

KEPT_HEADERS = ("content-type", "content-encoding", "content-length", "transfer-encoding", "user-agent")


class Capture(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    lock = threading.Lock()
    requests: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        body = self.read_body()
        kind = self.headers.get("Content-Type", "")
        is_json = kind.startswith("application/json")
        with Capture.lock:
            name = f"{len(self.requests) + 1}.{self.path.rsplit('/', 1)[-1]}.{'json' if is_json else 'pb'}"
            if self.headers.get("Content-Encoding") == "gzip":
                name += ".gz"
            kept = {key: self.headers[key] for key in KEPT_HEADERS if key in self.headers}
            self.requests.append({"file": name, "path": self.path} | kept)
        (self.folder / name).write_bytes(body)
        answer = b"{}" if is_json else b""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def log_message(self, *args: object) -> None:
        pass


def main() -> int:
    Capture.folder = Path(sys.argv[1])
    Capture.folder.mkdir(parents=True, exist_ok=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), Capture) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        done = subprocess.run(sys.argv[2:], env=os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, check=False)
        server.shutdown()
    (Capture.folder / "requests.json").write_text(json.dumps(Capture.requests, indent=2) + "\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
