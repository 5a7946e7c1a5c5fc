"""Runs benches/scale.rs, or reads what a run of it by hand printed, and puts its figures in order."""

import json
from pathlib import Path

from benches import printed

# What is run unless something else is asked for: sizes that take a minute or two.
DEFAULT = ["--texts", "short", "10000", "1000000"]

# Rows of the table, in this order. What the benchmark says beside them comes after.
ROWS = [
    "appended a second",
    "visible a second",
    "appended a second to it, 256 bytes, without read tables",
    "verified a second",
    "bytes an event",
    "opening, ms",
    "sessions, first page, ms",
    "sessions that failed, first page, ms",
    "show of a session, ms",
    "replay of a session, ms",
    "search for a frequent word, newest first, ms",
    "search for a word that is nowhere, newest first, ms",
]

# What the columns are, and not what was measured.
HEAD = {"events", "texts", "read tables"}


def measured(repository: Path, arguments: list[str]) -> dict:
    """What the benchmark says of each size that its arguments name."""
    return found(printed(["cargo", "bench", "--locked", "--bench", "scale", "--", *arguments], repository))


def read(file: Path) -> dict:
    """What a run by hand printed: a line of JSON for each size."""
    return found(file.read_text().splitlines())


def found(lines: list[str]) -> dict:
    """The sizes of one run."""
    sizes = [json.loads(line) for line in lines if line.startswith("{")]
    if not sizes:
        raise SystemExit("benches/scale.rs said nothing of any size")
    return {"sizes": sizes}


def merged(runs: list[dict], more: list[dict]) -> list[dict]:
    """Runs in the order of their sizes; a later one takes the place of an earlier one of the same logs."""
    by_logs = {logs(run): run for run in [*runs, *more]}
    return [by_logs[one] for one in sorted(by_logs)]


def logs(run: dict) -> tuple:
    """What a run was made on."""
    first = run["sizes"][0]
    events = tuple(size["events"] for size in run["sizes"])
    return (events, first["texts"], first["read tables"])


def rows(run: dict) -> list[tuple[str, list[str]]]:
    """The rows of a run's table: what was measured, and a cell for each size."""
    sizes = run["sizes"]
    names = {name for size in sizes for name in size} - HEAD
    ordered = [name for name in ROWS if name in names] + sorted(names.difference(ROWS))
    return [(name, [cell(size.get(name)) for size in sizes]) for name in ordered]


def cell(value: dict | float | None) -> str:
    """A number, or the median and the longest of some times."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, dict):
        return f"{millis(value['median'])}, longest {millis(value['longest'])}"
    return f"{value:,.0f}"


def millis(number: float) -> str:
    """Milliseconds to what can be told apart."""
    return f"{number:.3g}" if number < 100 else f"{number:,.0f}"
