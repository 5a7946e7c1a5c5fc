"""Whether everything that was acknowledged is in the log, once, as it was sent, and nothing else."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import cast

from agents import Administrator, Source, Spooled
from world import World

SHOWN = 5


def judge(world: World, sources: list[Source]) -> None:
    began = time.monotonic()
    events = read(world)
    erased = {seq for source in sources if isinstance(source, Administrator) for seq in source.erased}
    known = {event_id: source for source in sources for event_id in source.sent}
    seen: Counter[str] = Counter()
    order: dict[str, list[int]] = {source.name: [] for source in sources}
    for event in events:
        event_id, message = name_of(event)
        if event_id is None:
            continue
        source = known.get(event_id)
        if source is None:
            world.fault(f"nobody sent {json.dumps(event)[:300]}")
            continue
        seen[event_id] += 1
        if message is not None and message != source.sent[event_id]:
            world.fault(f"{source.name}: {event_id} is not what was sent: {message[:100]!r}")
        order[source.name].append(list_place(source, event_id))
    # An event that was erased is not exported, and is still in the log.
    for event_id in {event_id for source in sources for event_id in getattr(source, "to_erase", ())}:
        seen[event_id] = seen[event_id] or count_rows(world, event_id)
    for source in sources:
        missing = [event_id for event_id in source.sent if event_id in source.acknowledged and not seen[event_id]]
        doubled = [event_id for event_id in source.sent if seen[event_id] > 1]
        if missing:
            world.fault(f"{source.name}: {len(missing)} acknowledged events are missing, such as {missing[:SHOWN]}")
        if doubled:
            world.fault(f"{source.name}: {len(doubled)} events are there more than once, such as {doubled[:SHOWN]}")
        if isinstance(source, Spooled) and (places := order[source.name]) != sorted(places):
            world.fault(f"{source.name}: events are out of order")
    acknowledged = sum(len(source.acknowledged) for source in sources)
    print(f"{acknowledged} events acknowledged, {sum(seen.values())} of them and of unanswered ones in the log")
    print(f"{len(erased)} events erased; counted in {time.monotonic() - began:.1f} s")
    verify(world, len(erased))


def read(world: World) -> list[dict[str, object]]:
    path = world.folder / "events.jsonl"
    status, _, said = world.run("export", ["export", "--output", str(path)])
    if status:
        world.fault(f"export ended with {status}: {said[-1000:]}")
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def count_rows(world: World, event_id: str) -> int:
    with closing(sqlite3.connect(world.path)) as log:
        [[count]] = log.execute(
            "SELECT count(*) FROM log WHERE event_id = ?", [bytes.fromhex(event_id.replace("-", ""))]
        )
    return int(count)


def list_place(source: Source, event_id: str) -> int:
    return int(source.sent[event_id].split()[1])


def name_of(event: dict[str, object]) -> tuple[str | None, str | None]:
    """The id under which it was sent, where it is one of those that were; and its text."""
    match event.get("type"):
        case "note.logged":
            return str(event["id"]), str(event["message"])
        case "otel.span":
            span = cast(dict[str, str], event["span"])
            return span["traceId"] + span["spanId"], span["name"]
        case _:
            return None, None


def verify(world: World, erased: int) -> None:
    status, answer, said = world.run("verify", ["--json", "verify"])
    if status:
        world.fault(f"verify ended with {status}: {answer[-2000:]!r} {said[-1000:]}")
    else:
        report = json.loads(answer)
        print(f"verify: {report['log']['events']} events, {report['completeness']}")
        if report["completeness"]["projections_behind"]:
            world.fault("servers that stopped in peace left read tables behind")
        if len(report["redactions"]) < erased:
            world.fault(f"{erased} erasures were acknowledged, and {len(report['redactions'])} are there")
    tool = Path(__file__).resolve().parents[1] / "verify.py"
    done = subprocess.run(
        [os.environ["ANNALS_TEST_PYTHON"], "-B", str(tool), "log", str(world.path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        world.fault(f"tools/verify.py ended with {done.returncode}: {done.stdout[-1500:]} {done.stderr[-1500:]}")
    elif done.stdout:
        print(f"tools/verify.py: {done.stdout.splitlines()[0]}")
