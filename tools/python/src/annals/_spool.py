"""The queue on disk.

A spool is a folder:

    lock              held with flock by the client that has the spool open; its process id
    <20 digits>.jsonl segments: events in order, one a line. A client begins a segment of its own and never
                      appends to those it finds
    acknowledged      how far the first segment is settled: {"segment": 3, "offset": 8192}. Those before it are done
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
_READ_BYTES: Final = 128 << 10
"""What is read at once, and so sent at once, of shorter lines."""


@dataclass
class _Segment:
    number: int
    path: Path
    start: int
    """Bytes appended before its first."""
    size: int | None
    """Its bytes; None where it is appended to."""
    recovered: bool
    """Whether it was there before: then its lines are looked at before they are sent."""


@dataclass(frozen=True)
class _Total:
    """What was appended or settled since the spool was opened, and what was in it then."""

    bytes: int = 0
    lines: int = 0

    def plus(self, size: int, lines: int) -> _Total:
        return _Total(self.bytes + size, self.lines + lines)


class Spool:
    """A queue in a folder, for one client at a time.

    Ctrl-C may interrupt `append` between any two instructions. `_appended` is replaced with one of them, and alone says
    what was appended.
    """

    durable = True

    def __init__(self, folder: Path, *, bytes_max: int, fsync: Fsync, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._fsync = fsync
        self._segments: deque[_Segment] = deque()
        self._offset = 0
        self._appended = _Total()
        self._settled = _Total()
        self._next_number = 1
        self._out: int | None = None
        # Set while a line is written: where it is found set, the segment may end in half a line.
        self._writing = False
        self._closed = False
        self._in: tuple[int, int] | None = None
        self._peeked: list[int] = []
        # What is not flushed to the disk yet. Its own lock, because flushing must not hold up who appends.
        self._sync_lock = threading.Lock()
        self._unsynced: dict[int, int] = {}
        self._synced_bytes = 0
        self._folder_unsynced = False
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(folder)
        except OSError as error:
            raise SpoolError(f"the spool {folder} cannot be opened: {error}") from error
        try:
            self._recover()
        except (OSError, SpoolError) as error:
            os.close(self._lock)
            raise SpoolError(f"the spool {folder} cannot be read: {error}") from error

    def __len__(self) -> int:
        return self._appended.lines - self._settled.lines

    def has_room(self, line: bytes) -> bool:
        return len(self) == 0 or self._appended.bytes - self._settled.bytes + len(line) <= self._bytes_max

    def _size(self, segment: _Segment) -> int:
        return self._appended.bytes - segment.start if segment.size is None else segment.size

    def append(self, line: bytes) -> None:
        try:
            self._append(line)
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} cannot be written: {error}") from error

    def _append(self, line: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if self._writing or self._out is None or last is None or self._size(last) >= self._segment_bytes:
            last = self._begin_segment()
        out = self._out
        if out is None:
            raise OSError("no segment")  # pragma: no cover
        self._writing = True
        try:
            written = os.write(out, line)
            while written < len(line):
                written += os.write(out, line[written:])
            self._appended = self._appended.plus(len(line), 1)
        except BaseException:
            os.ftruncate(out, self._size(last))
            raise
        self._writing = False

    def _begin_segment(self) -> _Segment:
        self._out = None
        if self._segments:
            self._segments[-1].size = self._size(self._segments[-1])
        number = self._next_number
        self._next_number += 1
        path = self.folder / f"{number:020d}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        segment = _Segment(number, path, self._appended.bytes, None, recovered=False)
        with self._sync_lock:
            if self._fsync == "never":
                self._close_unsynced()
            self._unsynced[number] = descriptor
            self._folder_unsynced = True
            self._segments.append(segment)
            # Under the lock, because `sync` closes what is not written to any more.
            self._out = descriptor
        self._writing = False
        return segment

    def sync(self) -> None:
        """Flushes segments and folder to the disk, as the policy says. Any thread."""
        if self._fsync == "never":
            return
        try:
            with self._sync_lock:
                # Others may have flushed this while the lock was waited for.
                appended = self._appended.bytes
                if appended == self._synced_bytes:
                    return
                for number, descriptor in list(self._unsynced.items()):
                    os.fsync(descriptor)
                    if descriptor != self._out:
                        os.close(self._unsynced.pop(number))
                if self._folder_unsynced:
                    _sync(self.folder, os.O_RDONLY | os.O_DIRECTORY)
                    self._folder_unsynced = False
                self._synced_bytes = appended
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} cannot be flushed to the disk: {error}") from error

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        while len(self):
            segment = self._segments[0]
            if self._offset >= self._size(segment):
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
        size = self._size(segment)
        wanted = min(bytes_max, _READ_BYTES)
        while True:
            wanted = min(wanted, size - self._offset)
            content = os.pread(self._in[1], wanted, self._offset)
            if len(content) < wanted:
                raise SpoolError(f"{segment.path} has become shorter")
            if end := content.rfind(b"\n") + 1:
                # Not `splitlines`: only a line feed ends a line here.
                return [line + b"\n" for line in content[: end - 1].split(b"\n")]
            if self._offset + wanted >= size:
                raise SpoolError(f"{segment.path} was changed by somebody else")
            wanted *= 2

    def _whole(self, segment: _Segment, lines: list[bytes]) -> list[bytes]:
        """The lines before the first that is no event; where that is the first one, it is set aside."""
        for place, line in enumerate(lines):
            if parse(line) is None:
                if place:
                    return lines[:place]
                self._set_aside(segment.path, self._offset, line)
                self._peeked = [len(line)]
                self.advance(1)
                return []
        return lines

    def advance(self, count: int) -> None:
        length = sum(self._peeked[:count])
        del self._peeked[:count]
        self._offset += length
        self._settled = self._settled.plus(length, count)
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
        if self._fsync != "never" and len(self):
            try:
                self.sync()
            except SpoolError as error:
                logger.error("%s", error)
        self._close_in()
        with self._sync_lock:
            self._close_unsynced()
        self._out = None
        if not len(self):
            # `acknowledged` stays, so that no segment ever gets a number again.
            for segment in self._segments:
                segment.path.unlink(missing_ok=True)
        self._closed = True
        os.close(self._lock)

    def abandon(self) -> None:
        """Closes the descriptors in a forked process, which must not touch what is its parent's."""
        if self._closed:
            return
        self._closed = True
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
            found = int(path.stem)
            self._next_number = max(self._next_number, found + 1)
            if found < number:
                path.unlink()
                continue
            size, start, count = self._mend(path, offset if found == number else 0)
            if not count:
                path.unlink()
                continue
            if not self._segments:
                self._offset = start
            self._segments.append(_Segment(found, path, self._appended.bytes, size, recovered=True))
            self._appended = self._appended.plus(size - start, count)
        self._next_number = max(self._next_number, number + 1)
        self._synced_bytes = self._appended.bytes
        if self._fsync != "never":
            # A process that was killed may have left it all in the page cache.
            for segment in self._segments:
                _sync(segment.path, os.O_RDONLY)
            _sync(self.folder, os.O_RDONLY | os.O_DIRECTORY)
            _sync(self.folder.parent, os.O_RDONLY | os.O_DIRECTORY)

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

    def _mend(self, path: Path, start: int) -> tuple[int, int, int]:
        """Makes the last line of a segment whole, or sets it aside.

        Gives the size, where the lines begin that are left, and how many they are.
        """
        content = path.read_bytes()
        start = min(start, len(content))
        if start and content[start - 1 : start] != b"\n":
            start = 0
        end = content.rfind(b"\n") + 1
        tail = content[end:]
        if tail and parse(tail) is not None:
            with path.open("ab") as file:
                file.write(b"\n")
            content += b"\n"
        elif tail:
            self._set_aside(path, end, tail)
            os.truncate(path, end)
            content = content[:end]
        return len(content), start, content.count(b"\n", start)

    def _set_aside(self, path: Path, offset: int, content: bytes) -> None:
        logger.error(
            "%s: %d bytes at %d are no event; they are kept in damaged.jsonl",
            path,
            len(content),
            offset,
        )
        encoded = base64.b64encode(content).decode("ascii")
        self._keep(
            "damaged.jsonl",
            [{"at": now(), "segment": path.name, "offset": offset, "bytes": encoded}],
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


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
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
