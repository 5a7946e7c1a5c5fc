"""A process that emits into a spool and is killed: `python -m tests.writer URL FOLDER COUNT`.

It prints the number of each event that was taken, and goes on until it is killed.
"""

from __future__ import annotations

import sys
import time

from .support import client, note


def main() -> None:
    url, folder, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    log = client(url, spool=folder, batch_events=20)
    for number in range(count):
        log.emit(note(number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    time.sleep(60)


if __name__ == "__main__":
    main()
