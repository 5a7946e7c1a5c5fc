"""The queue on disk.

A spool is a folder:

    lock              held with flock by the client that has the spool open; its process id
    <20 digits>.jsonl segments: events in order, one a line. A client begins a segment of its own and never
                      appends to those it finds
    acknowledged      how far the first segment is settled: {"segment": 3, "offset": 8192}
    refused.jsonl     {"at", "event", "problem"} for each event that the server refused for good
    damaged.jsonl     {"at", "segment", "offset", "bytes"} for what stood in a segment and is no event

A line is written with one call, so that a process that is killed leaves whole lines and at most one torn one at the
end. That one was not acknowledged to its caller; what there is of it is set aside in damaged.jsonl, unless only the
line break is missing.

`acknowledged` is replaced as a whole, but not flushed to the disk: where it is lost or old, events are sent again, and
the server knows them by their ids.
"""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ._ids import now
from ._queue import Fsync, parse, within
from .errors import Refused, SpoolError, SpoolInUse

logger = logging.getLogger("annals")

SEGMENT_BYTES: Final = 8 << 20
"""A segment that has so many bytes is followed by another: what is settled is given back to the disk in such pieces."""

_SEGMENT_NAME = re.compile(r"[0-9]{20}\.jsonl")
_PEEK_BYTES_MIN: Final = 64 << 10


@dataclass
class _Segment:
    number: int
    path: Path
    size: int
    recovered: bool
    """Whether it was there before: then its lines are looked at before they are sent."""


