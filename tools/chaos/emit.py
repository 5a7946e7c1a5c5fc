"""The Python client as a process: `emit.py URL SPOOL` reads events, one a line, and prints the id of each that is safe.

At the end of its input it waits until the server has everything, and ends with status 0.
"""

from __future__ import annotations

import json
import sys
import time

import annals


def main() -> int:
    with annals.Client(sys.argv[1], spool=sys.argv[2], batch_events=50, retry_pause_max=0.5) as log:
        for line in sys.stdin:
            event = json.loads(line)
            while True:
                try:
                    print(log.emit(event), flush=True)
                    break
                except annals.SpoolError as error:
                    # The disk is full, and it was not taken.
                    print(error, file=sys.stderr)
                    time.sleep(0.05)
        log.flush(None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
