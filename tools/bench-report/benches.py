"""Runs the benchmarks of benches/ and reads what criterion keeps of them."""

import json
import subprocess
import time
from collections import defaultdict
from pathlib import Path

# A measure whose name begins so is the limit that its group is held against.
LIMIT = "limit"


def measured(repository: Path) -> list[dict]:
    """Every group that ran, with its measures."""
    about = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--no-deps"],
            cwd=repository,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    )
    began = time.time()
    for target in about["packages"][0]["targets"]:
        if target["kind"] == ["bench"]:
            subprocess.run(["cargo", "bench", "--locked", "--bench", target["name"]], cwd=repository, check=True)
    return groups(Path(about["target_directory"]) / "criterion", began)


def groups(folder: Path, began: float) -> list[dict]:
    """The groups in a folder of criterion's that were measured since."""
    found = defaultdict(list)
    for file in sorted(folder.glob("**/new/benchmark.json")):
        if file.stat().st_mtime >= began:
            benchmark = json.loads(file.read_text())
            found[benchmark["group_id"]].append(measure(benchmark, file.with_name("estimates.json")))
    for measures in found.values():
        limits = {m["value"]: m["ns"] for m in measures if m["function"].startswith(LIMIT)}
        for one in measures:
            limit = limits.get(one["value"], limits.get(None))
            one["of_limit"] = limit / one["ns"] if limit else None
    return [{"id": name, "measures": measures} for name, measures in sorted(found.items())]


def measure(benchmark: dict, estimates: Path) -> dict:
    """One measure: the median of its rounds, and what one round handled."""
    median = json.loads(estimates.read_text())["median"]
    elements = (benchmark.get("throughput") or {}).get("Elements") or 1
    interval = median["confidence_interval"]
    return {
        "function": benchmark["function_id"] or "",
        "value": benchmark["value_str"],
        "elements": elements,
        "ns": median["point_estimate"] / elements,
        "ns_low": interval["lower_bound"] / elements,
        "ns_high": interval["upper_bound"] / elements,
    }
