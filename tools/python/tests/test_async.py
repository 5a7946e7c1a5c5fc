from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import annals

from .support import Reaction, Server, free_port, note, numbers


def client(url: str, **settings: Any) -> annals.AsyncClient:
    return annals.AsyncClient(url, **({"retry_pause_min": 0.01, "retry_pause_max": 0.05, "linger": 0.0} | settings))


def test_sessions_and_steps_are_entered_and_left_by_await(server: Server) -> None:
    async def main() -> None:
        async with client(server.url) as log:

            @log.step("part", capture_input=True, capture_output=True)
            async def part(number: int) -> int:
                await asyncio.sleep(0.01)
                return number + 1

            async with log.session("p", id="s") as session:
                assert list(await asyncio.gather(part(1), part(2))) == [2, 3]
                async with session.step("a", id="1") as step:
                    step.output = "x"
                    await session.note("inside")
                await session.decide("left", ["left", "right"])
            await log.flush()
            assert log.pending == 0

            @log.session("decorated")
            async def work() -> None:
                async with log.step("inner"):
                    raise LookupError("nothing")

            with pytest.raises(LookupError):
                await work()
            with pytest.raises(TypeError, match="coroutine"):
                log.step()(len)  # type: ignore[arg-type]

    asyncio.run(main())
    kinds = [event["type"] for event in server.log]
    assert kinds[0] == "session.started"
    assert kinds.count("step.ended") == 4
    inside = next(event for event in server.log if event["type"] == "note.logged")
    assert (inside["session"], inside["step"]) == ("s", "1")
    assert server.log[-1]["error"] == "LookupError: nothing"


def test_a_cancelled_session_says_so(server: Server) -> None:
    async def main() -> None:
        async with client(server.url) as log:

            async def work() -> None:
                async with log.session("p"), log.step("sleep"):
                    await asyncio.sleep(60)

            task = asyncio.create_task(work())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert [event["status"] for event in server.log if event["type"].endswith("ended")] == ["cancelled", "cancelled"]


def test_a_full_queue_lets_the_loop_go_on(server: Server) -> None:
    server.plan.append(Reaction(503, retry_after="1"))
    ticks = 0

    async def main() -> None:
        nonlocal ticks
        async with client(server.url, queue_events=5) as log:

            async def tick() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticking = asyncio.create_task(tick())
            for number in range(20):
                await log.emit(note(number))
            ticking.cancel()
            await log.flush()

    asyncio.run(main())
    assert numbers(server.log) == list(range(20))
    assert ticks > 0


def test_time_limits_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        log = client(f"http://127.0.0.1:{free_port()}")
        await log.emit(note(1))
        with pytest.raises(annals.NotDelivered):
            await log.flush(timeout=0.1)
        with pytest.raises(annals.NotDelivered):
            await log.close(timeout=0.1)
        await log.close()
        with pytest.raises(annals.Closed):
            await log.emit(note(2))

    asyncio.run(main())


def test_the_spool_serves_both_kinds_of_client(tmp_path: Path, server: Server) -> None:
    async def main() -> list[str]:
        async with client(f"http://127.0.0.1:{free_port()}", spool=tmp_path, fsync="always") as log:
            return [await log.emit(note(number)) for number in range(10)]

    sent = asyncio.run(main())
    annals.Client(server.url, spool=tmp_path).close()
    assert server.ids() == sent
