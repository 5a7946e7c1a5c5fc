"""Sessions and steps of an `AsyncClient`."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

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

    from ._async_client import AsyncClient

P = ParamSpec("P")
R = TypeVar("R")


class AsyncScope(Records):
    """The part that a session and a step have in common.

    Every method here raises the same exceptions as `AsyncClient.emit`.
    """

    client: AsyncClient

    def step(
        self,
        module: str | None = None,
        *,
        id: str | None = None,
        capture_input: bool = False,
        capture_output: bool = False,
        **fields: Unpack[StepFields],
    ) -> AsyncStep:
        """Makes a step. In a session it is part of the step that is open there; in a step it is part of that one.

        See `AsyncClient.step`.
        """
        return AsyncStep(self.client, self, module, id, capture_input, capture_output, fields)

    async def decide(
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
        await self.client.emit(event)
        return decision_id

    async def find(self, **fields: Unpack[FindingFields]) -> str:
        """Records `finding.raised`, and returns the finding's id."""
        finding_id, event = self._finding(fields)
        await self.client.emit(event)
        return finding_id

    async def update_finding(self, finding: str, **fields: Unpack[FindingUpdateFields]) -> None:
        """Records `finding.updated`: a change of a finding of this session."""
        await self.client.emit(self._finding_update(finding, fields))

    async def note(self, message: object, **fields: Unpack[NoteFields]) -> None:
        """Records `note.logged`: a line of a log."""
        await self.client.emit(self._note(message, fields))

    async def artifact(
        self, content: bytes | None = None, *, digest: str | None = None, **fields: Unpack[ArtifactFields]
    ) -> str:
        """Records `artifact.attached`: a file that is kept elsewhere. Returns its digest.

        Give the content, of which only the BLAKE3 digest and the length are recorded (`pip install annals[blake3]`), or
        give the digest: 64 hexadecimal digits.
        """
        recorded_digest, event = self._artifact(content, digest, fields)
        await self.client.emit(event)
        return recorded_digest

    async def metric(self, name: str, value: float, **fields: Unpack[MetricFields]) -> None:
        """Records `metric.recorded`: a measurement of the session."""
        await self.client.emit(self._metric(name, value, fields))

    async def action(self, actor: str | Mapping[str, str], action: str, **fields: Unpack[ActionFields]) -> None:
        """Records `action.recorded`. `actor` is an id, or a mapping with `id` and `kind`."""
        await self.client.emit(self._action(actor, action, fields))

    async def policy(self, policy: str, effect: PolicyEffect, **fields: Unpack[PolicyFields]) -> None:
        """Records `policy.decided`: a policy engine allowed something, denied it, or escalated it."""
        await self.client.emit(self._policy(policy, effect, fields))

    async def review(
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
        await self.client.emit(event)
        return review_id

    async def __aenter__(self) -> Self:
        await self.client.emit(self._begin())
        self._enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event = self._leave(error)
        with suppressed_by(error, f"{event['type']} of session {self._session_id} is not recorded"):
            await self.client.emit(event)


class AsyncSession(AsyncScope, SessionRecords):
    """A session. Records `session.started` on entry and `session.ended` on exit.

    After an exception its status is `failed`; after a cancellation or Ctrl-C it is `cancelled`. Both propagate. See
    `AsyncClient.session`.
    """

    async def coverage(self, source: str, **fields: Unpack[CoverageFields]) -> None:
        """Records `coverage.declared`: what this program, `source`, records of the session.

        The declaration announces, by type, the events of the session that this client was given since the session
        began. If some of them do not get into the log, `annals verify` reports a gap. Declare once at the end of the
        session, or several times: each declaration announces all events again.
        """
        await self.client.emit(self._coverage(source, fields))

    async def update(self, **fields: Unpack[SessionUpdateFields]) -> None:
        """Records `session.updated`: the progress of the session."""
        await self.client.emit(self._update(fields))

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """Makes a session of every call of the function, which must be a coroutine function."""
        check_decorated(function, coroutine=True)

        @functools.wraps(function)
        async def in_session(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self._of_call(function):
                return await function(*args, **kwargs)

        return in_session


class AsyncStep(AsyncScope, StepRecords):
    """A step. Records `step.started` on entry and `step.ended` on exit.

    After an exception its status is `error`, and the exception propagates. See `AsyncClient.step`.
    """

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """Makes a step of every call of the function, which must be a coroutine function."""
        check_decorated(function, coroutine=True)

        @functools.wraps(function)
        async def in_step(*args: P.args, **kwargs: P.kwargs) -> R:
            async with self._of_call(function, args, kwargs) as step:
                return step._with_output(await function(*args, **kwargs))

        return in_step
