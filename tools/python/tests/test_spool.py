from __future__ import annotations

import base64
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import annals
from annals import _spool as spool_module
from annals._encode import encode
from annals._spool import Spool

from .support import Event, Reaction, Server, client, free_port, note, numbers, serving, wait_until

HERE = Path(__file__).resolve().parent


def spool(folder: Path, *, bytes_max: int = 1 << 30, segment_bytes: int = 1 << 20) -> Spool:
    return Spool(folder, bytes_max=bytes_max, fsync="second", segment_bytes=segment_bytes)


def lines(count: int, start: int = 0) -> list[bytes]:
    return [encode(note(number))[1] for number in range(start, start + count)]


def drain(queue: Spool, events_max: int = 3) -> list[bytes]:
    taken: list[bytes] = []
    while batch := queue.peek(events_max, 1 << 20):
        taken += batch
        queue.advance(len(batch))
    return taken


def die(queue: Spool) -> None:
    """What the end of a process leaves: descriptors are closed, and nothing is tidied up."""
    queue.abandon()


def records(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if re.fullmatch(r"[0-9]{20}\.jsonl", path.name))


def test_what_is_appended_is_read_in_order_and_then_gone(tmp_path: Path) -> None:
    queue = spool(tmp_path, segment_bytes=500)
    written = lines(40)
    for line in written:
        queue.append(line)
    assert len(queue) == 40
    assert len(segments(tmp_path)) > 5
    assert drain(queue) == written
    assert len(queue) == 0
    queue.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acknowledged", "lock", "reserve"]


def test_what_was_not_settled_is_there_for_the_next_process(tmp_path: Path) -> None:
    written = lines(30)
    queue = spool(tmp_path, segment_bytes=500)
    for line in written:
        queue.append(line)
    queue.peek(7, 1 << 20)
    queue.advance(3)
    die(queue)
    queue = spool(tmp_path, segment_bytes=500)
    assert len(queue) == 27
    more = lines(5, start=30)
    for line in more:
        queue.append(line)
    assert drain(queue) == written[3:] + more
    queue.close()


def test_a_torn_end_loses_no_whole_line_wherever_it_is_torn(tmp_path: Path) -> None:
    written = lines(3)
    content = b"".join(written)
    ends = [len(b"".join(written[:count])) for count in range(4)]
    for length in range(len(content) + 1):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / f"{1:020d}.jsonl").write_bytes(content[:length])
        queue = spool(folder)
        # A line of which only the line break is missing is whole.
        whole = sum(end <= length for end in ends[1:]) + (length + 1 in ends[1:])
        fresh = lines(1, start=99)
        queue.append(fresh[0])
        assert len(queue) == whole + 1 + bool(content[ends[whole] : length])
        assert drain(queue) == written[:whole] + fresh, length
        queue.close()
        torn = content[ends[whole] : length]
        damaged = folder / "damaged.jsonl"
        kept = [base64.b64decode(record["bytes"]) for record in records(damaged)] if damaged.exists() else []
        assert kept == ([torn] if torn else [])


def test_one_changed_byte_anywhere_costs_at_most_the_lines_that_it_is_in(tmp_path: Path) -> None:
    written = lines(4)
    content = b"".join(written)
    for place in range(0, len(content), 3):
        folder = tmp_path / str(place)
        folder.mkdir()
        changed = content[:place] + b"\0" + content[place + 1 :]
        (folder / f"{1:020d}.jsonl").write_bytes(changed)
        queue = spool(folder)
        read = drain(queue)
        queue.close()
        hit = next(number for number in range(4) if place < len(b"".join(written[: number + 1])))
        untouched = [line for number, line in enumerate(written) if number not in (hit, hit + 1)]
        assert [line for line in read if line in untouched] == untouched
        set_aside = (folder / "damaged.jsonl").exists()
        assert set_aside or len(read) == 4


