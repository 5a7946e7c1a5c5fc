"""The queue on disk.

A spool is a folder:

    lock              held with flock by the client that has the spool open; its process id
    <20 digits>.jsonl segments: events in order, one a line. A client begins a segment of its own and never
                      appends to those it finds
    acknowledged      how far the first segment is settled: {"segment": 3, "offset": 8192, "sha256": …}. The digest is
                      that of the line that ends there, and binds the place to the segment that it was taken of
    refused.jsonl     {"at", "event", "problem"} for each event that the server refused for good
    damaged.jsonl     {"at", "segment", "offset", "bytes"} for what stood in a segment and is no event
    reserve           room that is given up where a full disk has none for the two

A line is written with one call, so that a process that is killed leaves whole lines and at most one torn one at the
end. That one was not acknowledged to its caller; what there is of it is set aside in damaged.jsonl, unless only the
line break is missing.

What stands in a segment is not settled, unless `acknowledged` speaks of that very segment. It is replaced as a whole,
but not flushed to the disk: where it is lost or old, events are sent again, and the server knows them by their ids; it
never deletes any. Nothing has to be written before events can be sent and their segments deleted, so that a full disk
empties itself.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ._ids import now
from ._queue import Fsync, parse, within
from .errors import NotFlushed, Refused, SpoolError, SpoolInUse

logger = logging.getLogger("annals")

SEGMENT_BYTES: Final = 8 << 20
"""A segment that has so many bytes is followed by another: what is settled is given back to the disk in such pieces."""

_SEGMENT_NAME = re.compile(r"[0-9]{20}\.jsonl")
_READ_BYTES: Final = 128 << 10
"""What is read at once, and so sent at once, of shorter lines."""
_RESERVE_BYTES: Final = 2 << 20
"""More than the events of a batch have, unless one alone has more."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class _Total:
    """What was appended or settled since the spool was opened, and what was in it then."""

    bytes: int = 0
    lines: int = 0

    def plus(self, size: int, lines: int) -> _Total:
        return _Total(self.bytes + size, self.lines + lines)


