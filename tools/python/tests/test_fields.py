"""The fields that helpers accept are those of docs/events.md, all of them and no others."""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints

import pytest

from annals import AsyncSession, Session, Step, fields
from annals._records import SessionRecords, StepRecords

from .support import REPOSITORY

TEXT = (REPOSITORY / "docs" / "events.md").read_text("utf-8")


def documented(kind: str) -> set[str]:
    """The fields of a type, by the first column of its table."""
    section = TEXT.split(f"### `{kind}`\n")[1].split("\n### ")[0].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE))


def words(kind: str, field: str) -> set[str]:
    section = TEXT.split(f"### `{kind}`\n")[1].split("\n### ")[0]
    found = re.search(rf"^\| `{field}`[^|]*\| one of ([^|]*) \|", section, re.MULTILINE)
    assert found is not None
    return {word.strip() for word in found[1].split(",")}


def accepted(*holders: Any) -> set[str]:
    names: set[str] = set()
    for holder in holders:
        names |= set(get_type_hints(holder))
    return names - {"at", "attributes"}


@pytest.mark.parametrize(
    ("kind", "holder", "given"),
    [
        ("session.started", fields.SessionFields, {"profile"}),
        ("session.updated", fields.SessionUpdateFields, set()),
        ("step.started", fields.StepFields, {"step", "parent_step", "module"}),
        (
            "decision.made",
            fields.DecisionFields,
            {"step", "options_considered", "chosen_option", "chosen_options"},
        ),
        ("finding.raised", fields.FindingFields, {"step"}),
        ("finding.updated", fields.FindingUpdateFields, {"finding"}),
        ("review.recorded", fields.ReviewFields, {"actor", "verdict", "subject_kind", "subject_id"}),
        ("artifact.attached", fields.ArtifactFields, {"artifact", "step"}),
        ("metric.recorded", fields.MetricFields, {"name", "value"}),
        ("note.logged", fields.NoteFields, {"message", "step"}),
        ("action.recorded", fields.ActionFields, {"actor", "action"}),
        ("policy.decided", fields.PolicyFields, {"policy", "effect", "step"}),
        ("coverage.declared", fields.CoverageFields, {"source", "instance", "announced"}),
    ],
)
def test_helpers_accept_the_fields_of_the_documentation(kind: str, holder: Any, given: set[str]) -> None:
    assert accepted(holder) | given == documented(kind)


@pytest.mark.parametrize(
    ("kind", "holder", "given"),
    [("session.ended", SessionRecords, set()), ("step.ended", StepRecords, {"step"})],
)
def test_attributes_of_a_session_and_a_step_are_the_fields_of_their_ends(
    kind: str, holder: Any, given: set[str]
) -> None:
    assert accepted(holder) - {"client"} | given == documented(kind)


@pytest.mark.parametrize(
    ("kind", "field", "literal"),
    [
        ("session.updated", "status", fields.SessionStatus),
        ("session.ended", "status", fields.SessionEnd),
        ("session.ended", "risk_level", fields.Severity),
        ("step.started", "kind", fields.StepKind),
        ("step.ended", "status", fields.StepEnd),
        ("finding.raised", "severity", fields.Severity),
        ("finding.raised", "outcome", fields.Outcome),
        ("finding.updated", "status", fields.FindingStatus),
        ("review.recorded", "subject_kind", fields.SubjectKind),
        ("review.recorded", "verdict", fields.Verdict),
        ("action.recorded", "outcome", fields.ActionOutcome),
        ("policy.decided", "effect", fields.PolicyEffect),
        ("decision.made", "basis", fields.Basis),
    ],
)
def test_words_are_those_of_the_documentation(kind: str, field: str, literal: Any) -> None:
    assert set(get_args(literal)) == words(kind, field)


def public(holder: type) -> set[str]:
    return {name for name in dir(holder) if not name.startswith("_")}


def test_both_surfaces_have_the_same_names() -> None:
    import annals

    assert public(annals.Client) == public(annals.AsyncClient)
    assert public(Session) == public(AsyncSession)
    assert public(Step) == public(annals.AsyncStep)


def test_everything_public_says_what_it_is() -> None:
    import annals

    for name in annals.__all__:
        holder = getattr(annals, name)
        assert holder.__doc__, name
        for member in public(holder):
            value = getattr(holder, member)
            if callable(value) or isinstance(value, property):
                assert value.__doc__, f"{name}.{member}"
