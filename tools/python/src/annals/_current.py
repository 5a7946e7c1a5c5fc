"""Which session and step the code that runs now belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._records import Records


@dataclass(frozen=True)
class Place:
    """A session or step that is open, within another or within none."""

    scope: Records
    outer: Place | None


_place: ContextVar[Place | None] = ContextVar("annals_place", default=None)


def enter(scope: Records) -> Token[Place | None]:
    """Makes the scope the present one."""
    return _place.set(Place(scope, _place.get()))


def leave(token: Token[Place | None]) -> None:
    """Makes the one before the present one."""
    try:
        _place.reset(token)
    except ValueError:
        # Begun in another context, such as a generator's that was finished elsewhere: there is nothing to go back to.
        return


def innermost(owner: object) -> Records | None:
    """The present scope of a client: several clients may be in use one within the other."""
    return next(_scopes(owner), None)


def step_within(owner: object, session_id: str) -> str | None:
    """The id of the present step of a session, if one is open."""
    from ._records import StepRecords

    scope = next((scope for scope in _scopes(owner) if scope._session_id == session_id), None)
    return scope.id if isinstance(scope, StepRecords) else None


def _scopes(owner: object) -> Iterator[Records]:
    place = _place.get()
    while place is not None:
        if place.scope.owner is owner:
            yield place.scope
        place = place.outer
