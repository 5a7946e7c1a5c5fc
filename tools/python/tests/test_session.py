from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

import annals

from .support import Event, Reaction, Server, client


@pytest.fixture
def log(server: Server) -> Iterator[annals.Client]:
    with client(server.url) as opened:
        yield opened


def recorded(log: annals.Client, server: Server) -> list[Event]:
    """The events, without what differs from run to run."""
    log.flush()
    return [{name: value for name, value in event.items() if name not in ("id", "at")} for event in server.log]


def test_a_session_with_steps_and_all_that_can_be_said_in_them(log: annals.Client, server: Server) -> None:
    with log.session(
        "refunds", id="s-1", input={"order": 1812}, agent="desk", conversation="c-1", labels={"env": "test"}
    ) as session:
        with session.step("look-up", id="1", kind="retrieval", input="order 1812") as step:
            step.output = ["30 days", "no fee"]
            step.confidence = 0.9
            step.cost_usd = 0.01
            step.tokens(120, 8)
            step.attributes["shard"] = 7
            step.note("cold cache", level="warning", data={"entries": 0})
            with session.step("rank", id="1.1", model="m") as inner:
                inner.tokens(output=3)
        decision = session.decide(
            "refund",
            [{"option": "refund", "score": 0.7}, "refuse"],
            rationale="the policy allows it",
            decision_type="outcome",
        )
        session.decide(["a", "b"])
        finding = session.find(severity="high", category="fees", description="no cap", evidence={"page": 3})
        session.update_finding(finding, status="confirmed", actor="ada")
        session.review("ada", "approved")
        session.review("ada", "overridden", subject_kind="decision", subject_id=decision, reason="too kind")
        session.artifact(digest="ab" * 32, label="lease.pdf", size=7)
        session.metric("latency", 2.5, unit="s")
        session.action("u-1", "contract.delete", outcome="denied")
        session.update(progress=0.5, message="half")
        session.summary = "refunded"
        session.scores = {"completeness": 0.9}
    one, step_one = {"session": "s-1"}, {"session": "s-1", "step": "1"}
    assert recorded(log, server) == [
        {
            "type": "session.started",
            **one,
            "profile": "refunds",
            "input": '{"order": 1812}',
            "agent": "desk",
            "conversation": "c-1",
            "labels": {"env": "test"},
        },
        {"type": "step.started", **step_one, "module": "look-up", "kind": "retrieval", "input": "order 1812"},
        {"type": "note.logged", **step_one, "message": "cold cache", "level": "warning", "data": {"entries": 0}},
        {
            "type": "step.started",
            "session": "s-1",
            "step": "1.1",
            "parent_step": "1",
            "module": "rank",
            "model": "m",
        },
        {"type": "step.ended", "session": "s-1", "step": "1.1", "status": "ok", "tokens_output": 3},
        {
            "type": "step.ended",
            **step_one,
            "status": "ok",
            "output": '["30 days", "no fee"]',
            "confidence": 0.9,
            "tokens_input": 120,
            "tokens_output": 8,
            "cost_usd": 0.01,
            "attributes": {"shard": 7},
        },
        {
            "type": "decision.made",
            **one,
            "decision": decision,
            "decision_type": "outcome",
            "options_considered": [{"option": "refund", "score": 0.7}, "refuse"],
            "chosen_option": "refund",
            "rationale": "the policy allows it",
        },
        {
            "type": "decision.made",
            **one,
            "decision": server.log[7]["decision"],
            "chosen_options": ["a", "b"],
        },
        {
            "type": "finding.raised",
            **one,
            "finding": finding,
            "severity": "high",
            "category": "fees",
            "description": "no cap",
            "evidence": {"page": 3},
        },
        {"type": "finding.updated", **one, "finding": finding, "status": "confirmed", "actor": "ada"},
        {
            "type": "review.recorded",
            **one,
            "review": server.log[10]["review"],
            "actor": "ada",
            "verdict": "approved",
            "subject_kind": "session",
        },
        {
            "type": "review.recorded",
            **one,
            "review": server.log[11]["review"],
            "actor": "ada",
            "verdict": "overridden",
            "subject_kind": "decision",
            "subject_id": decision,
            "reason": "too kind",
        },
        {"type": "artifact.attached", **one, "artifact": "ab" * 32, "label": "lease.pdf", "size": 7},
        {"type": "metric.recorded", **one, "name": "latency", "value": 2.5, "unit": "s"},
        {
            "type": "action.recorded",
            **one,
            "actor": {"id": "u-1"},
            "action": "contract.delete",
            "outcome": "denied",
        },
        {"type": "session.updated", **one, "progress": 0.5, "message": "half"},
        {
            "type": "session.ended",
            **one,
            "status": "completed",
            "summary": "refunded",
            "scores": {"completeness": 0.9},
        },
    ]
    assert all("at" in event for event in server.log)


