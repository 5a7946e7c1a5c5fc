"""The encoding of an event, from a mapping to the line that is sent."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

from ._ids import rfc3339, uuid7
from .errors import InvalidEvent


def encode(event: Mapping[str, Any]) -> tuple[str, bytes]:
    """Returns the id of the event, and the event with that id as one line of JSON in UTF-8.

    An event without an id gets a new one. Only an event that the server could not read at all raises InvalidEvent; the
    server checks the values of the fields.
    """
    if not isinstance(event, Mapping):
        raise InvalidEvent(f"an event is a mapping with a `type`, not {type(event).__name__}")
    kind = event.get("type")
    if not isinstance(kind, str) or not kind:
        raise InvalidEvent("an event needs a `type`, which is a text")
    event_id = _id(event.get("id"))
    fields = {"type": kind, "id": event_id} | {
        name: value for name, value in event.items() if name not in ("type", "id")
    }
    try:
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_value)
        return event_id, text.encode("utf-8") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidEvent(f"{kind}: the event cannot be written as JSON: {error}") from error


def as_text(value: Any) -> str | None:
    """Returns the text that a text field records for a value: a `str` unchanged, and any other value as JSON.

    None stays None. A value that has no JSON form is written as `repr` writes it.
    """
    if value is None or isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=_json_value_or_repr)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _id(value: Any) -> str:
    if value is None:
        return str(uuid7())
    try:
        return str(value if isinstance(value, uuid.UUID) else uuid.UUID(value))
    except (ValueError, TypeError, AttributeError):
        raise InvalidEvent(f"`id`: {value!r} is not a UUID") from None


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (uuid.UUID, PurePath)):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _json_value_or_repr(value: Any) -> Any:
    try:
        return _json_value(value)
    except TypeError:
        return repr(value)
