"""Builds and runs the programs of tools/peers."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from plan import Plan

HARNESS = "harness"

# Beyond its time, a run opens, closes, flushes and counts its store.
SLACK_SECONDS = 300


def measured(repository: Path, plan: Plan, only: list[str] | None) -> dict:
    """Runs every way of using every peer, in turns."""
    folder = repository / "tools" / "peers"
    names = sorted(found.parent.name for found in folder.glob("*/Cargo.toml") if found.parent.name != HARNESS)
    names = [name for name in names if only is None or name in only]
    target = target_folder(folder / HARNESS)
    for name in [HARNESS, *names]:
        print(f"building {name}", flush=True)
        manifest = folder / name / "Cargo.toml"
        build = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", str(manifest)]
        # The peers share a target folder, so that what they have in common is built once.
        subprocess.run([*build, "--target-dir", str(target)], check=True)
    programs = {name: target / "release" / f"annals-peer-{name}" for name in names}
    described = {name: json.loads(printed([str(program), "--describe"], 10)) for name, program in programs.items()}

    stores = repository / "target" / "bench-stores"
    stores.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=stores) as place:
        host = json.loads(printed([str(target / "release/host"), f"--seconds={plan.seconds}", "--folder", place], 600))
        session = Session(plan, Path(place), programs, described)
        session.flushes()
        session.rounds()
        session.compare_pages()
    return {
        "plan": plan.as_json(),
        "host": host,
        "peers": described,
        "runs": session.runs,
        "flushes_per_event": session.flushes_per_event,
        "failures": session.failures,
    }


class Session:
    """One after the other, nothing beside it."""

    def __init__(self, plan: Plan, place: Path, programs: dict[str, Path], described: dict[str, dict]) -> None:
        self.plan = plan
        self.place = place
        self.programs = programs
        self.ways = [(name, way) for name, peer in described.items() for way in peer["variants"]]
        self.runs: list[dict] = []
        self.failures: list[dict] = []
        self.flushes_per_event: dict[str, float] = {}

    def rounds(self) -> None:
        """All rounds, then the scenario."""
        single = [("single", producers) for producers in self.plan.producers]
        for number in range(self.plan.rounds):
            # Every other round goes the other way about, so that nobody always follows the same one.
            ways = self.ways if number % 2 == 0 else self.ways[::-1]
            for mode, producers in [*single, ("batch", self.plan.batches_in_flight)]:
                for name, way in ways:
                    self.run(name, way, mode, producers, self.plan.seconds, f"round {number + 1}")
        if scenario := self.plan.scenario:
            for name, way in self.ways:
                self.run(name, way, "single", scenario.producers, scenario.seconds, "scenario")

    def run(self, name: str, way: dict, mode: str, producers: int, seconds: float, label: str) -> None:
        """One program, once."""
        if mode == "batch" and not way["batches"]:
            return
        try:
            line = printed(self.command(name, way, mode, producers, seconds), seconds + SLACK_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
            self.fail(name, way, f"{mode}, {producers} producers", failure)
            return
        outcome = last(line)
        print(f"{label}: {way['label']}, {mode}, {producers}: {outcome['events_per_second']:,.0f}/s", flush=True)
        self.runs.append({"folder": name, "label": label, **outcome})

    def command(self, name: str, way: dict, mode: str, producers: int, seconds: float) -> list[str]:
        """How a program is called."""
        return [
            str(self.programs[name]),
            f"--variant={way['name']}",
            f"--mode={mode}",
            f"--producers={producers}",
            f"--seconds={seconds}",
            f"--payload-bytes={self.plan.payload_bytes}",
            f"--batch-events={self.plan.batch_events}",
            f"--folder={self.place}",
        ]

    def flushes(self) -> None:
        """Counts the flushes that each peer asks the system for while one producer appends."""
        if not shutil.which("strace"):
            print("strace is not installed: flushes are not counted")
            return
        for name, way in self.ways:
            trace = self.place / "trace"
            strace = ["strace", "-f", "-qq", "-e", "trace=fsync,fdatasync,msync", "-o", str(trace)]
            try:
                line = printed(strace + self.command(name, way, "single", 1, 0.5), SLACK_SECONDS)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as failure:
                self.fail(name, way, "counting flushes", failure)
                continue
            calls = len(re.findall(r"^\d+ +(?:fsync|fdatasync|msync)\(", trace.read_text(), re.MULTILINE))
            self.flushes_per_event[f"{name}/{way['name']}"] = calls / last(line)["events"]

    def compare_pages(self) -> None:
        """The limit is one only while its pages are as large as Annals'."""
        pages = {run["folder"]: dict(run["settings"]).get("page_size") for run in self.runs}
        if "annals" in pages and pages.get("by-hand", pages["annals"]) != pages["annals"]:
            sizes = f"{pages['by-hand']} and {pages['annals']}"
            self.failures.append({"peer": "by-hand", "variant": "pages", "reason": f"pages of {sizes} bytes differ"})

    def fail(self, name: str, way: dict, what: str, failure: Exception) -> None:
        """Keeps what went wrong, for the page and the exit status."""
        said = (getattr(failure, "stderr", None) or str(failure)).strip().splitlines()
        reason = f"{what}: {said[-1] if said else 'no reason given'}".replace(str(self.place), "the folder")
        print(f"FAILED: {way['label']}, {reason}", flush=True)
        self.failures.append({"peer": name, "variant": way["name"], "reason": reason})


def last(printed: str) -> dict:
    """The figures, which are the last line: some peers print lines of their own."""
    return json.loads(printed.splitlines()[-1])


def target_folder(crate: Path) -> Path:
    """Where cargo builds, which the environment may say."""
    metadata = ["cargo", "metadata", "--format-version=1", "--no-deps", "--manifest-path", str(crate / "Cargo.toml")]
    return Path(json.loads(printed(metadata, 60))["target_directory"])


def printed(command: list[str], seconds: float) -> str:
    """What a program prints, if it ends well and in time."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds).stdout
