"""Runs the benchmarks of benches/, reads what criterion keeps of them, and what they print beside it."""

import json
import re
import subprocess
import time
from collections import defaultdict
from pathlib import Path

# A measure whose name begins so is a limit that others of its group are held against.
LIMIT = "limit: "

# Where a group has several limits: the one that a measure is held against, by what its name begins with.
HELD_AGAINST = {
    ("projections", "append to visible"): "limit: sessions by hand",
    ("projections", "rebuild search"): "limit: full-text index by hand",
    ("projections", "rebuild"): "limit: sessions by hand",
}

# Percentiles, which criterion has none of: benchmarks that want them print such lines.
PERCENTILES = re.compile(r"(?:median|p50) .+, p99 .+")

# It has arguments and a table of its own.
APART = "scale"


def measured(repository: Path, only: list[str] | None) -> list[dict]:
    """What each benchmark measured and printed."""
    about = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--no-deps"],
            cwd=repository,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    criterion = Path(about["target_directory"]) / "criterion"
    names = [target["name"] for target in about["packages"][0]["targets"] if target["kind"] == ["bench"]]
    names = [name for name in names if name != APART and (only is None or name in only)]
    found = []
    for name in names:
        began = time.time()
        lines = printed(["cargo", "bench", "--locked", "--bench", name], repository)
        groups = groups_since(criterion, began)
        # A benchmark without criterion says all that it has to say in its lines.
        said = [line for line in lines if PERCENTILES.search(line)] if groups else lines
        found.append({"name": name, "groups": groups, "said": said})
    return found


def printed(command: list[str], folder: Path) -> list[str]:
    """What a program prints, shown as well while it runs."""
    lines = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return [line for line in lines if line]


def groups_since(folder: Path, began: float) -> list[dict]:
    """The groups in a folder of criterion's that were measured since."""
    found = defaultdict(list)
    for file in sorted(folder.glob("**/new/benchmark.json")):
        if file.stat().st_mtime >= began:
            benchmark = json.loads(file.read_text())
            found[benchmark["group_id"]].append(measure(benchmark, file.with_name("estimates.json")))
    for group, measures in found.items():
        measures.sort(key=lambda one: (one["function"].startswith(LIMIT), one["function"], number(one["value"])))
        for one in measures:
            limit = limit_of(group, one, measures)
            one["limit"] = limit["function"] if limit else None
            one["of_limit"] = limit["ns"] / one["ns"] if limit else None
    return [{"id": name, "measures": measures} for name, measures in sorted(found.items())]


def measure(benchmark: dict, estimates: Path) -> dict:
    """One measure: the median of its rounds, and what one round handled."""
    median = json.loads(estimates.read_text())["median"]
    elements, size = handled(benchmark.get("throughput") or {})
    interval = median["confidence_interval"]
    return {
        "function": benchmark["function_id"] or "",
        "value": benchmark["value_str"],
        "elements": elements,
        "bytes": size,
        "ns": median["point_estimate"] / elements,
        "ns_low": interval["lower_bound"] / elements,
        "ns_high": interval["upper_bound"] / elements,
    }


def handled(throughput: dict) -> tuple[int, int | None]:
    """What one round handled: things, and their bytes where the benchmark counts them."""
    both = throughput.get("ElementsAndBytes") or {}
    return both.get("elements") or throughput.get("Elements") or 1, both.get("bytes")


def limit_of(group: str, one: dict, measures: list[dict]) -> dict | None:
    """What a measure is held against: the group's only limit, or the one that is named above."""
    limits = [other for other in measures if other["function"].startswith(LIMIT)]
    limits = [other for other in limits if other["value"] in (one["value"], None)]
    if one in limits:
        return None
    if len(limits) == 1:
        return limits[0]
    for (of, begins), name in HELD_AGAINST.items():
        if of == group and one["function"].startswith(begins):
            return next((limit for limit in limits if limit["function"] == name), None)
    return None


def number(value: str | None) -> float:
    """The parameter of a measure, if it is a number: 4 comes before 16."""
    try:
        return float(value or 0)
    except ValueError:
        return 0
