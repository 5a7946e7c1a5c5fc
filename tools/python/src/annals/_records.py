"""The events of a session and its steps, without sending them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import _current
from ._encode import as_text
from ._ids import now, uuid7
from .errors import InvalidEvent, NoSession
from .fields import Options, SessionEnd, Severity, StepEnd

Event = dict[str, Any]

_TEXTS: Final = frozenset(
    {
        "input",
        "output",
        "summary",
        "rationale",
        "description",
        "plain_english",
        "suggestion",
        "reason",
        "message",
    }
)


def event(kind: str, *parts: Mapping[str, Any]) -> Event:
    """An event of the parts' fields; what is None is left out. `at` is now, unless it is given."""
    fields: Event = {"type": kind, "at": now()}
    for part in parts:
        for name, value in part.items():
            if value is not None:
                fields[name] = as_text(value) if name in _TEXTS else value
    return fields


class Records:
    """What a session and a step have in common: who owns them, and what is recorded within them."""

    def __init__(self, owner: object, session_id: str) -> None:
        self.owner = owner
        self._session_id = session_id

    def _place(self) -> tuple[str, str | None]:
        """The ids of the session and the step that something recorded now belongs to."""
        raise NotImplementedError

    def _record(self, kind: str, *parts: Mapping[str, Any], step: bool = True) -> Event:
        session_id, step_id = self._place()
        return event(kind, {"session": session_id, "step": step_id if step else None}, *parts)

    def _decision(
        self, chosen: str | Sequence[str] | None, options: Options | None, fields: Mapping[str, Any]
    ) -> tuple[str, Event]:
        name = "chosen_option" if chosen is None or isinstance(chosen, str) else "chosen_options"
        made = fields.get("decision") or str(uuid7())
        own = {
            "decision": made,
            name: chosen if chosen is None or isinstance(chosen, str) else list(chosen),
            "options_considered": None if options is None else list(options),
        }
        return made, self._record("decision.made", fields, own)

    def _finding(self, fields: Mapping[str, Any]) -> tuple[str, Event]:
        made = fields.get("finding") or str(uuid7())
        return made, self._record("finding.raised", fields, {"finding": made})

    def _finding_update(self, finding: str, fields: Mapping[str, Any]) -> Event:
        return self._record("finding.updated", {"finding": finding}, fields, step=False)

    def _review(
        self, actor: str, verdict: str, subject_kind: str, subject_id: str | None, fields: Mapping[str, Any]
    ) -> tuple[str, Event]:
        made = fields.get("review") or str(uuid7())
        own = {
            "actor": actor,
            "verdict": verdict,
            "subject_kind": subject_kind,
            "subject_id": subject_id,
            "review": made,
        }
        return made, self._record("review.recorded", fields, own, step=False)

    def _artifact(self, content: bytes | None, digest: str | None, fields: Mapping[str, Any]) -> tuple[str, Event]:
        if (content is None) == (digest is None):
            raise InvalidEvent("artifact.attached: give either the content or its digest")
        own: Event = {"artifact": digest}
        if content is not None:
            own = {"artifact": blake3(content), "size": len(content)}
        return own["artifact"], self._record("artifact.attached", own, fields)

    def _metric(self, name: str, value: float, fields: Mapping[str, Any]) -> Event:
        return self._record("metric.recorded", {"name": name, "value": value}, fields, step=False)

    def _note(self, message: Any, fields: Mapping[str, Any]) -> Event:
        return self._record("note.logged", {"message": message}, fields)

    def _action(self, actor: str | Mapping[str, str], action: str, fields: Mapping[str, Any]) -> Event:
        who = {"id": actor} if isinstance(actor, str) else actor
        return self._record("action.recorded", {"actor": who, "action": action}, fields, step=False)


class Usage:
    """Tokens and cost, which a session and a step may state at their end."""

    tokens_input: int | None = None
    """Tokens read by models."""
    tokens_output: int | None = None
    """Tokens written by models."""
    cost_usd: float | None = None
    """Cost in US dollars."""

    def tokens(self, input: int | None = None, output: int | None = None) -> None:
        """States the tokens that models read and wrote. Said twice, the last counts."""
        if input is not None:
            self.tokens_input = input
        if output is not None:
            self.tokens_output = output

    def _usage(self) -> Event:
        return {
            "tokens_input": self.tokens_input,
            "tokens_output": self.tokens_output,
            "cost_usd": self.cost_usd,
        }


