"""The fields of events that the methods of a session and a step accept. docs/events.md describes each.

A text field accepts any value; one that is not a `str` is written as JSON. A time is a `datetime` or RFC 3339. A field
that is absent or None is not recorded. The server keeps a field that the event's type does not have in `attributes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict

StepKind = Literal["llm", "tool", "retrieval", "agent", "chain", "guardrail", "other", "embedding"]
SessionStatus = Literal["queued", "running", "paused"]
SessionEnd = Literal["completed", "failed", "cancelled", "disconnected"]
StepEnd = Literal["ok", "error", "cancelled"]
Severity = Literal["critical", "high", "medium", "low", "info"]
Outcome = Literal["pass", "fail", "warning", "skip", "error"]
FindingStatus = Literal["open", "confirmed", "dismissed", "applied", "rejected", "reverted"]
SubjectKind = Literal["session", "step", "decision", "finding", "action"]
Verdict = Literal["approved", "rejected", "overridden", "escalated", "modified"]
ActionOutcome = Literal["success", "denied", "failed"]
PolicyEffect = Literal["allow", "deny", "escalate"]
Basis = Literal["observed", "claimed"]


class Common(TypedDict, total=False):
    """The fields that every event may have."""

    at: str | datetime | None
    """The time of the event; by default now."""
    attributes: Mapping[str, Any] | None
    """Further values, by name."""


class SessionFields(Common, total=False):
    """`session.started`, except its id and its profile."""

    input: Any
    """The whole input."""
    input_hash: str | None
    """A hash that finds identical inputs; by default BLAKE3 of the input."""
    conversation: str | None
    """The id of the conversation, which several sessions with one user share."""
    parent_session: str | None
    """The session that started this one."""
    agent: str | None
    """Name of the agent."""
    agent_version: str | None
    """Version of the agent."""
    model: str | None
    """Name of the model that the session works with."""
    source: str | None
    """The source of the record."""
    tenant: str | None
    """The tenant of the session, if several share a log."""
    labels: Mapping[str, str] | None
    """Labels that the producer defines."""


class SessionUpdateFields(Common, total=False):
    """`session.updated`."""

    status: SessionStatus | None
    """The new status."""
    progress: float | None
    """The part of the work that is done, 0 to 1."""
    message: str | None
    """The work that is going on."""


class StepFields(Common, total=False):
    """`step.started`, except its id, its parent and its module."""

    kind: StepKind | None
    """The kind of work."""
    model: str | None
    """Name of the model that the step calls."""
    input: Any
    """The whole input."""
    input_summary: str | None
    """A summary of the input; by default its first 200 characters."""


class Actor(TypedDict, total=False):
    """The person or program that did something. `id` is required."""

    id: str
    kind: str


class Delegation(TypedDict, total=False):
    """A principal for whom somebody acted. `actor` is required."""

    actor: Actor
    authorization: str
    """The permission to act for it."""


class DecisionFields(Common, total=False):
    """`decision.made`, except the options and the choice."""

    decision: str | None
    """The id, unique within the session; by default a new one."""
    decision_type: str | None
    """The kind of decision."""
    rationale: Any
    """The reason."""
    confidence: float | None
    """The confidence in the decision, 0 to 1."""
    actor: str | None
    """The person or program that decided."""
    on_behalf_of: Sequence[Delegation] | None
    """For whom it was decided: the nearest principal first, then the one behind it, and so on."""
    basis: Basis | None
    """Whether the decision was observed, or is claimed by the agent."""


class FindingFields(Common, total=False):
    """`finding.raised`."""

    finding: str | None
    """The id, unique within the session; by default a new one."""
    category: str | None
    """The category of the finding."""
    pattern_type: str | None
    """The rule or pattern that the finding matches."""
    severity: Severity | None
    """The severity."""
    outcome: Outcome | None
    """The result of the check."""
    confidence: float | None
    """The confidence in the finding, 0 to 1."""
    title: str | None
    """The title, in one line."""
    description: Any
    """A description for experts."""
    plain_english: Any
    """A description for everybody else."""
    suggestion: Any
    """The suggested remedy."""
    legal_source: str | None
    """The law or policy that the finding rests on."""
    evidence: Any
    """The evidence: any JSON."""
    scope: str | None
    """The scope of the finding."""
    rule_version: str | None
    """The version of the rule."""


class Correction(TypedDict, total=False):
    """A change that was made because of a finding."""

    original: str
    corrected: str
    strategy: str


class FindingUpdateFields(Common, total=False):
    """`finding.updated`, except the finding's id."""

    status: FindingStatus | None
    """The new status."""
    actor: str | None
    """The person or program that changed the finding."""
    reason: Any
    """The reason."""
    correction: Correction | None
    """The change that was made because of the finding."""


