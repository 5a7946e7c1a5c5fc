"""Sessions and steps of a `Client`."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

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

    from ._client import Client

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("annals")


class Scope(Records):
    """What can be recorded in a session and in a step of it.

    Everything here raises what `Client.emit` raises.
    """

    owner: Client

    def step(
        self,
        module: str | None = None,
        *,
        id: str | None = None,
        capture_input: bool = False,
        capture_output: bool = False,
        **fields: Unpack[StepFields],
    ) -> Step:
        """A step: of a session, part of the step that is open in it here; of a step, part of that.

        See `Client.step`.
        """
        return Step(self.owner, self, module, id, capture_input, capture_output, fields)

    def decide(
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
        self.owner.emit(event)
        return made

    def find(self, **fields: Unpack[FindingFields]) -> str:
        """Records `finding.raised`, and returns the finding's id."""
        made, event = self._finding(fields)
        self.owner.emit(event)
        return made

    def update_finding(self, finding: str, **fields: Unpack[FindingUpdateFields]) -> None:
        """Records `finding.updated`: what became of a finding of this session."""
        self.owner.emit(self._finding_update(finding, fields))

    def note(self, message: object, **fields: Unpack[NoteFields]) -> None:
        """Records `note.logged`: a line of a log."""
        self.owner.emit(self._note(message, fields))

    def artifact(
        self, content: bytes | None = None, *, digest: str | None = None, **fields: Unpack[ArtifactFields]
    ) -> str:
        """Records `artifact.attached`: a file that is kept elsewhere. Returns its digest.

        Give its content, of which only BLAKE3 and length are recorded (`pip install annals[blake3]`), or its digest: 64
        hexadecimal digits.
        """
        attached, event = self._artifact(content, digest, fields)
        self.owner.emit(event)
        return attached

    def metric(self, name: str, value: float, **fields: Unpack[MetricFields]) -> None:
        """Records `metric.recorded`: a measurement, of the session."""
        self.owner.emit(self._metric(name, value, fields))

    def action(self, actor: str | Mapping[str, str], action: str, **fields: Unpack[ActionFields]) -> None:
        """Records `action.recorded`. `actor` is an id, or `id` and `kind`."""
        self.owner.emit(self._action(actor, action, fields))

    def review(
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
        self.owner.emit(event)
        return made

    def _emit_end(self, event: Event, error: BaseException | None) -> None:
        try:
            self.owner.emit(event)
        except AnnalsError as failure:
            # The exception that ends it is the caller's own, and goes on; this one must not stand in its place.
            if error is None:
                raise
            logger.error("%s of session %s is not recorded: %s", event["type"], self._session_id, failure)


class Session(Scope, SessionRecords):
    """A session: `session.started` when it is entered, `session.ended` when it is left.

    An exception that leaves it makes it `failed`, a cancellation or Ctrl-C `cancelled`; both go on. See
    `Client.session`.
    """

    def __init__(self, client: Client, id: str | None, fields: Mapping[str, Any]) -> None:
        super().__init__(client, id, fields)
        self._token: Token[_current.Place | None] | None = None

    def update(self, **fields: Unpack[SessionUpdateFields]) -> None:
        """Records `session.updated`: how far it is."""
        self.owner.emit(self._update(fields))

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("a session begins once")
        self.owner.emit(self._begin())
        self._token = _current.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.leave(self._token)
        self._emit_end(self._end(error), error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Makes a session of every call of the function, which may be a coroutine function."""
        check_decorated(function)
        fields = {**self._fields, "profile": self._fields.get("profile") or function.__qualname__}

        def fresh() -> Session:
            return Session(self.owner, None, fields)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_session(*args: P.args, **kwargs: P.kwargs) -> Any:
                with fresh():
                    return await function(*args, **kwargs)

            return cast(Callable[P, R], in_session)

        @functools.wraps(function)
        def call_in_session(*args: P.args, **kwargs: P.kwargs) -> R:
            with fresh():
                return function(*args, **kwargs)

        return call_in_session


class Step(Scope, StepRecords):
    """A step: `step.started` when it is entered, `step.ended` when it is left.

    An exception that leaves it makes its status `error`, and goes on. See `Client.step`.
    """

    def __init__(
        self,
        client: Client,
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

    def __enter__(self) -> Self:
        if self._token is not None:
            raise RuntimeError("a step begins once")
        self.owner.emit(self._begin())
        self._token = _current.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _current.leave(self._token)
        self._emit_end(self._end(error), error)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Makes a step of every call of the function, which may be a coroutine function."""
        check_decorated(function)
        takes_input, takes_output = self._capture
        module = self._fields["module"] or function.__qualname__

        def fresh(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Step:
            fields = dict(self._fields)
            if takes_input:
                fields["input"] = arguments(function, args, kwargs)
            return Step(self.owner, self._origin, module, None, False, False, fields)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_step(*args: P.args, **kwargs: P.kwargs) -> Any:
                with fresh(args, kwargs) as step:
                    result = await function(*args, **kwargs)
                    if takes_output and step.output is None:
                        step.output = result
                    return result

            return cast(Callable[P, R], in_step)

        @functools.wraps(function)
        def call_in_step(*args: P.args, **kwargs: P.kwargs) -> R:
            with fresh(args, kwargs) as step:
                result = function(*args, **kwargs)
                if takes_output and step.output is None:
                    step.output = result
                return result

        return call_in_step