class SessionRecords(Records, Usage):
    """The events of a session. What is assigned to its attributes is recorded when it ends."""

    summary: Any = None
    """What it came to, whole."""
    risk_level: Severity | None = None
    """How risky the outcome is."""
    scores: Mapping[str, float] | None = None
    """Ratings by name, each in the producer's own scale."""
    status: SessionEnd | None = None
    """How it ended. None is `failed` after an exception, `cancelled` after a cancellation, and `completed` else."""
    error: str | None = None
    """Why it failed; the exception where it is None."""

    def __init__(self, owner: object, session_id: str | None, fields: Mapping[str, Any]) -> None:
        super().__init__(owner, session_id or str(uuid7()))
        self._fields = fields
        self.attributes: dict[str, Any] = {}
        """Whatever else there is to say at the end, by name."""

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session_id

    def _place(self) -> tuple[str, str | None]:
        return self.id, _current.step_within(self.owner, self.id)

    def fail(self, why: object) -> None:
        """Says that it failed, where no exception does."""
        self.status = "failed"
        self.error = str(why)

    def _begin(self) -> Event:
        outer = _current.innermost(self.owner)
        parent = outer._session_id if outer is not None else None
        return event("session.started", {"session": self.id, "parent_session": parent}, self._fields)

    def _update(self, fields: Mapping[str, Any]) -> Event:
        return event("session.updated", {"session": self.id}, fields)

    def _end(self, error: BaseException | None) -> Event:
        status: SessionEnd = "completed"
        if isinstance(error, (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)):
            status = "cancelled"
        elif error is not None:
            status = "failed"
        return event(
            "session.ended",
            {
                "session": self.id,
                "status": self.status or status,
                "summary": self.summary,
                "risk_level": self.risk_level,
                "scores": self.scores,
                "error": self.error or describe(error),
                "attributes": self.attributes or None,
            },
            self._usage(),
        )


class StepRecords(Records, Usage):
    """The events of a step. What is assigned to its attributes is recorded when it ends."""

    output: Any = None
    """What came out, whole."""
    output_summary: str | None = None
    """The same in short; the first 200 characters of the output where it is None."""
    confidence: float | None = None
    """How sure the module is of it, 0 to 1."""
    status: StepEnd | None = None
    """How it ended; where it is None: `error` after an exception, `ok` else."""
    error: str | None = None
    """Why it failed; the exception where it is None."""

    def __init__(self, owner: object, origin: Records | None, step_id: str | None, fields: Mapping[str, Any]) -> None:
        # Which session it belongs to is asked when it begins: a decorator is made where there is none yet.
        super().__init__(owner, "")
        self._origin = origin
        self._step_id = step_id or str(uuid7())
        self._fields = fields
        self.attributes: dict[str, Any] = {}
        """Whatever else there is to say at the end, by name."""

    @property
    def id(self) -> str:
        """The step's id, unique within its session."""
        return self._step_id

    @property
    def session_id(self) -> str:
        """The id of its session. There is none before the step has begun."""
        return self._session_id

    def fail(self, why: object) -> None:
        """Says that it failed, where no exception does."""
        self.status = "error"
        self.error = str(why)

    def _place(self) -> tuple[str, str | None]:
        return self._session_id, self._step_id

    def _begin(self) -> Event:
        origin = self._origin or _current.innermost(self.owner)
        if origin is None:
            raise NoSession("no session of this client is open here: begin one with `client.session(…)`")
        self._session_id, parent = origin._place()
        return event(
            "step.started",
            {"session": self.session_id, "step": self.id, "parent_step": parent},
            self._fields,
        )

    def _end(self, error: BaseException | None) -> Event:
        return event(
            "step.ended",
            {
                "session": self.session_id,
                "step": self.id,
                "status": self.status or ("ok" if error is None else "error"),
                "output": self.output,
                "output_summary": self.output_summary,
                "confidence": self.confidence,
                "error": self.error or describe(error),
                "attributes": self.attributes or None,
            },
            self._usage(),
        )


def describe(error: BaseException | None) -> str | None:
    """An exception as an event's `error`."""
    if error is None:
        return None
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (whatever its own `__str__` raises, the record must be made)
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def blake3(content: bytes) -> str:
    """The digest of a content, in hexadecimal."""
    try:
        from blake3 import blake3 as hasher
    except ImportError:
        raise InvalidEvent(
            "artifact.attached: BLAKE3 is not in Python's library: `pip install annals[blake3]`, or give the digest"
        ) from None
    digest: str = hasher(content).hexdigest()
    return digest
