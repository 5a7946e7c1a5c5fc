"""The machine that a run was made on: what decides the figures, and nothing that names it."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path


def described(repository: Path) -> dict:
    """Processor, memory, kernel, file system, compiler, and what was measured."""
    return {
        "date": datetime.now(tz=UTC).date().isoformat(),
        "cpu": first(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()) or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(first(r"MemTotal:\s*(\d+) kB", Path("/proc/meminfo").read_text())) / 2**20),
        # Without what a distribution or a provider adds to the number.
        "kernel": f"{platform.system()} {first(r'([0-9.]+)', platform.release())}",
        "file_system": said(["findmnt", "-n", "-o", "FSTYPE", "-T", str(repository)]),
        "rustc": said(["rustc", "--version"], repository),
        "commit": said(["git", "describe", "--always", "--dirty=, changed"], repository),
    }


def first(pattern: str, text: str) -> str | None:
    """The first group of the first match."""
    found = re.search(pattern, text)
    return found.group(1) if found else None


def said(command: list[str], folder: Path | None = None) -> str:
    """What a command prints."""
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