def half_settled(folder: Path) -> tuple[list[bytes], dict[str, Any]]:
    """A spool with three lines, of which two are settled, and what it noted of that."""
    written = lines(3)
    queue = spool(folder)
    for line in written:
        queue.append(line)
    queue.peek(3, 1 << 20)
    queue.advance(2)
    die(queue)
    return written, json.loads((folder / "acknowledged").read_text())


def test_a_place_that_does_not_fit_its_segment_deletes_nothing_and_skips_nothing(tmp_path: Path) -> None:
    written, place = half_settled(tmp_path)
    end = segments(tmp_path)[0].stat().st_size
    spoiled: list[object] = [
        {},
        [],
        {"segment": 1},
        # As an older client noted it, which did not bind it to anything.
        {"segment": 1, "offset": 3},
        {"segment": 1, "offset": place["offset"]},
        {"segment": 7, "offset": 100},
        # Of a later segment, and of another one with this number.
        {**place, "segment": 7},
        {**place, "offset": end},
        {**place, "offset": 10**9},
        {**place, "sha256": "0" * 64},
    ]
    for content in ["", "{", "nonsense", *map(json.dumps, spoiled)]:
        (tmp_path / "acknowledged").write_text(content)
        queue = spool(tmp_path)
        assert queue.peek(9, 1 << 20) == written, content
        die(queue)
    (tmp_path / "acknowledged").write_text(json.dumps(place))
    queue = spool(tmp_path)
    assert drain(queue) == written[2:]
    queue.close()


def test_after_a_loss_of_power_everything_that_was_not_sent_is_there_in_order(tmp_path: Path) -> None:
    """The place may be any that was noted, and segments that were deleted may be there again: neither was flushed."""
    for seed in range(60):
        choose = random.Random(seed)
        folder = tmp_path / str(seed)
        queue = spool(folder, segment_bytes=choose.choice([1, 200, 2_000]))
        unsent: list[bytes] = []
        marks: list[bytes] = []
        seen: dict[Path, bytes] = {}
        number = 0
        for _ in range(choose.randrange(1, 40)):
            seen |= {path: path.read_bytes() for path in segments(folder)}
            if choose.random() < 0.6:
                [line] = lines(1, start=number)
                number += 1
                queue.append(line)
                unsent.append(line)
            elif batch := queue.peek(choose.randrange(1, 6), 1 << 20):
                settled = choose.randrange(len(batch)) + 1
                queue.advance(settled)
                del unsent[:settled]
                marks.append((folder / "acknowledged").read_bytes())
        die(queue)
        gone = sorted(path for path in seen if not path.exists())
        for path in gone[len(gone) - choose.randrange(5) :]:
            path.write_bytes(seen[path])
        if marks and choose.random() < 0.5:
            (folder / "acknowledged").write_bytes(choose.choice(marks))
        queue = spool(folder)
        read = drain(queue)
        assert read[len(read) - len(unsent) :] == unsent, seed
        queue.close()
        assert segments(folder) == []


def test_against_a_list_any_order_of_calls_gives_the_same(tmp_path: Path) -> None:
    for seed in range(200 if os.environ.get("ANNALS_TEST_HEAVY") else 12):
        choose = random.Random(seed)
        folder = tmp_path / str(seed)
        queue = spool(folder, segment_bytes=choose.choice([1, 200, 2_000]))
        model: list[bytes] = []
        number = 0
        for _ in range(200):
            what = choose.random()
            if what < 0.5:
                _, line = encode({"type": "custom", "name": str(number), "data": "x" * choose.randrange(300)})
                number += 1
                queue.append(line)
                model.append(line)
            elif what < 0.9:
                batch = queue.peek(choose.randrange(1, 6), choose.randrange(1, 2_000))
                assert batch == model[: len(batch)]
                assert bool(batch) == bool(model)
                settled = choose.randrange(len(batch) + 1)
                queue.advance(settled) if settled else None
                del model[:settled]
            elif what < 0.95:
                queue.sync()
            else:
                queue.close() if choose.random() < 0.5 else die(queue)
                queue = spool(folder, segment_bytes=choose.choice([1, 200, 2_000]))
            assert len(queue) == len(model)
        assert drain(queue) == model
        queue.close()
        assert {path.name for path in folder.iterdir()} <= {"acknowledged", "lock", "reserve"}


