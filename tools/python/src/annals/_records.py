"""Everything about sessions and steps except sending: their events, their ends, and their context."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import _current
from ._capture import arguments
from ._encode import as_text
from ._ids import now, uuid7
from .errors import InvalidEvent, NoSession
from .fields import Basis, Options, SessionEnd, Severity, StepEnd

if TYPE_CHECKING:
    from typing_extensions import Self

    from ._base import ClientBase

Event = dict[str, Any]
R = TypeVar("R")

_CANCELLATIONS: Final = (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)
"""Exceptions by which somebody stops a session or a step."""

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
    """Returns an event with the fields of the parts, except those that are None. `at` is now, unless it is given."""
    fields: Event = {"type": kind, "at": now()}
    for part in parts:
        for name, value in part.items():
            if value is not None:
                fields[name] = as_text(value) if name in _TEXTS else value
    return fields


class Records:
    """The events that belong to a session or to a step; both are called a scope here.

    A subclass says which session and step its events belong to, and with which events it begins and ends.
    """

    def __init__(self, client: ClientBase, session_id: str) -> None:
        self.client = client
        self._session_id = session_id
        self._token: Token[_current.Frame | None] | None = None

    def _location(self) -> tuple[str, str | None]:
        """Returns the ids of the session and the step to which an event recorded now belongs."""
        raise NotImplementedError

    def _start_event(self) -> Event:
        raise NotImplementedError

    def _end_event(self, error: BaseException | None) -> Event:
        raise NotImplementedError

    # Entering takes two calls, because the scope becomes the current one only when its first event was accepted.

    def _begin(self) -> Event:
        """Returns the first event of the scope."""
        if self._token is not None:
            raise RuntimeError("a session or step can be entered only once")
        return self._start_event()

    def _enter(self) -> None:
        """Makes the scope the current one."""
        self._token = _current.enter(self)

    def _leave(self, error: BaseException | None) -> Event:
        """Makes the scope around this one current again, and returns the last event."""
        if self._token is not None:
            _current.leave(self._token)
        return self._end_event(error)

    def _record(self, kind: str, *parts: Mapping[str, Any], step: bool = True) -> Event:
        session_id, step_id = self._location()
        return event(kind, {"session": session_id, "step": step_id if step else None}, *parts)

    def _decision(
        self, chosen: str | Sequence[str] | None, options: Options | None, fields: Mapping[str, Any]
    ) -> tuple[str, Event]:
        decision_id = fields.get("decision") or str(uuid7())
        own: Event = {
            "decision": decision_id,
            "options_considered": None if options is None else list(options),
        }
        if chosen is None or isinstance(chosen, str):
            own["chosen_option"] = chosen
        else:
            own["chosen_options"] = list(chosen)
        return decision_id, self._record("decision.made", fields, own)

    def _finding(self, fields: Mapping[str, Any]) -> tuple[str, Event]:
        finding_id = fields.get("finding") or str(uuid7())
        return finding_id, self._record("finding.raised", fields, {"finding": finding_id})

    def _finding_update(self, finding: str, fields: Mapping[str, Any]) -> Event:
        return self._record("finding.updated", {"finding": finding}, fields, step=False)

    def _review(
        self, actor: str, verdict: str, subject_kind: str, subject_id: str | None, fields: Mapping[str, Any]
    ) -> tuple[str, Event]:
        review_id = fields.get("review") or str(uuid7())
        own = {
            "actor": actor,
            "verdict": verdict,
            "subject_kind": subject_kind,
            "subject_id": subject_id,
            "review": review_id,
        }
        return review_id, self._record("review.recorded", fields, own, step=False)

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
        own = {"actor": {"id": actor} if isinstance(actor, str) else actor, "action": action}
        return self._record("action.recorded", own, fields, step=False)

    def _policy(self, policy: str, effect: str, fields: Mapping[str, Any]) -> Event:
        own = {"policy": policy, "effect": effect}
        # The input of a policy decision is JSON, not a text as that of a session or a step.
        judged = fields.get("input")
        record = self._record("policy.decided", own, {**fields, "input": None})
        return record if judged is None else {**record, "input": judged}


class Usage:
    """Tokens and cost, which the end of a session or a step can state."""

    tokens_input: int | None = None
    """Number of tokens that models read."""
    tokens_output: int | None = None
    """Number of tokens that models wrote."""
    cost_usd: float | None = None
    """The cost in US dollars."""

    def tokens(self, input: int | None = None, output: int | None = None) -> None:
        """Sets the tokens that models read and wrote. The last value counts."""
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
    """The events of a session. Its end records the values of its attributes."""

    summary: Any = None
    """The whole result."""
    risk_level: Severity | None = None
    """The risk of the result."""
    scores: Mapping[str, float] | None = None
    """Ratings by name, each on the producer's own scale."""
    status: SessionEnd | None = None
    """The final status. If None: `failed` after an exception, `cancelled` after a cancellation, else `completed`."""
    error: str | None = None
    """The reason for a failure. If None: the exception, if there was one."""

    def __init__(self, client: ClientBase, id: str | None, fields: Mapping[str, Any]) -> None:
        super().__init__(client, id or str(uuid7()))
        self._sent = client._sent
        self._fields = fields
        self.attributes: dict[str, Any] = {}
        """Further values for the event of the end, by name."""

    @property
    def id(self) -> str:
        """The session's id."""
        return self._session_id

    def fail(self, why: object) -> None:
        """Sets the status `failed` and the reason, for a failure without an exception."""
        self.status = "failed"
        self.error = str(why)

    def _enter(self) -> None:
        super()._enter()
        self._sent.begin(self.id)

    def _leave(self, error: BaseException | None) -> Event:
        if self._token is not None:
            self._sent.end(self.id)
        return super()._leave(error)

    def _coverage(self, source: str, fields: Mapping[str, Any]) -> Event:
        return self._record("coverage.declared", {"source": source}, self._sent.of(self.id), fields, step=False)

    def _of_call(self, function: Callable[..., Any]) -> Self:
        """Returns the session of one call of a decorated function."""
        profile = self._fields.get("profile") or function.__qualname__
        return type(self)(self.client, None, {**self._fields, "profile": profile})

    def _location(self) -> tuple[str, str | None]:
        return self.id, _current.step_within(self.client, self.id)

    def _start_event(self) -> Event:
        outer = _current.innermost(self.client)
        parent = outer._session_id if outer is not None else None
        return event("session.started", {"session": self.id, "parent_session": parent}, self._fields)

    def _update(self, fields: Mapping[str, Any]) -> Event:
        return event("session.updated", {"session": self.id}, fields)

    def _end_event(self, error: BaseException | None) -> Event:
        status: SessionEnd = "completed"
        if isinstance(error, _CANCELLATIONS):
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
    """The events of a step. Its end records the values of its attributes."""

    output: Any = None
    """The whole output."""
    output_summary: str | None = None
    """A summary of the output. If None: its first 200 characters."""
    confidence: float | None = None
    """The module's confidence in the output, 0 to 1."""
    tokens_cache_read: int | None = None
    """The part of `tokens_input` that was read from the provider's cache."""
    tokens_cache_write: int | None = None
    """The part of `tokens_input` that was written to the provider's cache."""
    tokens_reasoning: int | None = None
    """The part of `tokens_output` that was spent on reasoning."""
    basis: Basis | None = None
    """Whether the step was observed, or is claimed by the agent. If None: not stated."""
    status: StepEnd | None = None
    """The final status. If None: `error` after an exception, `cancelled` after a cancellation, else `ok`."""
    error: str | None = None
    """The reason for a failure. If None: the exception, if there was one."""

    def __init__(
        self,
        client: ClientBase,
        parent: Records | None,
        module: str | None,
        id: str | None,
        capture_input: bool,
        capture_output: bool,
        fields: Mapping[str, Any],
    ) -> None:
        # The session is looked up when the step begins: none may be open yet when a decorator is made.
        super().__init__(client, "")
        self._parent = parent
        self._step_id = id or str(uuid7())
        self._capture_input = capture_input
        self._capture_output = capture_output
        self._fields = {**fields, "module": module}
        self.attributes: dict[str, Any] = {}
        """Further values for the event of the end, by name."""

    @property
    def id(self) -> str:
        """The step's id, unique within its session."""
        return self._step_id

    @property
    def session_id(self) -> str:
        """The id of the step's session; empty before the step begins."""
        return self._session_id

    def fail(self, why: object) -> None:
        """Sets the status `error` and the reason, for a failure without an exception."""
        self.status = "error"
        self.error = str(why)

    def _of_call(self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Self:
        """Returns the step of one call of a decorated function."""
        module = self._fields["module"] or function.__qualname__
        fields = {**self._fields, "input": arguments(function, args, kwargs)} if self._capture_input else self._fields
        return type(self)(self.client, self._parent, module, None, False, self._capture_output, fields)

    def _with_output(self, result: R) -> R:
        """Captures the result of a decorated function, unless the function has set an output itself."""
        if self._capture_output and self.output is None:
            self.output = result
        return result

    def _location(self) -> tuple[str, str | None]:
        return self._session_id, self._step_id

    def _start_event(self) -> Event:
        parent = self._parent or _current.innermost(self.client)
        if parent is None:
            raise NoSession("no session of this client is open here: begin one with `client.session(…)`")
        self._session_id, parent_step = parent._location()
        return event(
            "step.started",
            {"session": self.session_id, "step": self.id, "parent_step": parent_step},
            self._fields,
        )

    def _end_event(self, error: BaseException | None) -> Event:
        status: StepEnd = "ok"
        if isinstance(error, _CANCELLATIONS):
            status = "cancelled"
        elif error is not None:
            status = "error"
        return event(
            "step.ended",
            {
                "session": self.session_id,
                "step": self.id,
                "status": self.status or status,
                "output": self.output,
                "output_summary": self.output_summary,
                "confidence": self.confidence,
                "tokens_cache_read": self.tokens_cache_read,
                "tokens_cache_write": self.tokens_cache_write,
                "tokens_reasoning": self.tokens_reasoning,
                "error": self.error or describe(error),
                "basis": self.basis,
                "attributes": self.attributes or None,
            },
            self._usage(),
        )


def describe(error: BaseException | None) -> str | None:
    """Returns an exception in the form that the field `error` of an event has."""
    if error is None:
        return None
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 (the event must be recorded even if the exception's own `__str__` raises)
        text = ""
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def blake3(content: bytes) -> str:
    """Returns the BLAKE3 digest of a content, in hexadecimal."""
    try:
        from blake3 import blake3 as hasher
    except ImportError:
        raise InvalidEvent(
            "artifact.attached: the package blake3 is missing: `pip install annals[blake3]`, or give the digest"
        ) from None
    digest: str = hasher(content).hexdigest()
    return digest
