from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from annals import InvalidEvent
from annals._encode import as_text, encode


def test_an_event_is_one_line_with_its_id() -> None:
    event_id, line = encode({"type": "note.logged", "message": "one\ntwo\u2028three\r"})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line) == {"type": "note.logged", "id": event_id, "message": "one\ntwo\u2028three\r"}


def test_an_id_is_kept_in_its_usual_spelling() -> None:
    given = uuid.UUID("0198c5d2-0000-7000-8000-00000000000a")
    assert encode({"type": "custom", "id": given})[0] == str(given)
    assert encode({"type": "custom", "id": given.hex.upper()})[0] == str(given)


def test_values_that_have_an_obvious_json_are_written_as_it() -> None:
    moment = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
    _, line = encode({"type": "custom", "at": moment, "data": {"path": Path("/x"), "on": moment.date()}})
    assert json.loads(line)["at"] == "2026-11-20T12:00:00.000000Z"
    assert json.loads(line)["data"] == {"path": "/x", "on": "2026-11-20"}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": 7},
        {"type": "custom", "id": "no uuid"},
        {"type": "custom", "id": 7},
        {"type": "metric.recorded", "value": float("nan")},
        {"type": "note.logged", "message": "\ud800"},
        {"type": "custom", "data": object()},
        {"type": "custom", "data": nested(100_000)},
    ],
)
def test_what_is_no_event_is_refused_at_once(event: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidEvent):
        encode(event)


def test_texts_stay_as_they_are_and_all_else_becomes_json() -> None:
    assert as_text("déjà\nvu") == "déjà\nvu"
    assert as_text(None) is None
    assert as_text({"é": [1, 2.5, None]}) == '{"é": [1, 2.5, null]}'
    assert as_text({"x": {1}}) == '{"x": "{1}"}'
    assert as_text({("a", 1): 2}) == "{('a', 1): 2}"


@pytest.mark.parametrize("event", ["x", 7, None, [("type", "note.logged")]])
def test_what_is_no_mapping_is_refused_by_its_type(event: Any) -> None:
    with pytest.raises(InvalidEvent, match=f"not {type(event).__name__}"):
        encode(event)