class Spool:
    """A queue in a folder, for one client at a time."""

    durable = True

    def __init__(self, folder: Path, *, bytes_max: int, fsync: Fsync, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._segments: deque[_Segment] = deque()
        self._offset = 0
        self._count = 0
        self._bytes = 0
        self._next_number = 1
        self._out: int | None = None
        self._in: tuple[int, int] | None = None
        self._peeked: list[int] = []
        # What is not flushed to the disk yet. Its own lock, because flushing must not hold up who appends.
        self._sync_lock = threading.Lock()
        self._unsynced: dict[int, int] = {}
        self._folder_unsynced = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(folder)
        except OSError as error:
            raise SpoolError(f"the spool {folder} cannot be opened: {error}") from error
        try:
            self._recover()
        except OSError as error:
            os.close(self._lock)
            raise SpoolError(f"the spool {folder} cannot be read: {error}") from error

    def __len__(self) -> int:
        return self._count

    def has_room(self, line: bytes) -> bool:
        return self._count == 0 or self._bytes + len(line) <= self._bytes_max

    def append(self, line: bytes) -> None:
        try:
            self._append(line)
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} cannot be written: {error}") from error

    def _append(self, line: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if self._out is None or last is None or last.size >= self._segment_bytes:
            last = self._begin_segment()
        out = self._out
        if out is None:
            raise OSError("no segment")  # pragma: no cover
        try:
            written = os.write(out, line)
            while written < len(line):
                written += os.write(out, line[written:])
        except OSError:
            # A segment with half a line in it is not appended to, whether it could be cut off or not.
            self._out = None
            os.ftruncate(out, last.size)
            raise
        last.size += len(line)
        self._bytes += len(line)
        self._count += 1

    def _begin_segment(self) -> _Segment:
        path = self.folder / f"{self._next_number:020d}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        segment = _Segment(self._next_number, path, 0, recovered=False)
        self._next_number += 1
        self._segments.append(segment)
        self._out = descriptor
        with self._sync_lock:
            if self._fsync == "never":
                self._close_unsynced()
            self._unsynced[segment.number] = descriptor
            self._folder_unsynced = True
        return segment

    def sync(self) -> None:
        """Flushes segments and folder to the disk, as the policy says. Any thread."""
        if self._fsync == "never":
            return
        try:
            with self._sync_lock:
                for number, descriptor in list(self._unsynced.items()):
                    os.fsync(descriptor)
                    if descriptor != self._out:
                        os.close(self._unsynced.pop(number))
                if self._folder_unsynced:
                    _sync_folder(self.folder)
                    self._folder_unsynced = False
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} cannot be flushed to the disk: {error}") from error

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        while self._count:
            segment = self._segments[0]
            if self._offset >= segment.size:
                # Not the segment that is appended to: a line waits, and it is in none before the first.
                self._drop_first()
                continue
            lines = within(self._read(segment, bytes_max)[:events_max], bytes_max)
            if segment.recovered:
                lines = self._whole(segment, lines)
                if not lines:
                    continue
            self._peeked = [len(line) for line in lines]
            return lines
        return []

    def _read(self, segment: _Segment, bytes_max: int) -> list[bytes]:
        if self._in is None or self._in[0] != segment.number:
            self._close_in()
            self._in = (segment.number, os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC))
        wanted = max(bytes_max, _PEEK_BYTES_MIN)
        while True:
            wanted = min(wanted, segment.size - self._offset)
            content = os.pread(self._in[1], wanted, self._offset)
            if len(content) < wanted:
                raise SpoolError(f"{segment.path} has become shorter")
            if end := content.rfind(b"\n") + 1:
                # Not `splitlines`: only a line feed ends a line here.
                return [line + b"\n" for line in content[: end - 1].split(b"\n")]
            if self._offset + wanted >= segment.size:
                raise SpoolError(f"{segment.path} was changed by somebody else")
            wanted *= 2

    def _whole(self, segment: _Segment, lines: list[bytes]) -> list[bytes]:
        """The lines before the first that is no event; where that is the first one, it is set aside."""
        for place, line in enumerate(lines):
            if parse(line) is None:
                if place:
                    return lines[:place]
                self._set_aside(segment, self._offset, line)
                self._peeked = [len(line)]
                self.advance(1)
                return []
        return lines

    def advance(self, count: int) -> None:
        length = sum(self._peeked[:count])
        del self._peeked[:count]
        self._offset += length
        self._bytes -= length
        self._count -= count
        self._note_acknowledged()

    def _drop_first(self) -> None:
        segment = self._segments.popleft()
        with self._sync_lock:
            descriptor = self._unsynced.pop(segment.number, None)
            if descriptor is not None:
                os.close(descriptor)
        self._close_in()
        segment.path.unlink(missing_ok=True)
        self._offset = 0

    def _note_acknowledged(self) -> None:
        place = {"segment": self._segments[0].number, "offset": self._offset}
        fresh = self.folder / "acknowledged.new"
        try:
            fresh.write_text(json.dumps(place), "ascii")
            fresh.replace(self.folder / "acknowledged")
        except OSError as error:
            logger.warning("%s: cannot note what was sent; it may be sent again: %s", self.folder, error)

    def keep_refused(self, refused: Sequence[Refused]) -> None:
        self._keep(
            "refused.jsonl",
            [{"at": now(), "event": one.event, "problem": _problem_json(one)} for one in refused],
        )

    def describe(self) -> str:
        return f"in the spool {self.folder}"

    def close(self) -> None:
        if self._fsync != "never" and self._count:
            try:
                self.sync()
            except SpoolError as error:
                logger.error("%s", error)
        self._close_in()
        with self._sync_lock:
            self._close_unsynced()
        self._out = None
        if not self._count:
            # Segments first: a place in a segment that is gone says nothing of those that come.
            for segment in self._segments:
                segment.path.unlink(missing_ok=True)
            (self.folder / "acknowledged").unlink(missing_ok=True)
        os.close(self._lock)

    def abandon(self) -> None:
        """Closes the descriptors in a forked process, which must not touch what is its parent's."""
        descriptors = [self._lock, *self._unsynced.values(), *([self._in[1]] if self._in else [])]
        for descriptor in descriptors:
            os.close(descriptor)

    def _close_unsynced(self) -> None:
        for descriptor in self._unsynced.values():
            os.close(descriptor)
        self._unsynced.clear()

    def _close_in(self) -> None:
        if self._in is not None:
            os.close(self._in[1])
            self._in = None

    def _recover(self) -> None:
        paths = sorted(path for path in self.folder.iterdir() if _SEGMENT_NAME.fullmatch(path.name))
        number, offset = self._acknowledged()
        for path in paths:
            segment = _Segment(int(path.stem), path, path.stat().st_size, recovered=True)
            self._next_number = max(self._next_number, segment.number + 1)
            if segment.number < number:
                path.unlink()
                continue
            start = min(offset, segment.size) if segment.number == number else 0
            count, start = self._mend(segment, start)
            if not count:
                path.unlink()
                continue
            if not self._segments:
                self._offset = start
            self._segments.append(segment)
            self._count += count
            self._bytes += segment.size - start
        self._next_number = max(self._next_number, number + 1)

    def _acknowledged(self) -> tuple[int, int]:
        try:
            place = json.loads((self.folder / "acknowledged").read_bytes())
            number, offset = place["segment"], place["offset"]
            if isinstance(number, int) and isinstance(offset, int) and number >= 0 and offset >= 0:
                return number, offset
        except FileNotFoundError:
            return 0, 0
        except (ValueError, TypeError, KeyError):
            pass
        logger.warning("%s: what was sent is not known; all that is left is sent again", self.folder)
        return 0, 0

    def _mend(self, segment: _Segment, start: int) -> tuple[int, int]:
        """Counts the lines from `start` on, and makes the last one whole or sets it aside."""
        content = segment.path.read_bytes()
        if start and content[start - 1 : start] != b"\n":
            start = 0
        end = content.rfind(b"\n") + 1
        tail = content[end:]
        if tail and parse(tail) is not None:
            with segment.path.open("ab") as file:
                file.write(b"\n")
            content += b"\n"
        elif tail:
            self._set_aside(segment, end, tail)
            os.truncate(segment.path, end)
            content = content[:end]
        segment.size = len(content)
        return content.count(b"\n", start), start

    def _set_aside(self, segment: _Segment, offset: int, content: bytes) -> None:
        logger.error(
            "%s: %d bytes at %d are no event; they are kept in damaged.jsonl",
            segment.path,
            len(content),
            offset,
        )
        encoded = base64.b64encode(content).decode("ascii")
        self._keep(
            "damaged.jsonl",
            [{"at": now(), "segment": segment.path.name, "offset": offset, "bytes": encoded}],
        )

    def _keep(self, name: str, records: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        try:
            with (self.folder / name).open("ab") as file:
                os.fchmod(file.fileno(), 0o600)
                # A lone surrogate becomes the escape that JSON has for it.
                file.write(text.encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SpoolError(f"{self.folder / name} cannot be written: {error}") from error


def _lock(folder: Path) -> int:
    path = folder / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise SpoolInUse(
            f"the spool {folder} is in use by process {holder or '?'}; every process needs a spool folder of its own"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _problem_json(refused: Refused) -> dict[str, Any]:
    problem = refused.problem
    fields = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
    }
    return {**problem.members, **{name: value for name, value in fields.items() if value is not None}}
