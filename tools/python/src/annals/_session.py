"""Sessions and steps of a `Client`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from ._capture import check_decorated
from ._closing import suppressed_by
from ._records import Records, SessionRecords, StepRecords
from .fields import (
    ActionFields,
    ArtifactFields,
    CoverageFields,
    DecisionFields,
    FindingFields,
    FindingUpdateFields,
    MetricFields,
    NoteFields,
    Options,
    PolicyEffect,
    PolicyFields,
    ReviewFields,
    SessionUpdateFields,
    StepFields,
    SubjectKind,
    Verdict,
)

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._client import Client

P = ParamSpec("P")
R = TypeVar("R")


class Scope(Records):
    """The part that a session and a step have in common.

    Every method here raises the same exceptions as `Client.emit`.
    """

    client: Client

    def step(
        self,
        module: str | None = None,
        *,
        id: str | None = None,
        capture_input: bool = False,
        capture_output: bool = False,
        **fields: Unpack[StepFields],
    ) -> Step:
        """Makes a step. In a session it is part of the step that is open there; in a step it is part of that one.

        See `Client.step`.
        """
        return Step(self.client, self, module, id, capture_input, capture_output, fields)

    def decide(
        self,
        chosen: str | Sequence[str] | None = None,
        options: Options | None = None,
        **fields: Unpack[DecisionFields],
    ) -> str:
        """Records `decision.made`, and returns the decision's id.

        `chosen` is the chosen option, or a list of several, best first. `options` lists the possible options: texts, or
        mappings with `option`, `score` (a number) and any other fields.
        """
        decision_id, event = self._decision(chosen, options, fields)
        self.client.emit(event)
        return decision_id

    def find(self, **fields: Unpack[FindingFields]) -> str:
        """Records `finding.raised`, and returns the finding's id."""
        finding_id, event = self._finding(fields)
        self.client.emit(event)
        return finding_id

    def update_finding(self, finding: str, **fields: Unpack[FindingUpdateFields]) -> None:
        """Records `finding.updated`: a change of a finding of this session."""
        self.client.emit(self._finding_update(finding, fields))

    def note(self, message: object, **fields: Unpack[NoteFields]) -> None:
        """Records `note.logged`: a line of a log."""
        self.client.emit(self._note(message, fields))

    def artifact(
        self, content: bytes | None = None, *, digest: str | None = None, **fields: Unpack[ArtifactFields]
    ) -> str:
        """Records `artifact.attached`: a file that is kept elsewhere. Returns its digest.

        Give the content, of which only the BLAKE3 digest and the length are recorded (`pip install annals[blake3]`), or
        give the digest: 64 hexadecimal digits.
        """
        recorded_digest, event = self._artifact(content, digest, fields)
        self.client.emit(event)
        return recorded_digest

    def metric(self, name: str, value: float, **fields: Unpack[MetricFields]) -> None:
        """Records `metric.recorded`: a measurement of the session."""
        self.client.emit(self._metric(name, value, fields))

    def action(self, actor: str | Mapping[str, str], action: str, **fields: Unpack[ActionFields]) -> None:
        """Records `action.recorded`. `actor` is an id, or a mapping with `id` and `kind`."""
        self.client.emit(self._action(actor, action, fields))

    def policy(self, policy: str, effect: PolicyEffect, **fields: Unpack[PolicyFields]) -> None:
        """Records `policy.decided`: a policy engine allowed something, denied it, or escalated it."""
        self.client.emit(self._policy(policy, effect, fields))

    def review(
        self,
        actor: str,
        verdict: Verdict,
        *,
        subject_kind: SubjectKind = "session",
        subject_id: str | None = None,
        **fields: Unpack[ReviewFields],
    ) -> str:
        """Records `review.recorded`: a person's verdict on something in the session. Returns the review's id.

        The subject is the session itself, unless `subject_kind` and `subject_id` name another.
        """
        review_id, event = self._review(actor, verdict, subject_kind, subject_id, fields)
        self.client.emit(event)
        return review_id

    def __enter__(self) -> Self:
        self.client.emit(self._begin())
        self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event = self._leave(error)
        with suppressed_by(error, f"{event['type']} of session {self._session_id} is not recorded"):
            self.client.emit(event)


class Session(Scope, SessionRecords):
    """A session. Records `session.started` on entry and `session.ended` on exit.

    After an exception its status is `failed`; after a cancellation or Ctrl-C it is `cancelled`. Both propagate. See
    `Client.session`.
    """

    def coverage(self, source: str, **fields: Unpack[CoverageFields]) -> None:
        """Records `coverage.declared`: what this program, `source`, records of the session.

        The declaration announces, by type, the events of the session that this client was given since the session
        began. If some of them do not get into the log, `annals verify` reports a gap. Declare once at the end of the
        session, or several times: each declaration announces all events again.
        """
        self.client.emit(self._coverage(source, fields))

    def update(self, **fields: Unpack[SessionUpdateFields]) -> None:
        """Records `session.updated`: the progress of the session."""
        self.client.emit(self._update(fields))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Makes a session of every call of the function, which may be a coroutine function."""
        check_decorated(function)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_session(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._of_call(function):
                    return await function(*args, **kwargs)

            return cast(Callable[P, R], in_session)

        @functools.wraps(function)
        def call_in_session(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._of_call(function):
                return function(*args, **kwargs)

        return call_in_session


class Step(Scope, StepRecords):
    """A step. Records `step.started` on entry and `step.ended` on exit.

    After an exception its status is `error`, and the exception propagates. See `Client.step`.
    """

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Makes a step of every call of the function, which may be a coroutine function."""
        check_decorated(function)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_step(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._of_call(function, args, kwargs) as step:
                    return step._with_output(await function(*args, **kwargs))

            return cast(Callable[P, R], in_step)

        @functools.wraps(function)
        def call_in_step(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._of_call(function, args, kwargs) as step:
                return step._with_output(function(*args, **kwargs))

        return call_in_step