@dataclass
class _Segment:
    number: int
    path: Path
    start: _Total
    """What was appended before its first line."""
    size: int | None
    """Its bytes; None where it is appended to."""
    recovered: bool
    """Whether it was there before: then its lines are looked at before they are sent."""


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
        self._peeked: list[bytes] = []
        # Whether what was settled could not be noted the last time.
        self._unnoted = False
        self.lost = 0
        # What is not flushed to the disk yet. Its own lock, because flushing must not hold up who appends.
        self._sync_lock = threading.Lock()
        self._unsynced: dict[int, int] = {}
        # Segments of which a flush failed. Another flush of the same file may work and means nothing: the system has
        # forgotten what it could not write. They are written anew, and appended to no more.
        self._failed: set[int] = set()
        self._synced_bytes = 0
        self._folder_unsynced = False
        try:
            _make(folder, durably=fsync != "never")
            self._lock = _lock(folder)
        except OSError as error:
            raise SpoolError(f"the spool {folder} cannot be opened: {error}") from error
        try:
            self._recover()
        except (OSError, SpoolError) as error:
            os.close(self._lock)
            raise SpoolError(f"the spool {folder} cannot be read: {error}") from error
        self._fill_reserve()

    def __len__(self) -> int:
        return self._appended.lines - self._settled.lines

    def has_room(self, line: bytes) -> bool:
        return len(self) == 0 or self._appended.bytes - self._settled.bytes + len(line) <= self._bytes_max

    def _size(self, segment: _Segment) -> int:
        return self._appended.bytes - segment.start.bytes if segment.size is None else segment.size

    def append(self, line: bytes) -> None:
        try:
            try:
                self._append(line)
            except OSError as error:
                # What is settled, and kept only because its segment is appended to, may have all the room there is.
                if error.errno not in _FULL or not self._drop_settled():
                    raise
                self._append(line)
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} cannot be written: {error}") from error

    def _append(self, line: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if self._writing or last is None or not self._goes_on(last):
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
            self._writing = False
            raise
        self._writing = False

    def _goes_on(self, last: _Segment) -> bool:
        """Whether the last segment is appended to, and nobody deleted it or cut it."""
        size = self._size(last)
        if self._out is None or size >= self._segment_bytes or last.number in self._failed:
            return False
        there = os.fstat(self._out)
        return there.st_nlink > 0 and there.st_size == size

    def _begin_segment(self) -> _Segment:
        self._keep_lock()
        self._end_segment()
        while True:
            number = self._next_number
            self._next_number += 1
            path = self.folder / f"{number:020d}.jsonl"
            # One that could not be deleted, or that somebody put there, is passed over.
            with suppress(FileExistsError):
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                break
        segment = _Segment(number, path, self._appended, None, recovered=False)
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

    def _end_segment(self) -> None:
        self._out = None
        if self._segments:
            self._segments[-1].size = self._size(self._segments[-1])

    def _keep_lock(self) -> None:
        """Takes the lock again where somebody deleted its file: another process would find the spool free."""
        if not _is_locked(self.folder, self._lock):
            fresh = _lock(self.folder)
            self._lock, old = fresh, self._lock
            os.close(old)

    def sync(self) -> None:
        """Flushes segments and folder to the disk, as the policy says. Any thread. NotFlushed where that fails."""
        if self._fsync == "never":
            return
        try:
            with self._sync_lock:
                # Others may have flushed this while the lock was waited for.
                appended = self._appended.bytes
                if appended == self._synced_bytes:
                    return
                self._write_anew()
                for number, descriptor in list(self._unsynced.items()):
                    is_last = descriptor == self._out
                    try:
                        os.fsync(descriptor)
                    except OSError:
                        self._failed.add(number)
                        raise
                    finally:
                        if not is_last:
                            os.close(self._unsynced.pop(number))
                if self._folder_unsynced:
                    _sync(self.folder, os.O_RDONLY | os.O_DIRECTORY)
                    self._folder_unsynced = False
                self._synced_bytes = appended
        except OSError as error:
            raise NotFlushed(f"the spool {self.folder} cannot be flushed to the disk: {error}") from error

    def _write_anew(self) -> None:
        for number in sorted(self._failed):
            descriptor = self._unsynced.get(number)
            if descriptor is not None and descriptor == self._out:
                raise OSError(errno.EIO, "a flush of it failed before; the next event begins a file of its own")
            path, fresh = self.folder / f"{number:020d}.jsonl", self.folder / f"{number:020d}.new"
            content = path.read_bytes()
            out = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(out, content)
                os.fsync(out)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
            finally:
                os.close(out)
            fresh.replace(path)
            self._folder_unsynced = True
            if descriptor is not None:
                os.close(self._unsynced.pop(number))
            self._failed.discard(number)

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        while len(self):
            segment = self._segments[0]
            if self._offset >= self._size(segment):
                # Not the segment that is appended to: a line waits, and it is in none before the first.
                self._drop_first()
                continue
            lines = within(self._read(segment, bytes_max)[:events_max], bytes_max)
            if not lines:
                self._give_up(segment)
                continue
            if segment.recovered:
                lines = self._whole(segment, lines)
                if not lines:
                    continue
            self._peeked = lines
            # The last one of a process that was killed may lack its line break.
            return lines if lines[-1].endswith(b"\n") else [*lines[:-1], lines[-1] + b"\n"]
        return []

    def _read(self, segment: _Segment, bytes_max: int) -> list[bytes]:
        """The next lines of a segment; none where somebody else deleted them."""
        if self._in is None or self._in[0] != segment.number:
            self._close_in()
            try:
                self._in = (segment.number, os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                return []
        size = self._size(segment)
        wanted = min(bytes_max, _READ_BYTES)
        while True:
            wanted = min(wanted, size - self._offset)
            content = os.pread(self._in[1], wanted, self._offset)
            is_all = len(content) < wanted or self._offset + wanted >= size
            if end := content.rfind(b"\n") + 1:
                # Not `splitlines`: only a line feed ends a line here.
                return [line + b"\n" for line in content[: end - 1].split(b"\n")]
            if is_all:
                return [content] if content and segment.recovered and len(content) == wanted else []
            wanted *= 2

    def _give_up(self, segment: _Segment) -> None:
        """Goes past what a segment should hold and does not."""
        if segment.size is None:
            self._end_segment()
        end = self._segments[1].start if len(self._segments) > 1 else self._appended
        lost = end.lines - self._settled.lines
        logger.critical("%s: somebody else deleted %d events that were not sent", segment.path, lost)
        self.lost += lost
        self._settled = end
        self._drop_first()

    def _whole(self, segment: _Segment, lines: list[bytes]) -> list[bytes]:
        """The lines before the first that is no event; where that is the first one, it is set aside."""
        for place, line in enumerate(lines):
            if parse(line) is None:
                if place:
                    return lines[:place]
                self._set_aside(segment.path, self._offset, line)
                self._peeked = [line]
                self.advance(1)
                return []
        return lines

    def advance(self, count: int) -> None:
        settled = self._peeked[:count]
        del self._peeked[:count]
        length = sum(map(len, settled))
        self._offset += length
        self._settled = self._settled.plus(length, count)
        if settled:
            self._note_acknowledged(settled[-1])

    def _drop_settled(self) -> bool:
        """Deletes segments of which all is settled, the one that is appended to included. Whether that made room."""
        made_room = False
        while self._segments and self._offset >= self._size(self._segments[0]):
            if self._segments[0].size is None:
                self._end_segment()
            made_room |= self._size(self._segments[0]) > 0
            self._drop_first()
        return made_room

    def _drop_first(self) -> None:
        self._offset = 0
        segment = self._segments.popleft()
        with self._sync_lock:
            self._failed.discard(segment.number)
            descriptor = self._unsynced.pop(segment.number, None)
            if descriptor is not None:
                os.close(descriptor)
        self._close_in()
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s cannot be deleted; it is sent again by the next client: %s", segment.path, error)
        self._fill_reserve()

    def _note_acknowledged(self, last: bytes) -> None:
        place = {"segment": self._segments[0].number, "offset": self._offset, "sha256": _digest(last)}
        fresh = self.folder / "acknowledged.new"
        try:
            fresh.write_text(json.dumps(place), "ascii")
            fresh.replace(self.folder / "acknowledged")
            self._unnoted = False
        except OSError as error:
            if not self._unnoted:
                logger.warning("%s: cannot note what was sent; it may be sent again: %s", self.folder, error)
            self._unnoted = True

    def keep_refused(self, refused: Sequence[Refused]) -> None:
        self._keep(
            "refused.jsonl",
            [{"at": now(), "event": one.event, "problem": _problem_json(one)} for one in refused],
        )

    def describe(self) -> str:
        return f"in the spool {self.folder}"

    def close(self) -> None:
        self._end_segment()
        if self._fsync != "never" and len(self):
            try:
                self.sync()
            except NotFlushed as error:
                logger.error("%s", error)
        self._drop_settled()
        self._close_in()
        with self._sync_lock:
            self._close_unsynced()
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
        """Takes segments as they are: a full disk is no reason not to send what is in them."""
        paths = sorted(path for path in self.folder.iterdir() if _SEGMENT_NAME.fullmatch(path.name))
        number, offset, digest = self._acknowledged()
        # Where there is no segment, the next one gets a number that none had before it.
        self._next_number = number + 1
        for path in paths:
            found = int(path.stem)
            self._next_number = max(self._next_number, found + 1)
            content = path.read_bytes()
            start = 0
            # Only the first can be settled in part: segments before it are deleted before the mark moves on.
            if not self._segments and found == number:
                start = offset if _ends_line(content, offset, digest) else 0
            count = content.count(b"\n", start) + (not content.endswith(b"\n") and len(content) > start)
            if not count:
                path.unlink()
                continue
            if not self._segments:
                self._offset = start
            self._segments.append(_Segment(found, path, self._appended, len(content), recovered=True))
            self._appended = self._appended.plus(len(content) - start, count)
        for left in self.folder.glob("*.new"):
            left.unlink()
        self._synced_bytes = self._appended.bytes
        if self._fsync != "never":
            # A process that was killed may have left it all in the page cache.
            for segment in self._segments:
                _sync(segment.path, os.O_RDONLY)
            _sync(self.folder, os.O_RDONLY | os.O_DIRECTORY)

    def _acknowledged(self) -> tuple[int, int, str]:
        try:
            place = json.loads((self.folder / "acknowledged").read_bytes())
            number, offset, digest = place["segment"], place["offset"], place["sha256"]
            if isinstance(number, int) and isinstance(offset, int) and number >= 0 and offset >= 0:
                return number, offset, str(digest)
        except FileNotFoundError:
            return 0, 0, ""
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        logger.warning("%s: what was sent is not known; all that is left is sent again", self.folder)
        return 0, 0, ""

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
        # A lone surrogate becomes the escape that JSON has for it.
        content = text.encode("utf-8", "backslashreplace")
        try:
            self._with_reserve(lambda: _append_durably(self.folder / name, content))
        except OSError as error:
            raise SpoolError(f"{self.folder / name} cannot be written: {error}") from error

    def _with_reserve(self, write: Callable[[], None]) -> None:
        """Writes; and again without the reserve, where there is no room."""
        try:
            write()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            try:
                (self.folder / "reserve").unlink()
            except OSError:
                raise error from None
            write()

    def _fill_reserve(self) -> None:
        """Takes the reserve's room, if it is to be had."""
        path = self.folder / "reserve"
        with suppress(OSError):
            if path.stat().st_size == _RESERVE_BYTES:
                return
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, bytes(_RESERVE_BYTES))
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                path.unlink()


def _make(folder: Path, *, durably: bool) -> None:
    """Makes a folder that only its owner writes to, and those above it."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if durably:
        for place in missing:
            _sync(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    mode = folder.stat().st_mode & 0o7777
    if mode & 0o022:
        # Who may write to the folder may delete events, or have this program send others' in its name.
        raise SpoolError(
            f"other users may write to the spool {folder} (mode {mode:o}), and so delete events or add their own; let "
            "only its owner write to it (`chmod go-w`), or give a folder within it"
        )


def _lock(folder: Path) -> int:
    path = folder / "lock"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise SpoolInUse(
                f"the spool {folder} is in use by process {holder or '?'}; every process needs a spool folder of its "
                "own"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        # Else its file was deleted between the two calls, and the lock is worth nothing.
        if _is_locked(folder, descriptor):
            break
        os.close(descriptor)
    # Only for people, and a full disk has no room for it.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def _is_locked(folder: Path, descriptor: int) -> bool:
    """Whether the next process would try to lock this very file."""
    try:
        return os.path.samestat((folder / "lock").stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _append_durably(path: Path, content: bytes) -> None:
    """Appends lines to a file. Of an error nothing stays."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        before = os.fstat(descriptor).st_size
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        except BaseException:
            # Half a line would spoil the next one.
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _digest(line: bytes) -> str:
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()


def _ends_line(content: bytes, offset: int, digest: str) -> bool:
    """Whether a line with this digest ends at an offset."""
    if not 0 < offset <= len(content) or content[offset - 1 : offset] != b"\n":
        return False
    return _digest(content[content.rfind(b"\n", 0, offset - 1) + 1 : offset]) == digest


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
