"""The fields of events, as docs/events.md names them: what the helpers of a session and a step accept.

Texts may be anything: what is no `str` is written as JSON. Times are `datetime` or RFC 3339. A field that is absent or
None is not recorded. Whatever an event does not know goes to `attributes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

StepKind = Literal["llm", "tool", "retrieval", "agent", "chain", "guardrail", "other"]
SessionStatus = Literal["queued", "running", "paused"]
SessionEnd = Literal["completed", "failed", "cancelled", "disconnected"]
StepEnd = Literal["ok", "error"]
Severity = Literal["critical", "high", "medium", "low", "info"]
Outcome = Literal["pass", "fail", "warning", "skip", "error"]
FindingStatus = Literal["open", "confirmed", "dismissed", "applied", "rejected", "reverted"]
SubjectKind = Literal["session", "step", "decision", "finding", "action"]
Verdict = Literal["approved", "rejected", "overridden", "escalated"]
ActionOutcome = Literal["success", "denied", "failed"]


class Common(TypedDict, total=False):
    """What every event may have."""

    at: str | datetime | None
    """When it happened; now where absent."""
    attributes: Mapping[str, Any] | None
    """Whatever else there is to say, by name."""


class SessionFields(Common, total=False):
    """`session.started`, but for its id and its profile."""

    input: Any
    """What it was asked, whole."""
    input_hash: str | None
    """What identical inputs are found by; BLAKE3 of the input where absent."""
    conversation: str | None
    """What several sessions with one user have in common."""
    parent_session: str | None
    """The session that started this one."""
    agent: str | None
    """Name of the agent."""
    agent_version: str | None
    """Version of the agent."""
    model: str | None
    """Model it works with."""
    source: str | None
    """Where the record came from."""
    tenant: str | None
    """Whose session it is, where several share a log."""
    labels: Mapping[str, str] | None
    """The producer's own labels."""


class SessionUpdateFields(Common, total=False):
    """`session.updated`."""

    status: SessionStatus | None
    """Its new state."""
    progress: float | None
    """How much of it is done, 0 to 1."""
    message: str | None
    """What it is doing."""


class StepFields(Common, total=False):
    """`step.started`, but for its id, its parent and its module."""

    kind: StepKind | None
    """What kind of work it is."""
    model: str | None
    """Model it calls."""
    input: Any
    """What goes in, whole."""
    input_summary: str | None
    """The same in short; the first 200 characters of the input where absent."""


class DecisionFields(Common, total=False):
    """`decision.made`, but for what was considered and chosen."""

    decision: str | None
    """Its id, unique within the session; made where absent."""
    decision_type: str | None
    """What kind of decision it is."""
    rationale: Any
    """Why."""
    confidence: float | None
    """How sure the decider is, 0 to 1."""
    actor: str | None
    """Who or what decided."""


class FindingFields(Common, total=False):
    """`finding.raised`."""

    finding: str | None
    """Its id, unique within the session; made where absent."""
    category: str | None
    """What it belongs to."""
    pattern_type: str | None
    """The rule or pattern that it matches."""
    severity: Severity | None
    """How grave it is."""
    outcome: Outcome | None
    """What the check came to."""
    confidence: float | None
    """How sure the finder is, 0 to 1."""
    title: str | None
    """A line that names it."""
    description: Any
    """What was found, for those who know the field."""
    plain_english: Any
    """The same for everybody else."""
    suggestion: Any
    """What to do about it."""
    legal_source: str | None
    """The law or policy behind it."""
    evidence: Any
    """What shows it: any JSON."""
    scope: str | None
    """How far it reaches."""
    rule_version: str | None
    """Version of the rule."""


class Correction(TypedDict, total=False):
    """What was changed because of a finding."""

    original: str
    corrected: str
    strategy: str


class FindingUpdateFields(Common, total=False):
    """`finding.updated`, but for the finding."""

    status: FindingStatus | None
    """Where it stands now."""
    actor: str | None
    """Who said so."""
    reason: Any
    """Why."""
    correction: Correction | None
    """What was changed because of it."""


class ReviewFields(Common, total=False):
    """`review.recorded`, but for who, what and how."""

    review: str | None
    """Its id; made where absent."""
    reason: Any
    """Why."""


class ArtifactFields(Common, total=False):
    """`artifact.attached`, but for the digest."""

    label: str | None
    """What it is called, or where it is."""
    position: int | None
    """Its place among several."""
    media_type: str | None
    """Its media type, as in HTTP."""
    size: int | None
    """Its length in bytes."""


class MetricFields(Common, total=False):
    """`metric.recorded`, but for its name and value."""

    unit: str | None
    """Its unit."""
    labels: Mapping[str, str] | None
    """The producer's own labels."""


class NoteFields(Common, total=False):
    """`note.logged`, but for what it says."""

    level: str | None
    """How important it is: debug, info, warning, error …"""
    data: Any
    """What goes with it: any JSON."""


class Actor(TypedDict, total=False):
    """Who did something. `id` must be there."""

    id: str
    kind: str


class Changes(TypedDict, total=False):
    """What an action changed: any JSON."""

    before: Any
    after: Any


class RequestContext(TypedDict, total=False):
    """Where a request came from."""

    ip: str
    user_agent: str
    request_id: str


class ActionFields(Common, total=False):
    """`action.recorded`, but for who did what."""

    entity_type: str | None
    """To what kind of thing."""
    entity_id: str | None
    """To which."""
    outcome: ActionOutcome | None
    """What came of it."""
    reason: Any
    """Why."""
    changes: Changes | None
    """What it changed."""
    context: RequestContext | None
    """Where the request came from."""
    tenant: str | None
    """On whose behalf, where several share a log."""


class Option(TypedDict, total=False):
    """One of the options of a decision. `option` must be there; any other fields are kept with it."""

    option: str
    score: float


Options = Sequence["str | Option | Mapping[str, Any]"]
"""What could have been chosen."""