def test_an_exception_ends_steps_and_session_in_failure_and_goes_on(log: annals.Client, server: Server) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        log.session("p", id="s") as session,
        session.step("outer", id="1"),
        log.step("inner", id="2"),
    ):
        raise ZeroDivisionError("by nothing")
    ends = [event for event in recorded(log, server) if event["type"].endswith("ended")]
    assert ends == [
        {"type": "step.ended", "session": "s", "step": step, "status": "error", "error": error}
        for step, error in [("2", "ZeroDivisionError: by nothing"), ("1", "ZeroDivisionError: by nothing")]
    ] + [{"type": "session.ended", "session": "s", "status": "failed", "error": "ZeroDivisionError: by nothing"}]


def test_an_interrupted_session_was_cancelled(log: annals.Client, server: Server) -> None:
    with pytest.raises(KeyboardInterrupt), log.session("p"):
        raise KeyboardInterrupt
    assert recorded(log, server)[-1]["status"] == "cancelled"


def test_failure_can_be_stated_where_no_exception_says_it(log: annals.Client, server: Server) -> None:
    with log.session("p") as session:
        with session.step("s") as step:
            step.fail("no answer")
        session.fail("gave up")
    _, _, step_end, session_end = recorded(log, server)
    assert (step_end["status"], step_end["error"]) == ("error", "no answer")
    assert (session_end["status"], session_end["error"]) == ("failed", "gave up")


def test_an_exception_without_a_text_that_works_is_recorded_by_its_name(log: annals.Client, server: Server) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(Mute), log.session("p"):
        raise Mute
    assert recorded(log, server)[-1]["error"] == "Mute"


def test_what_is_recorded_in_a_session_belongs_to_the_step_that_is_open(log: annals.Client, server: Server) -> None:
    with log.session("p", id="s") as session:
        session.note("before")
        with session.step("a", id="1"):
            session.note("in 1")
            with log.session("q", id="s-2") as other:
                other.note("in s-2")
                session.note("in 1 still")
            with log.step("b", id="2") as step:
                session.note("in 2")
                assert [log.current_step] == [step]
            session.find(title="in 1")
        session.note("after")
        assert [log.current_session] == ["s"]
    assert log.current_session is None
    assert log.current_step is None
    said = {
        event.get("message") or event.get("title"): (event["session"], event.get("step"))
        for event in recorded(log, server)
        if event["type"] in ("note.logged", "finding.raised")
    }
    assert said == {
        "before": ("s", None),
        "in 1": ("s", "1"),
        "in s-2": ("s-2", None),
        "in 1 still": ("s", "1"),
        "in 2": ("s", "2"),
        "after": ("s", None),
    } | {"in 1": ("s", "1")}
    started = next(event for event in server.log if event["session"] == "s-2")
    assert started["parent_session"] == "s"


def test_a_step_without_a_session_is_an_error_that_says_so(log: annals.Client, server: Server) -> None:
    with pytest.raises(annals.NoSession, match=r"client\.session"), log.step("a"):
        pytest.fail("it does not begin")
    with (
        client(server.url) as other,
        other.session("p"),
        pytest.raises(annals.NoSession),
        log.step("a"),
    ):
        pytest.fail("the session is another client's")


def test_sessions_and_steps_begin_once(log: annals.Client) -> None:
    with log.session("p") as session, pytest.raises(RuntimeError), session:
        pytest.fail("it does not begin again")