class ReviewFields(Common, total=False):
    """`review.recorded`, except the actor, the verdict and the subject."""

    review: str | None
    """The id; by default a new one."""
    reason: Any
    """The reason."""
    role: str | None
    """The role in which the reviewer judged."""
    authority: str | None
    """The basis of the reviewer's right to judge: a rule, a mandate, a limit."""
    identified_by: str | None
    """How the reviewer was identified: sso, key …"""
    evidence_seen: Sequence[str] | None
    """Ids, digests or locations of what the reviewer saw."""
    approved_digest: str | None
    """BLAKE3 of the content that the reviewer approved."""
    expires_at: str | datetime | None
    """When the verdict stops being valid."""


class ArtifactFields(Common, total=False):
    """`artifact.attached`, except the digest."""

    label: str | None
    """The name or the location of the file."""
    position: int | None
    """The index of the file among several."""
    media_type: str | None
    """The media type, as in HTTP."""
    size: int | None
    """The length in bytes."""


class MetricFields(Common, total=False):
    """`metric.recorded`, except its name and value."""

    unit: str | None
    """The unit."""
    labels: Mapping[str, str] | None
    """Labels that the producer defines."""


class NoteFields(Common, total=False):
    """`note.logged`, except the message."""

    level: str | None
    """The level: debug, info, warning, error …"""
    data: Any
    """Data that belongs to the note: any JSON."""


class Changes(TypedDict, total=False):
    """The state before and after an action: any JSON."""

    before: Any
    after: Any


class RequestContext(TypedDict, total=False):
    """The origin of a request."""

    ip: str
    user_agent: str
    request_id: str


class ActionFields(Common, total=False):
    """`action.recorded`, except the actor and the action."""

    entity_type: str | None
    """The kind of entity that the action concerns."""
    entity_id: str | None
    """The id of that entity."""
    outcome: ActionOutcome | None
    """The outcome."""
    reason: Any
    """The reason."""
    changes: Changes | None
    """The changes that the action made."""
    context: RequestContext | None
    """The origin of the request."""
    tenant: str | None
    """The tenant on whose behalf the action was done, if several share a log."""
    on_behalf_of: Sequence[Delegation] | None
    """For whom it was done: the nearest principal first, then the one behind it, and so on."""
    basis: Basis | None
    """Whether the action was observed, or is claimed by the agent."""


class PolicyFields(Common, total=False):
    """`policy.decided`, except the policy, the effect and the step."""

    policy_version: str | None
    """The version of the policy."""
    rule: str | None
    """The rule that applied."""
    reason: Any
    """The reason."""
    subject_kind: SubjectKind | None
    """The kind of the judged object."""
    subject_id: str | None
    """The id of the judged object."""
    actor: str | None
    """The policy engine."""
    input: Any
    """The input that the engine judged: any JSON."""


class CoverageFields(Common, total=False):
    """`coverage.declared`, except the source, the instance and the counts."""

    records: Sequence[str] | None
    """What the program records."""
    omits: Sequence[str] | None
    """What the program is known not to record."""


class Option(TypedDict, total=False):
    """An option of a decision. `option` is required, and any other fields are kept with it."""

    option: str
    score: float


Options = Sequence["str | Option | Mapping[str, Any]"]
"""The options of a decision."""