def test_a_line_that_cannot_be_written_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = spool(tmp_path)
    first, second, third = lines(3)
    queue.append(first)
    write = os.write
    calls = 0

    def full(descriptor: int, content: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[:10])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(annals.SpoolError, match="No space left"):
            queue.append(second)
    queue.append(third)
    assert drain(queue) == [first, third]
    queue.close()
    assert not (tmp_path / "damaged.jsonl").exists()


def test_a_spool_has_one_client_at_a_time(tmp_path: Path) -> None:
    with client(f"http://127.0.0.1:{free_port()}", spool=tmp_path):
        with pytest.raises(annals.SpoolInUse, match=f"in use by process {os.getpid()}"):
            client(f"http://127.0.0.1:{free_port()}", spool=tmp_path)
        script = f"import annals; annals.Client('http://127.0.0.1:9', spool={str(tmp_path)!r})"
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)
        assert "SpoolInUse" in other.stderr
    client(f"http://127.0.0.1:{free_port()}", spool=tmp_path).close()


def test_a_spool_that_cannot_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(annals.SpoolError, match="cannot be opened"):
        client("http://127.0.0.1:9", spool=tmp_path / "file" / "spool")


def test_close_tries_once_more_where_the_server_may_be_back(tmp_path: Path, server: Server) -> None:
    server.plan.append(Reaction(503))
    log = client(server.url, spool=tmp_path, retry_pause_min=60, retry_pause_max=60)
    log.emit(note(1))
    wait_until(lambda: len(server.requests) == 1)
    time.sleep(0.1)
    log.close()
    assert numbers(server.log) == [1]


def test_close_leaves_events_in_the_spool_where_the_server_asked_for_patience(tmp_path: Path, server: Server) -> None:
    server.plan.append(Reaction(429, retry_after="60"))
    log = client(server.url, spool=tmp_path)
    log.emit(note(1))
    # It does not wait for the minute: a hang, or a second request, would say so.
    log.close(timeout=None)
    assert len(server.requests) == 1
    client(server.url, spool=tmp_path).close()
    assert numbers(server.log) == [1]


def test_what_was_emitted_while_the_server_was_away_is_sent_by_the_next_client(tmp_path: Path) -> None:
    port = free_port()
    log = client(f"http://127.0.0.1:{port}", spool=tmp_path)
    sent = [log.emit(note(number)) for number in range(300)]
    assert log.pending == 300
    # It does not wait for a server that is away, however long it may.
    log.close(timeout=None)
    with serving(port) as server:
        with client(server.url, spool=tmp_path) as log:
            sent += [log.emit(note(number)) for number in range(300, 310)]
            log.flush()
            assert server.ids() == sent
        assert segments(tmp_path) == []


def test_events_are_on_the_disk_when_emit_returns(tmp_path: Path) -> None:
    log = client(f"http://127.0.0.1:{free_port()}", spool=tmp_path, fsync="always")
    for number in range(5):
        log.emit(note(number))
        assert numbers([event for path in segments(tmp_path) for event in records(path)])[-1] == number
    log.close()


