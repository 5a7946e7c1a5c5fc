"""Sessions and steps of an `AsyncClient`."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from . import _current
from ._capture import arguments, check_decorated
from ._records import Event, Records, SessionRecords, StepRecords
from .errors import AnnalsError
from .fields import (
    ActionFields,
    ArtifactFields,
    DecisionFields,
    FindingFields,
    FindingUpdateFields,
    MetricFields,
    NoteFields,
    Options,
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

logger = logging.getLogger("annals")


class AsyncScope(Records):
    """What can be recorded in a session and in a step of it.

    Everything here raises what `AsyncClient.emit` raises.
    """

    owner: AsyncClient

    def step(
        self,
        module: str | None = None,
        *,
        id: str | None = None,
        capture_input: bool = False,
        capture_output: bool = False,
        **fields: Unpack[StepFields],
    ) -> AsyncStep:
        """A step: of a session, part of the step that is open in it here; of a step, part of that.

        See `AsyncClient.step`.
        """
        return AsyncStep(self.owner, self, module, id, capture_input, capture_output, fields)

    async def decide(
        self,
        chosen: str | Sequence[str] | None = None,
        options: Options | None = None,
        **fields: Unpack[DecisionFields],
    ) -> str:
        """Records `decision.made`, and returns the decision's id.

        `chosen` is what was chosen; a list, best first, where it is more than one. `options` is what could have been:
        texts, or mappings with `option`, `score` (a number) and anything else.
        """
        made, event = self._decision(chosen, options, fields)
        await self.owner.emit(event)
        return made

    async def find(self, **fields: Unpack[FindingFields]) -> str:
        """Records `finding.raised`, and returns the finding's id."""
        made, event = self._finding(fields)
        await self.owner.emit(event)
        return made

    async def update_finding(self, finding: str, **fields: Unpack[FindingUpdateFields]) -> None:
        """Records `finding.updated`: what became of a finding of this session."""
        await self.owner.emit(self._finding_update(finding, fields))

    async def note(self, message: object, **fields: Unpack[NoteFields]) -> None:
        """Records `note.logged`: a line of a log."""
        await self.owner.emit(self._note(message, fields))

    async def artifact(
        self, content: bytes | None = None, *, digest: str | None = None, **fields: Unpack[ArtifactFields]
    ) -> str:
        """Records `artifact.attached`: a file that is kept elsewhere. Returns its digest.

        Give its content, of which only BLAKE3 and length are recorded (`pip install annals[blake3]`), or its digest: 64
        hexadecimal digits.
        """
        attached, event = self._artifact(content, digest, fields)
        await self.owner.emit(event)
        return attached

    async def metric(self, name: str, value: float, **fields: Unpack[MetricFields]) -> None:
        """Records `metric.recorded`: a measurement, of the session."""
        await self.owner.emit(self._metric(name, value, fields))

    async def action(self, actor: str | Mapping[str, str], action: str, **fields: Unpack[ActionFields]) -> None:
        """Records `action.recorded`. `actor` is an id, or `id` and `kind`."""
        await self.owner.emit(self._action(actor, action, fields))

    async def review(
        self,
        actor: str,
        verdict: Verdict,
        *,
        subject_kind: SubjectKind = "session",
        subject_id: str | None = None,
        **fields: Unpack[ReviewFields],
    ) -> str:
        """Records `review.recorded`, and returns the review's id: what a person thinks of something in the session.

        The session itself, unless `subject_kind` and `subject_id` name another subject.
        """
        made, event = self._review(actor, verdict, subject_kind, subject_id, fields)
        await self.owner.emit(event)
        return made

    async def _emit_end(self, event: Event, error: BaseException | None) -> None:
        try:
            await self.owner.emit(event)
        except AnnalsError as failure:
            # The exception that ends it is the caller's own, and goes on; this one must not stand in its place.
            if error is None:
                raise
            logger.error("%s of session %s is not recorded: %s", event["type"], self._session_id, failure)


class AsyncSession(AsyncScope, SessionRecords):
    """A session: `session.started` when it is entered, `session.ended` when it is left.

    An exception that leaves it makes it `failed`, a cancellation or Ctrl-C `cancelled`; both go on. See
    `AsyncClient.session`.
    """

    def __init__(self, client: AsyncClient, id: str | None, fields: Mapping[str, Any]) -> None:
        super().__init__(client, id, fields)
        self._token: Token[_current.Place | None] | None = None

    async def update(self, **fields: Unpack[SessionUpdateFields]) -> None:
        """Records `session.updated`: how far it is."""
        await self.owner.emit(self._update(fields))

    async def __aenter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("a session begins once")
        await self.owner.emit(self._begin())
        self._token = _current.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.leave(self._token)
        await self._emit_end(self._end(error), error)

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """Makes a session of every call of the function, which must be a coroutine function."""
        check_decorated(function, coroutine=True)
        fields = {**self._fields, "profile": self._fields.get("profile") or function.__qualname__}

        @functools.wraps(function)
        async def in_session(*args: P.args, **kwargs: P.kwargs) -> R:
            async with AsyncSession(self.owner, None, fields):
                return await function(*args, **kwargs)

        return in_session


class AsyncStep(AsyncScope, StepRecords):
    """A step: `step.started` when it is entered, `step.ended` when it is left.

    An exception that leaves it makes its status `error`, and goes on. See `AsyncClient.step`.
    """

    def __init__(
        self,
        client: AsyncClient,
        origin: Records | None,
        module: str | None,
        id: str | None,
        capture_input: bool,
        capture_output: bool,
        fields: Mapping[str, Any],
    ) -> None:
        super().__init__(client, origin, id, {**fields, "module": module})
        self._capture = (capture_input, capture_output)
        self._token: Token[_current.Place | None] | None = None

    async def __aenter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("a step begins once")
        await self.owner.emit(self._begin())
        self._token = _current.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.leave(self._token)
        await self._emit_end(self._end(error), error)

    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        """Makes a step of every call of the function, which must be a coroutine function."""
        check_decorated(function, coroutine=True)
        takes_input, takes_output = self._capture
        module = self._fields["module"] or function.__qualname__

        @functools.wraps(function)
        async def in_step(*args: P.args, **kwargs: P.kwargs) -> R:
            fields = dict(self._fields)
            if takes_input:
                fields["input"] = arguments(function, args, kwargs)
            async with AsyncStep(self.owner, self._origin, module, None, False, False, fields) as step:
                result = await function(*args, **kwargs)
                if takes_output and step.output is None:
                    step.output = result
                return result

        return in_step
