"""The session and the step to which the running code belongs."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._records import Records


@dataclass(frozen=True)
class Frame:
    """An open session or step, and the frame around it."""

    scope: Records
    outer: Frame | None


_current: ContextVar[Frame | None] = ContextVar("annals_current", default=None)


def enter(scope: Records) -> Token[Frame | None]:
    """Makes the scope the current one."""
    return _current.set(Frame(scope, _current.get()))


def leave(token: Token[Frame | None]) -> None:
    """Makes the scope current that was current before `enter`."""
    try:
        _current.reset(token)
    except ValueError:
        # The scope was entered in another context: for example, a generator began in one task and ended in another.
        # That context is gone, so there is nothing to restore.
        return


def innermost(client: object) -> Records | None:
    """Returns the current scope of a client. Scopes of other clients may be open inside it."""
    return next(_scopes(client), None)


def step_within(client: object, session_id: str) -> str | None:
    """Returns the id of the current step of a session; None if no step of it is open."""
    from ._records import StepRecords

    scope = next((scope for scope in _scopes(client) if scope._session_id == session_id), None)
    return scope.id if isinstance(scope, StepRecords) else None


def _scopes(client: object) -> Iterator[Records]:
    """Iterates over the open scopes of a client, from the innermost."""
    frame = _current.get()
    while frame is not None:
        if frame.scope.client is client:
            yield frame.scope
        frame = frame.outer