def test_what_is_not_committed_is_flushed_to_the_disk_even_while_an_answer_is_waited_for(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    server.plan.append(Reaction(503, held=held))
    flushed: list[int] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        flushed.append(descriptor)
        fsync(descriptor)

    with client(server.url, spool=tmp_path) as log:
        monkeypatch.setattr(os, "fsync", seen)
        log.emit(note(1))
        wait_until(lambda: len(flushed) >= 2)
        time.sleep(1.2)
        # Segment and folder, and not again as long as nothing is added.
        assert len(flushed) == 2
        held.set()


def test_a_spool_is_bounded(tmp_path: Path) -> None:
    log = client(f"http://127.0.0.1:{free_port()}", spool=tmp_path, spool_bytes=2_000, when_full="raise")
    taken = 0
    with pytest.raises(annals.QueueFull):  # noqa: PT012 (how many fit is not the point)
        while True:
            log.emit(note(taken))
            taken += 1
    assert 10 < taken < 40
    log.close()


def test_refused_events_are_kept_with_the_reason(tmp_path: Path, server: Server) -> None:
    server.refuses = lambda event: "no such \ud800 state" if event["message"] == "1" else None
    log = client(server.url, spool=tmp_path)
    for number in range(3):
        log.emit(note(number))
    with pytest.raises(annals.EventsRefused):
        log.close()
    kept = records(tmp_path / "refused.jsonl")
    assert [record["event"]["message"] for record in kept] == ["1"]
    assert kept[0]["problem"]["type"] == "urn:annals:problem:invalid-event"
    assert kept[0]["problem"]["field"] == "status"
    assert numbers(server.log) == [0, 2]


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment_nothing_that_was_taken_is_lost_or_doubled(
    tmp_path: Path, server: Server, seed: int
) -> None:
    choose = random.Random(seed)
    # Half of the answers get lost, so that what the server has is often not known here.
    server.plan.extend(choose.choice([Reaction(503), Reaction(None, commits=True)]) for _ in range(seed * 3))
    taken: list[int] = []
    for _ in range(3):
        command = [sys.executable, "-m", "tests.writer", server.url, str(tmp_path), "5000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=HERE.parent, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(choose.randrange(50, 400))]
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
        whole = [line for line in said if line.endswith("\n")]
        taken.append(int(whole[-1]))
    with client(server.url, spool=tmp_path) as log:
        log.flush()
    assert len(set(server.ids())) == len(server.log)
    runs = split_runs(server.log)
    assert len(runs) == 3
    for run, last in zip(runs, taken, strict=True):
        # The line of the event after it may not have been read any more.
        assert run == list(range(len(run)))
        assert len(run) >= last + 1
    assert not (tmp_path / "damaged.jsonl").exists()


def split_runs(events: list[Event]) -> list[list[int]]:
    runs: list[list[int]] = []
    for number in numbers(events):
        if number == 0:
            runs.append([])
        runs[-1].append(number)
    return runs


def test_a_disk_that_fails_is_said_and_tried_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = lambda event: "no"
    fsync = os.fsync

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    log = client(server.url, spool=tmp_path)
    monkeypatch.setattr(os, "fsync", broken)
    log.emit(note(1))
    wait_until(lambda: "refused.jsonl cannot be written" in caplog.text)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(annals.EventsRefused):
        log.close()
    assert len((tmp_path / "refused.jsonl").read_text().splitlines()) >= 1


class Interrupted(Spool):
    """A spool whose appending is interrupted before its nth line of code, as Ctrl-C may do."""

    def append_interrupted(self, line: bytes, place: int) -> bool:
        left = place

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename != spool_module.__file__:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            self.append(line)
        except KeyboardInterrupt:
            return False
        finally:
            sys.settrace(None)
        return True


def test_interrupted_anywhere_the_spool_stays_in_order(tmp_path: Path) -> None:
    place = 1
    done = False
    while not done:
        folder = tmp_path / str(place)
        queue = Interrupted(folder, bytes_max=1 << 30, fsync="second", segment_bytes=300)
        written = lines(8)
        expected: list[bytes] = []
        for number, line in enumerate(written):
            if number == 3:
                before = len(queue)
                done = queue.append_interrupted(line, place)
                # Interrupted or not, it was appended whole or not at all.
                if len(queue) > before:
                    expected.append(line)
            else:
                queue.append(line)
                expected.append(line)
        assert len(queue) == len(expected)
        if place % 2:
            die(queue)
            queue = Interrupted(folder, bytes_max=1 << 30, fsync="second", segment_bytes=300)
        assert drain(queue) == expected, place
        queue.close()
        assert not (folder / "damaged.jsonl").exists()
        place += 1
    assert place > 10


def test_a_folder_to_which_others_may_write_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    for mode in (0o700, 0o750, 0o755, 0o770, 0o777, 0o1777):
        tmp_path.chmod(mode)
        if mode & 0o022:
            with pytest.raises(annals.SpoolError, match="chmod go-w"):
                spool(tmp_path)
        else:
            spool(tmp_path).close()
        assert tmp_path.stat().st_mode & 0o7777 == mode
    spool(tmp_path / "new" / "spool")
    assert (tmp_path / "new" / "spool").stat().st_mode & 0o777 == 0o700


def test_a_lock_that_somebody_deleted_is_taken_again_before_a_segment_is_begun(tmp_path: Path) -> None:
    queue = spool(tmp_path, segment_bytes=1)
    (tmp_path / "lock").unlink()
    first, second = lines(2)
    queue.append(first)
    with pytest.raises(annals.SpoolInUse):
        spool(tmp_path)
    (tmp_path / "lock").unlink()
    other = spool(tmp_path)
    with pytest.raises(annals.SpoolInUse):
        queue.append(second)
    assert drain(other) == [first]
    other.close()
    die(queue)


def cut(path: Path) -> None:
    os.truncate(path, len(lines(1)[0]))


@pytest.mark.parametrize("meddle", [Path.unlink, cut])
def test_events_that_somebody_deleted_are_owned_up_to_and_the_others_are_sent(tmp_path: Path, meddle: Any) -> None:
    port = free_port()
    with client(f"http://127.0.0.1:{port}", spool=tmp_path) as log:
        log.emit(note(0))
        log.emit(note(1))
        meddle(segments(tmp_path)[0])
        log.emit(note(2))
        with serving(port) as server:
            lost = 0
            try:
                log.flush(None)
            except annals.EventsLost as failure:
                lost = failure.count
            # The sender may have read some of them before: these arrive.
            arrived = numbers(server.log)
            assert len(arrived) + lost == 3
            assert arrived == sorted(set(arrived))
            assert arrived[-1] == 2
            log.emit(note(3))
            log.flush(None)
            assert (numbers(server.log), log.pending) == ([*arrived, 3], 0)


def test_a_segment_that_cannot_be_deleted_hides_no_event_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = spool(tmp_path, segment_bytes=1)
    written = lines(4)
    for line in written:
        queue.append(line)

    def kept(path: Path, missing_ok: bool = False) -> None:
        raise OSError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", kept)
        assert drain(queue) == written
    queue.close()


class BrokenFsync:
    """An fsync that fails until it is told not to; the system reports each failure once."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.broken = False
        self._fsync = os.fsync
        patch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        self._fsync(descriptor)


def test_a_flush_that_fails_is_said_by_the_emit_that_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = BrokenFsync(monkeypatch)
    port = free_port()
    with client(f"http://127.0.0.1:{port}", spool=tmp_path, fsync="always") as log:
        sent = [log.emit(note(0))]
        for number in (1, 2, 3):
            disk.broken = number != 2
            if disk.broken:
                with pytest.raises(annals.NotFlushed, match="Input/output error") as raised:
                    log.emit(note(number))
                assert raised.value.event_id is not None
                sent.append(raised.value.event_id)
            else:
                # It is on the disk now, and so is the one before it: in a file of which no flush failed.
                sent.append(log.emit(note(number)))
        disk.broken = False
        with serving(port) as server:
            log.flush(None)
            assert server.ids() == sent


def test_a_flush_that_failed_is_not_made_good_by_one_that_flushes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = BrokenFsync(monkeypatch)
    queue = Spool(tmp_path, bytes_max=1 << 30, fsync="always")
    first, second = lines(2)
    queue.append(first)
    disk.broken = True
    with pytest.raises(annals.NotFlushed):
        queue.sync()
    disk.broken = False
    # Another thread that asks for the same event hears the same.
    with pytest.raises(annals.NotFlushed):
        queue.sync()
    inode = segments(tmp_path)[0].stat().st_ino
    queue.append(second)
    queue.sync()
    assert segments(tmp_path)[0].stat().st_ino != inode
    assert drain(queue) == [first, second]
    queue.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["acknowledged", "lock", "reserve"]


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    command = ["mount", "-t", "tmpfs", "-o", "size=12m,mode=700", "annals-test", str(tmp_path)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def fill(folder: Path) -> Path:
    """Takes every byte that is left."""
    path = folder / "filler"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 16, 1 << 12, 1):
        with suppress(OSError):
            while True:
                os.write(descriptor, bytes(size))
    os.close(descriptor)
    return path


def long_note(number: int) -> Event:
    return {**note(number), "title": "x" * 20_000}


def count_files(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def test_a_spool_that_filled_its_volume_empties_itself_and_takes_events_again(volume: Path, server: Server) -> None:
    folder, descriptors = volume / "spool", Path("/proc/self/fd")
    with client(server.url, spool=folder) as log:
        taken: list[list[int]] = []
        for _ in range(2):
            server.always = Reaction(503)
            first = len(server.log)
            taken.append([])
            with pytest.raises(annals.SpoolError, match="No space left"):  # noqa: PT012 (how many fit is not the point)
                while True:
                    number = first + len(taken[-1])
                    log.emit(long_note(number))
                    taken[-1].append(number)
            descriptors_before, files_before = count_files(descriptors), count_files(folder)
            for _ in range(300):
                with pytest.raises(annals.SpoolError):
                    log.emit(long_note(0))
            assert count_files(descriptors) < descriptors_before + 20
            assert count_files(folder) < files_before + 5
            server.always = None
            log.flush(None)
            assert numbers(server.log) == [number for numbers_ in taken for number in numbers_]
        assert len(taken[1]) > len(taken[0]) / 2


def test_a_spool_on_a_volume_without_a_byte_left_is_opened_and_sent(volume: Path) -> None:
    folder = volume / "spool"
    port = free_port()
    with client(f"http://127.0.0.1:{port}", spool=folder) as log:
        for number in range(20):
            log.emit(note(number))
    # A line that a crash cut off, which is no event and has to be kept.
    path = segments(folder)[0]
    os.truncate(path, path.stat().st_size - 10)
    fill(volume)
    with serving(port) as server:
        with client(server.url, spool=folder) as log:
            log.flush(None)
        assert numbers(server.log) == list(range(19))
    assert len(records(folder / "damaged.jsonl")) == 1


def test_an_event_that_is_refused_while_the_volume_is_full_is_kept_and_holds_up_no_other(volume: Path) -> None:
    folder = volume / "spool"
    port = free_port()
    with client(f"http://127.0.0.1:{port}", spool=folder, batch_events=20) as log:
        count = 0
        with pytest.raises(annals.SpoolError):  # noqa: PT012
            while True:
                log.emit(long_note(count))
                count += 1
        fill(volume)
        with serving(port) as server:
            server.refuses = lambda event: "no" if int(event["message"]) % 50 == 7 else None
            with pytest.raises(annals.EventsRefused):
                log.flush(None)
            assert numbers(server.log) == [number for number in range(count) if number % 50 != 7]
    refused = numbers([record["event"] for record in records(folder / "refused.jsonl")])
    assert refused == [number for number in range(count) if number % 50 == 7]
