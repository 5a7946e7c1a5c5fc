//! The fold of the projection `activity`: one row for each event, which no later event changes.

use crate::event::{Event, PolicyDecided, Recorded, SubjectKind};
use crate::otel::Meaning;

use crate::projection::fold::cell::{attributes_text, json_column, json_text};
use crate::projection::fold::input::Input;
use crate::projection::fold::rows::{
    ActionRow, ArtifactRow, CoverageDeclarationRow, CustomRow, MetricRow, NoteRow, PolicyDecisionRow,
    ReviewRow,
};
use crate::projection::fold::working_set::WorkingSet;

/// Folds one event by its meanings. Except for artifacts, at most one of them becomes a row here, because the key of the
/// row is the event's sequence number.
pub(in crate::projection) fn fold(rows: &mut WorkingSet, input: &Input<'_>) {
    input.meanings.iter().for_each(|meaning| fold_meaning(rows, input.event, meaning));
}

fn fold_meaning(rows: &mut WorkingSet, event: &Recorded, meaning: &Meaning<'_>) {
    let seq = event.seq.to_sql();
    let session_id = event.session.as_ref().map(ToString::to_string);
    let at = meaning.at;
    let recorded_at = event.recorded_at;
    match &*meaning.event {
        Event::ReviewRecorded(e) => rows.single.reviews.push(ReviewRow {
            seq,
            id: e.review.to_string(),
            actor: e.actor.clone(),
            subject_kind: e.subject_kind.as_str().to_owned(),
            // A review that names no subject is about its session.
            subject_id: e.subject_id.clone().or_else(|| session_id.clone()),
            session_id,
            verdict: e.verdict.as_str().to_owned(),
            reason: e.reason.clone(),
            role: e.role.clone(),
            authority: e.authority.clone(),
            identified_by: e.identified_by.clone(),
            evidence_seen: list(&e.evidence_seen),
            approved_digest: e.approved_digest.map(|digest| digest.to_string()),
            expires_at: e.expires_at,
            reviewed_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        Event::ArtifactAttached(e) => rows.single.artifacts.push(ArtifactRow {
            seq,
            item: rows
                .single
                .artifacts
                .iter()
                .rev()
                .take_while(|row| row.seq == seq)
                .count()
                .try_into()
                .unwrap_or(i64::MAX),
            id: e.artifact.to_string(),
            session_id,
            step_id: e.step.as_ref().map(ToString::to_string),
            label: e.label.clone(),
            position: e.position.and_then(|position| i64::try_from(position).ok()),
            media_type: e.media_type.clone(),
            size: e.size.and_then(|size| i64::try_from(size).ok()),
            attached_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        Event::MetricRecorded(e) => rows.single.metrics.push(MetricRow {
            seq,
            session_id,
            name: e.name.clone(),
            value: e.value,
            unit: e.unit.clone(),
            labels: if e.labels.is_empty() { None } else { json_text(&e.labels) },
            measured_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        Event::NoteLogged(e) => rows.single.notes.push(NoteRow {
            seq,
            session_id,
            step_id: e.step.as_ref().map(ToString::to_string),
            level: e.level.clone(),
            message: e.message.clone(),
            data: json_column(e.data.as_ref()),
            logged_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        Event::ActionRecorded(e) => {
            let changes = e.changes.clone().unwrap_or_default();
            let context = e.context.clone().unwrap_or_default();
            rows.single.actions.push(ActionRow {
                seq,
                session_id,
                actor_id: e.actor.id.clone(),
                actor_kind: e.actor.kind.clone(),
                action: e.action.clone(),
                entity_type: e.entity_type.clone(),
                entity_id: e.entity_id.clone(),
                outcome: e.outcome.map(|outcome| outcome.as_str().to_owned()),
                reason: e.reason.clone(),
                before: json_column(changes.before.as_ref()),
                after: json_column(changes.after.as_ref()),
                ip: context.ip,
                user_agent: context.user_agent,
                request_id: context.request_id,
                tenant: e.tenant.clone(),
                on_behalf_of: list(&e.on_behalf_of),
                basis: e.basis.map(|basis| basis.as_str().to_owned()),
                acted_at: at,
                attributes: attributes_text(&e.attributes),
                recorded_at,
            });
        }
        Event::PolicyDecided(e) => rows.single.policy_decisions.push(PolicyDecisionRow {
            seq,
            step_id: e.step.as_ref().map(ToString::to_string),
            subject_kind: e.subject_kind.map(|kind| kind.as_str().to_owned()),
            subject_id: policy_subject(e, session_id.as_deref()),
            session_id,
            policy: e.policy.clone(),
            policy_version: e.policy_version.clone(),
            rule: e.rule.clone(),
            effect: e.effect.as_str().to_owned(),
            reason: e.reason.clone(),
            actor: e.actor.clone(),
            input: json_column(e.input.as_ref()),
            decided_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        Event::CoverageDeclared(e) => rows.single.coverage_declarations.push(CoverageDeclarationRow {
            seq,
            // The kind needs a session, so there is none only in a log that somebody changed.
            session_id: session_id.unwrap_or_default(),
            source: e.source.clone(),
            instance: e.instance.clone(),
            records: list(&e.records),
            omits: list(&e.omits),
            announced: if e.announced.is_empty() { None } else { json_text(&e.announced) },
            declared_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        Event::Custom(e) => rows.single.custom_events.push(CustomRow {
            seq,
            session_id,
            name: e.name.clone(),
            data: json_column(e.data.as_ref()),
            occurred_at: at,
            attributes: attributes_text(&e.attributes),
            recorded_at,
        }),
        _ => {}
    }
}

/// A list as JSON; none if it is empty.
fn list<T: serde::Serialize>(items: &[T]) -> Option<String> {
    if items.is_empty() { None } else { json_text(&items) }
}

/// The subject of a policy decision. One about a session that names none is about its own.
fn policy_subject(e: &PolicyDecided, session: Option<&str>) -> Option<String> {
    let own = session.filter(|_| e.subject_kind == Some(SubjectKind::Session));
    e.subject_id.clone().or_else(|| own.map(str::to_owned))
}
