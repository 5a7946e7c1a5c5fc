"""What is said of several rounds: medians, and ratios within a round."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

# The peer that is the limit, and the ways of Annals, as folder/variant.
LIMIT = "by-hand/group-commit"
ANNALS = ("annals/log", "annals/defaults")

SCENARIO = "scenario"


@dataclass(frozen=True)
class Way:
    """A way of using a peer."""

    key: str
    label: str
    peer: str
    version: str | None
    durable: bool
    batches: bool
    durability: str
    source: str
    note: str


@dataclass(frozen=True)
class Cell:
    """One way, at one number of producers."""

    way: Way
    rounds: int
    rate: float
    of_limit: float | None
    p50: float
    p99: float
    p999: float
    longest: float


class Figures:
    """The figures of a run, as tables and plots want them."""

    def __init__(self, run: dict) -> None:
        self.run = run
        self.runs = run["runs"]
        self.ways = [
            Way(
                key=f"{folder}/{way['name']}",
                label=way["label"],
                peer=peer["peer"],
                version=peer["version"],
                **{name: way[name] for name in ("durable", "batches", "durability", "source", "note")},
            )
            for folder, peer in run["peers"].items()
            for way in peer["variants"]
        ]
        self.ways.sort(key=lambda way: (way.key not in ANNALS, way.key != LIMIT, not way.durable, way.key))

    def table(self, mode: str, producers: int, scenario: bool = False) -> list[Cell]:
        """One row for each way that ran so, the fastest durable one first."""
        wanted = [
            run
            for run in self.runs
            if run["mode"] == mode and run["producers"] == producers and (run["label"] == SCENARIO) == scenario
        ]
        limits = {run["label"]: run["events_per_second"] for run in wanted if key(run) == LIMIT}
        cells = []
        for way in self.ways:
            runs = [run for run in wanted if key(run) == way.key]
            if runs:
                cells.append(cell(way, runs, limits))
        return sorted(cells, key=lambda cell: (not cell.way.durable, -cell.rate))

    def bytes_per_event(self, way: Way) -> tuple[float, int] | None:
        """What an event takes up on the disk, and in how many: in the run that stored most."""
        runs = [run for run in self.runs if key(run) == way.key]
        if not runs:
            return None
        most = max(runs, key=lambda run: run["events"])
        return most["disk_bytes_per_event"], most["events"]

    def flushes(self, way: Way) -> float | None:
        """Flushes that were counted for each event of a single producer."""
        return self.run["flushes_per_event"].get(way.key)

    def settings(self, way: Way) -> list[list[str]]:
        """What was read back from the open store."""
        return next((run["settings"] for run in self.runs if key(run) == way.key), [])


def key(run: dict) -> str:
    """The way that a run was one of."""
    return f"{run['folder']}/{run['variant']}"


def cell(way: Way, runs: list[dict], limits: dict[str, float]) -> Cell:
    """One way's rounds, put together."""

    def over(figure: Callable[[dict], float]) -> float:
        return median(figure(run) for run in runs)

    ratios = [run["events_per_second"] / limits[run["label"]] for run in runs if run["label"] in limits]
    return Cell(
        way=way,
        rounds=len(runs),
        rate=over(lambda run: run["events_per_second"]),
        of_limit=median(ratios) if ratios else None,
        p50=over(lambda run: run["latency_us"]["p50"]),
        p99=over(lambda run: run["latency_us"]["p99"]),
        p999=over(lambda run: run["latency_us"]["p999"]),
        longest=max(run["latency_us"]["max"] for run in runs),
    )
