"""The queue on disk.

A spool is a folder with these files:

    lock              the client that has the spool open holds it with flock; it contains the process id
    <20 digits>.jsonl segments: events in order, one a line. A client begins a segment of its own, and never appends to
                      those that it finds
    acknowledged      the mark: {"segment": 3, "offset": 8192, "sha256": …}. The events of the first segment up to the
                      offset are settled. The digest is that of the line that ends there; it binds the mark to the
                      segment that it was made of
    refused.jsonl     {"at", "event", "problem"} for each event that the server refused for good
    damaged.jsonl     {"at", "segment", "offset", "bytes"} for each part of a segment that is not an event
    reserve           disk space for the two files above, which is released when a full disk has none

One call writes a line, so a process that is killed leaves whole lines, and at most one that is cut off, at the end. The
caller of that one was never told that it was accepted. It goes to damaged.jsonl, unless only its line break is missing.

Every line of a segment counts as not settled, unless `acknowledged` names that very segment. That file is replaced as a
whole, but not flushed to the disk. If it is lost or old, events are sent again, and the server knows them by their ids;
no mark ever deletes an event. Nothing has to be written before events can be sent and their segments deleted, so a full
disk empties itself.
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
from ._queue import Fsync, first_within, parse
from .errors import NotFlushed, Refused, SpoolError, SpoolInUse

logger = logging.getLogger("annals")

SEGMENT_BYTES: Final = 8 << 20
"""The size at which the next segment begins. Disk space is released in pieces of this size."""

_SEGMENT_NAME = re.compile(r"[0-9]{20}\.jsonl")
_READ_BYTES: Final = 128 << 10
"""The most bytes that are read at once, and so sent at once, unless a line alone is longer."""
_RESERVE_BYTES: Final = 2 << 20
"""More than the records of a batch need, unless a single event is larger."""
_DISK_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class _Total:
    """A count of the bytes and lines that were appended or settled, including those found when the spool was opened."""

    bytes: int = 0
    lines: int = 0

    def plus(self, size: int, lines: int) -> _Total:
        return _Total(self.bytes + size, self.lines + lines)


@dataclass
class _Segment:
    number: int
    path: Path
    start: _Total
    """The total appended before its first line."""
    size: int | None
    """Its size in bytes; None for the segment that lines are appended to."""
    recovered: bool
    """True if it was found when the spool was opened. Then each line is checked before it is sent."""


class Spool:
    """A queue in a folder, for one client at a time.

    Ctrl-C may interrupt `append` between any two instructions. Only `_appended` tells how much was appended, and one
    instruction replaces it.
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
        # The descriptor of the segment that lines are appended to.
        self._append_fd: int | None = None
        # True while a line is written. If it is true before a write, the segment may end in half a line.
        self._writing = False
        self._closed = False
        # The segment that is being read: its number and descriptor.
        self._reading: tuple[int, int] | None = None
        self._peeked: list[bytes] = []
        # True if the mark could not be written the last time.
        self._mark_failed = False
        self.lost = 0
        # Guards the fields below, and `_append_fd`. It is separate from the lock of the queue's owner, because a flush
        # must not delay an append.
        self._sync_lock = threading.Lock()
        # Descriptors of segments that are not flushed to the disk yet, by number.
        self._unsynced: dict[int, int] = {}
        # Segments whose flush failed. The system has dropped the pages that it could not write, so a second flush of
        # the same file may succeed without the data. These segments are copied, and get no more lines.
        self._failed: set[int] = set()
        self._synced_bytes = 0
        self._folder_unsynced = False
        try:
            _make_folder(folder, durably=fsync != "never")
            self._lock = _take_lock(folder)
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
                # Settled events may take up the disk space, if lines are still appended to their segment.
                if error.errno not in _DISK_FULL or not self._delete_settled():
                    raise
                self._append(line)
        except OSError as error:
            raise SpoolError(f"the spool {self.folder} cannot be written: {error}") from error

    def _append(self, line: bytes) -> None:
        last = self._segments[-1] if self._segments else None
        if self._writing or last is None or not self._can_append_to(last):
            last = self._begin_segment()
        descriptor = self._append_fd
        if descriptor is None:
            raise OSError("no segment")  # pragma: no cover
        self._writing = True
        try:
            written = os.write(descriptor, line)
            while written < len(line):
                written += os.write(descriptor, line[written:])
            self._appended = self._appended.plus(len(line), 1)
        except BaseException:
            # After `_appended` was replaced, the size includes the line, and this changes nothing.
            os.ftruncate(descriptor, self._size(last))
            self._writing = False
            raise
        self._writing = False

    def _can_append_to(self, last: _Segment) -> bool:
        """Returns whether the last segment may get more lines: it is not full, and nobody deleted or truncated it."""
        size = self._size(last)
        if self._append_fd is None or size >= self._segment_bytes or last.number in self._failed:
            return False
        status = os.fstat(self._append_fd)
        return status.st_nlink > 0 and status.st_size == size

    def _begin_segment(self) -> _Segment:
        self._ensure_lock()
        self._end_segment()
        while True:
            number = self._next_number
            self._next_number += 1
            path = self.folder / f"{number:020d}.jsonl"
            # The file may exist, because it could not be deleted or somebody else made it. Then its number is skipped.
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
            # Set under the lock, because `sync` closes every descriptor except this one.
            self._append_fd = descriptor
        self._writing = False
        return segment

    def _end_segment(self) -> None:
        self._append_fd = None
        if self._segments:
            self._segments[-1].size = self._size(self._segments[-1])

    def _ensure_lock(self) -> None:
        """Takes the lock again if somebody deleted its file: otherwise another process could open the spool."""
        if not _is_locked(self.folder, self._lock):
            fresh = _take_lock(self.folder)
            self._lock, old = fresh, self._lock
            os.close(old)

    def sync(self) -> None:
        """Flushes the segments and the folder to the disk, unless `fsync` is "never". Raises NotFlushed on failure."""
        if self._fsync == "never":
            return
        try:
            with self._sync_lock:
                # Another thread may have flushed it while this one waited for the lock.
                appended = self._appended.bytes
                if appended == self._synced_bytes:
                    return
                self._copy_failed()
                for number, descriptor in list(self._unsynced.items()):
                    is_last = descriptor == self._append_fd
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

    def _copy_failed(self) -> None:
        """Replaces each segment whose flush failed with a flushed copy."""
        for number in sorted(self._failed):
            descriptor = self._unsynced.get(number)
            if descriptor is not None and descriptor == self._append_fd:
                raise OSError(errno.EIO, "an earlier flush of this file failed; the next event begins a new file")
            path, fresh = self.folder / f"{number:020d}.jsonl", self.folder / f"{number:020d}.new"
            content = path.read_bytes()
            copy = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write(copy, content)
                os.fsync(copy)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
            finally:
                os.close(copy)
            fresh.replace(path)
            self._folder_unsynced = True
            if descriptor is not None:
                os.close(self._unsynced.pop(number))
            self._failed.discard(number)

    def peek(self, events_max: int, bytes_max: int) -> list[bytes]:
        while len(self):
            segment = self._segments[0]
            if self._offset >= self._size(segment):
                # A line is left, so it is in a later segment. This one gets no more lines and can be deleted.
                self._delete_first()
                continue
            lines = first_within(self._read(segment, bytes_max)[:events_max], bytes_max)
            if not lines:
                self._skip_lost(segment)
                continue
            if segment.recovered:
                lines = self._valid(segment, lines)
                if not lines:
                    continue
            self._peeked = lines
            # The last line of a process that was killed may lack its line break.
            return lines if lines[-1].endswith(b"\n") else [*lines[:-1], lines[-1] + b"\n"]
        return []

    def _read(self, segment: _Segment, bytes_max: int) -> list[bytes]:
        """Returns the next lines of a segment; none if somebody else deleted them."""
        if self._reading is None or self._reading[0] != segment.number:
            self._close_reading()
            try:
                self._reading = (segment.number, os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                return []
        size = self._size(segment)
        wanted = min(bytes_max, _READ_BYTES)
        while True:
            wanted = min(wanted, size - self._offset)
            content = os.pread(self._reading[1], wanted, self._offset)
            is_all = len(content) < wanted or self._offset + wanted >= size
            if end := content.rfind(b"\n") + 1:
                # `splitlines` would also split at CR, which does not end a line here.
                return [line + b"\n" for line in content[: end - 1].split(b"\n")]
            if is_all:
                return [content] if content and segment.recovered and len(content) == wanted else []
            wanted *= 2

    def _skip_lost(self, segment: _Segment) -> None:
        """Counts the remaining lines of a segment as lost, because its file does not have them."""
        if segment.size is None:
            self._end_segment()
        end = self._segments[1].start if len(self._segments) > 1 else self._appended
        lost = end.lines - self._settled.lines
        logger.critical("%s: somebody else deleted %d events before they were sent", segment.path, lost)
        self.lost += lost
        self._settled = end
        self._delete_first()

    def _valid(self, segment: _Segment, lines: list[bytes]) -> list[bytes]:
        """Returns the lines before the first that is not an event. If that is `lines[0]`, moves it to damaged.jsonl."""
        for index, line in enumerate(lines):
            if parse(line) is None:
                if index:
                    return lines[:index]
                self._keep_damaged(segment.path, self._offset, line)
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
            self._write_mark(settled[-1])

    def _delete_settled(self) -> bool:
        """Deletes the segments that are settled as a whole, even the last. Returns whether this freed disk space."""
        made_room = False
        while self._segments and self._offset >= self._size(self._segments[0]):
            if self._segments[0].size is None:
                self._end_segment()
            made_room |= self._size(self._segments[0]) > 0
            self._delete_first()
        return made_room

    def _delete_first(self) -> None:
        self._offset = 0
        segment = self._segments.popleft()
        with self._sync_lock:
            self._failed.discard(segment.number)
            descriptor = self._unsynced.pop(segment.number, None)
            if descriptor is not None:
                os.close(descriptor)
        self._close_reading()
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s cannot be deleted; the next client sends its events again: %s", segment.path, error)
        self._fill_reserve()

    def _write_mark(self, last: bytes) -> None:
        mark = {"segment": self._segments[0].number, "offset": self._offset, "sha256": _digest(last)}
        fresh = self.folder / "acknowledged.new"
        try:
            fresh.write_text(json.dumps(mark), "ascii")
            fresh.replace(self.folder / "acknowledged")
            self._mark_failed = False
        except OSError as error:
            if not self._mark_failed:
                logger.warning("%s: the mark cannot be written; sent events may be sent again: %s", self.folder, error)
            self._mark_failed = True

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
        self._delete_settled()
        self._close_reading()
        with self._sync_lock:
            self._close_unsynced()
        self._closed = True
        os.close(self._lock)

    def abandon(self) -> None:
        """Closes the descriptors in a forked process, which must not change the files of its parent."""
        if self._closed:
            return
        self._closed = True
        descriptors = [self._lock, *self._unsynced.values(), *([self._reading[1]] if self._reading else [])]
        for descriptor in descriptors:
            os.close(descriptor)

    def _close_unsynced(self) -> None:
        for descriptor in self._unsynced.values():
            os.close(descriptor)
        self._unsynced.clear()

    def _close_reading(self) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None

    def _recover(self) -> None:
        """Adds the segments of earlier clients to the queue. It needs no disk space, so it works on a full disk."""
        paths = sorted(path for path in self.folder.iterdir() if _SEGMENT_NAME.fullmatch(path.name))
        number, offset, digest = self._read_mark()
        # Even if there is no segment, the next one gets a number that no segment had before.
        self._next_number = number + 1
        for path in paths:
            found = int(path.stem)
            self._next_number = max(self._next_number, found + 1)
            content = path.read_bytes()
            start = 0
            # The mark can only be that of the first segment: a segment is deleted before the mark moves to the next.
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
            # After a process was killed, its data may still be in the page cache alone.
            for segment in self._segments:
                _sync(segment.path, os.O_RDONLY)
            _sync(self.folder, os.O_RDONLY | os.O_DIRECTORY)

    def _read_mark(self) -> tuple[int, int, str]:
        """Returns the segment number, the offset and the digest of the mark. Zeros if there is no valid mark."""
        try:
            mark = json.loads((self.folder / "acknowledged").read_bytes())
            number, offset, digest = mark["segment"], mark["offset"], mark["sha256"]
            if isinstance(number, int) and isinstance(offset, int) and number >= 0 and offset >= 0:
                return number, offset, str(digest)
        except FileNotFoundError:
            return 0, 0, ""
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        logger.warning("%s: the mark cannot be read; all events of the spool are sent again", self.folder)
        return 0, 0, ""

    def _keep_damaged(self, path: Path, offset: int, content: bytes) -> None:
        logger.error(
            "%s: %d bytes at offset %d are not an event; they are kept in damaged.jsonl",
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
        # `backslashreplace` writes a lone surrogate as `\\udXXX`, which is its escape in JSON.
        content = text.encode("utf-8", "backslashreplace")
        try:
            self._with_reserve(lambda: _append_durably(self.folder / name, content))
        except OSError as error:
            raise SpoolError(f"{self.folder / name} cannot be written: {error}") from error

    def _with_reserve(self, write: Callable[[], None]) -> None:
        """Calls `write`. If the disk is full, deletes the reserve and calls it again."""
        try:
            write()
        except OSError as error:
            if error.errno not in _DISK_FULL:
                raise
            try:
                (self.folder / "reserve").unlink()
            except OSError:
                raise error from None
            write()

    def _fill_reserve(self) -> None:
        """Takes up disk space for the reserve, if there is enough."""
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


def _make_folder(folder: Path, *, durably: bool) -> None:
    """Makes the folder and its parents if they are missing. Raises SpoolError if other users may write to it."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if durably:
        for path in missing:
            _sync(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    mode = folder.stat().st_mode & 0o7777
    if mode & 0o022:
        # Another user who can write to the folder can delete events, or make this program send events of theirs.
        raise SpoolError(
            f"other users may write to the spool {folder} (mode {mode:o}), so they can delete events or add their own; "
            "let only its owner write to it (`chmod go-w`), or give a folder within it"
        )


def _take_lock(folder: Path) -> int:
    """Returns the descriptor of the locked file. Raises SpoolInUse if another client holds the lock."""
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
        # Otherwise the file was deleted between the two calls, and the lock on it protects nothing.
        if _is_locked(folder, descriptor):
            break
        os.close(descriptor)
    # The process id is only for people. On a full disk it may be missing.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return descriptor


def _is_locked(folder: Path, descriptor: int) -> bool:
    """Returns whether the lock file of the folder is the one of this descriptor."""
    try:
        return os.path.samestat((folder / "lock").stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _append_durably(path: Path, content: bytes) -> None:
    """Appends lines to a file, and flushes them to the disk. After an error the file is as before."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        before = os.fstat(descriptor).st_size
        try:
            _write(descriptor, content)
            os.fsync(descriptor)
        except BaseException:
            # The next record would continue half a line.
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
    """Returns whether a line with this digest ends at the offset."""
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
