"""Chaos: everything that writes to a log, killed, stopped and starved at random, and then counted.

    ANNALS_BIN=… ANNALS_SEND=… ANNALS_TEST_CLIENT_PYTHON=… ANNALS_TEST_PYTHON=… python3 tools/chaos/main.py

Two servers over one log, clients over HTTP and OTLP, `annals record`, the Rust and the Python client with their spools,
and the commands that look after a log, for ANNALS_CHAOS_SECONDS. ANNALS_CHAOS_SEED repeats what is done to them, and in
which order; the system decides when. In the end each event that was acknowledged must be in the log, once and as it was
sent, nothing else may be, and both verifiers must find the log good. ANNALS_BIN is the program, ANNALS_SEND the example
`send`; ANNALS_TEST_CLIENT_PYTHON has the Python client, and ANNALS_TEST_PYTHON what tools/verify.py needs.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import agents
import judge
from world import World

NEEDED = ["ANNALS_BIN", "ANNALS_SEND", "ANNALS_TEST_CLIENT_PYTHON", "ANNALS_TEST_PYTHON"]


def main() -> int:
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        print(f"chaos: {', '.join(missing)} must be set; tools/test --heavy sets them", file=sys.stderr)
        return 2
    seconds = float(os.environ.get("ANNALS_CHAOS_SECONDS", "60"))
    seed = int(os.environ.get("ANNALS_CHAOS_SEED", str(random.randrange(1 << 32))))
    print(f"chaos: {seconds:.0f} s with ANNALS_CHAOS_SEED={seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="annals-chaos-"))
    world = World(folder, seconds, seed)
    try:
        faults = run(world, seconds)
    finally:
        world.end()
    for fault in faults:
        print(f"FAULT: {fault}")
    if faults:
        print(f"{len(faults)} faults; what is left is in {folder}, and ANNALS_CHAOS_SEED={seed}")
        return 1
    shutil.rmtree(folder)
    return 0


def run(world: World, seconds: float) -> list[str]:
    world.begin()
    sources = agents.make(world)
    workers = agents.start(world, sources)
    world.disturb(seconds)
    began = time.monotonic()
    # What was begun is brought to its end, in peace: whoever sent something waits until it is acknowledged.
    world.calm()
    for worker in workers:
        worker.join(agents.HANG_S)
        if worker.is_alive():
            world.fault(f"{worker.name} hangs after the end of the disorder")
    if world.faults:
        return world.faults
    agents.drain(world, sources)
    print(f"all was acknowledged {time.monotonic() - began:.1f} s after the end of the disorder")
    world.stop_servers()
    judge.judge(world, sources)
    world.print_figures(sources)
    return world.faults


if __name__ == "__main__":
    sys.exit(main())