def test_threads_need_the_session_in_hand_or_the_context(log: annals.Client, server: Server) -> None:
    def lost() -> None:
        with pytest.raises(annals.NoSession), log.step("lost"):
            pytest.fail("no session here")

    def run(step: Any) -> None:
        with step:
            pass

    def found() -> None:
        with log.step("found", id="2"):
            pass

    with log.session("p", id="s") as session, session.step("outer", id="1") as outer:
        context = copy_context()
        threads = [
            threading.Thread(target=lost),
            threading.Thread(target=run, args=(outer.step("in hand", id="3"),)),
            threading.Thread(target=context.run, args=(found,)),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    parents = {
        event["step"]: event.get("parent_step") for event in recorded(log, server) if event["type"] == "step.started"
    }
    assert parents == {"1": None, "2": "1", "3": "1"}


def test_decorated_functions_are_steps_with_input_and_output_where_asked(log: annals.Client, server: Server) -> None:
    @log.step(kind="tool", capture_input=True, capture_output=True)
    def add(first: int, second: int = 2) -> int:
        """Adds."""
        return first + second

    @log.step("silent")
    def silent(secret: str) -> str:
        return secret

    class Agent:
        @log.step("method", capture_input=True)
        def act(self, what: object) -> None:
            current = log.current_step
            assert current is not None
            current.output = "stated"

    @log.session("whole")
    def work() -> int:
        silent("hush")
        Agent().act(Agent)
        return add(1)

    assert add.__doc__ == "Adds."
    assert work() == 3
    assert work() == 3
    events = recorded(log, server)
    assert len({event["session"] for event in events}) == 2
    steps = [event for event in events if event["type"].startswith("step")][:6]
    assert steps[0]["module"] == "silent"
    assert "hush" not in str(events)
    assert steps[2]["input"].startswith('{"what": ')
    assert steps[3]["output"] == "stated"
    assert steps[4]["module"].endswith("add")
    assert (steps[4]["input"], steps[5]["output"]) == ('{"first": 1}', "3")
    assert events[0]["profile"] == "whole"


def test_decorated_coroutines_are_steps_and_tasks_find_their_session(log: annals.Client, server: Server) -> None:
    @log.step("part", capture_input=True, capture_output=True)
    async def part(number: int) -> int:
        await asyncio.sleep(0.01)
        log.emit({"type": "note.logged", "session": log.current_session, "message": str(number)})
        return number * 2

    @log.session("whole")
    async def work() -> list[int]:
        return await asyncio.gather(*(part(number) for number in range(5)))

    async def two() -> None:
        assert list(await asyncio.gather(work(), work())) == [[0, 2, 4, 6, 8]] * 2

    asyncio.run(two())
    events = recorded(log, server)
    for session in {event["session"] for event in events}:
        own = [event for event in events if event["session"] == session]
        assert sorted(event["input"] for event in own if event["type"] == "step.started") == [
            f'{{"number": {number}}}' for number in range(5)
        ]
        assert own[-1] == {"type": "session.ended", "session": session, "status": "completed"}


def test_generators_are_not_decorated() -> None:
    log = annals.Client()

    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="generator"):
        log.step()(numbers)
    with pytest.raises(TypeError, match="generator"):
        log.session()(numbers)
    log.close()


def test_an_artifact_is_known_by_its_digest(log: annals.Client, server: Server) -> None:
    pytest.importorskip("blake3")
    with log.session("p") as session:
        assert session.artifact(b"").startswith("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")
        with pytest.raises(annals.InvalidEvent):
            session.artifact()
    assert recorded(log, server)[1]["size"] == 0


def test_an_end_that_cannot_be_recorded_does_not_hide_the_callers_exception(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    log = client(server.url)
    session = log.session("p")
    session.__enter__()
    log.close()
    session.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert "session.ended" in caplog.text
    log = client(server.url)
    session = log.session("p")
    session.__enter__()
    log.close()
    with pytest.raises(annals.Closed):
        session.__exit__(None, None, None)


def test_a_policy_decision_has_its_step_and_its_input_as_json(log: annals.Client, server: Server) -> None:
    with log.session("p", id="s") as session, session.step("pay", id="1") as step:
        step.policy("payments", "deny", rule="limit", subject_kind="action", subject_id="x", input={"amount": 700})
    assert {
        "type": "policy.decided",
        "session": "s",
        "step": "1",
        "policy": "payments",
        "effect": "deny",
        "rule": "limit",
        "subject_kind": "action",
        "subject_id": "x",
        "input": {"amount": 700},
    } in recorded(log, server)


def test_a_declaration_of_coverage_announces_the_events_since_the_session_began(
    log: annals.Client, server: Server
) -> None:
    with log.session("p", id="s") as session:
        with session.step("pay", id="1") as step:
            step.note("a")
        log.emit({"type": "note.logged", "session": "s", "message": "b"})
        log.emit({"type": "note.logged", "session": "another", "message": "c"})
        session.coverage("desk", records=["tool calls"], omits=["model calls"])
        session.coverage("desk")
    with log.session("p", id="s") as session:
        session.coverage("desk")
    first, second, again = (event for event in recorded(log, server) if event["type"] == "coverage.declared")
    sent = {"session.started": 1, "step.started": 1, "step.ended": 1, "note.logged": 2}
    assert first == {
        "type": "coverage.declared",
        "session": "s",
        "source": "desk",
        "instance": first["instance"],
        "announced": sent,
        "records": ["tool calls"],
        "omits": ["model calls"],
    }
    assert second["announced"] == {**sent, "coverage.declared": 1}
    assert second["instance"] == first["instance"]
    assert again["announced"] == {"session.started": 1}, "a session that goes on later counts anew"
    assert again["instance"] != first["instance"]


def test_an_event_that_the_queue_refuses_is_announced_all_the_same(server: Server) -> None:
    server.always = Reaction(503)
    log = client(server.url, queue_events=2, when_full="raise")
    with log.session("p", id="s") as session:
        session.note("first")
        with pytest.raises(annals.QueueFull):
            session.note("second")
        server.always = None
        log.flush()
        session.coverage("desk")
    assert [event["announced"] for event in recorded(log, server) if event["type"] == "coverage.declared"] == [
        {"session.started": 1, "note.logged": 2}
    ]
