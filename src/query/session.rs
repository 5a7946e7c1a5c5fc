//! One session with everything that belongs to it.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use serde::Serialize;

use super::column::Record;
use super::records::{
    Action, Artifact, Decision, Finding, FindingUpdate, Metric, Note, Review, Session, Step,
};

/// A session with everything that belongs to it, each list in the order of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct SessionRecord {
    /// The session.
    pub session: Session,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Its decisions.
    pub decisions: Vec<Decision>,
    /// Its findings.
    pub findings: Vec<Finding>,
    /// What became of the findings.
    pub finding_updates: Vec<FindingUpdate>,
    /// What people said about it and its parts.
    pub reviews: Vec<Review>,
    /// Files that belong to it.
    pub artifacts: Vec<Artifact>,
    /// Measurements.
    pub metrics: Vec<Metric>,
    /// Notes.
    pub notes: Vec<Note>,
    /// Actions.
    pub actions: Vec<Action>,
}

/// A step and how deep it stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutlinedStep<'a> {
    /// 0 for a step that is part of no other.
    pub depth: usize,
    /// The step.
    pub step: &'a Step,
}

impl SessionRecord {
    /// The steps as a tree: each is followed by its parts, in the order in which they began. Where that
    /// is not known of all of them, they are in the order of the log. A step whose parent never came
    /// stands at the top, and so does one of steps that name each other as parents.
    pub fn outline(&self) -> Vec<OutlinedStep<'_>> {
        let known: HashSet<&str> = self.steps.iter().map(|step| step.id.as_str()).collect();
        let mut children: HashMap<&str, Vec<&Step>> = HashMap::new();
        let mut tops = Vec::new();
        for step in &self.steps {
            match step.parent_step_id.as_deref() {
                Some(parent) if known.contains(parent) && parent != step.id => {
                    children.entry(parent).or_default().push(step);
                }
                _ => tops.push(step),
            }
        }
        in_order(&mut tops);
        children.values_mut().for_each(|parts| in_order(parts));
        let mut outline = Vec::with_capacity(self.steps.len());
        let mut seen = HashSet::new();
        // What no top leads to stands in a circle: it is entered at its first step.
        for top in tops.into_iter().chain(&self.steps) {
            let mut waiting = vec![OutlinedStep { depth: 0, step: top }];
            while let Some(next) = waiting.pop() {
                if !seen.insert(next.step.id.as_str()) {
                    continue;
                }
                outline.push(next);
                if let Some(parts) = children.get(next.step.id.as_str()) {
                    waiting
                        .extend(parts.iter().rev().map(|step| OutlinedStep { depth: next.depth + 1, step }));
                }
            }
        }
        outline
    }
}

/// Puts steps beside each other, given in the order of the log, in the order in which they began. Spans
/// are recorded in the order of their ends, and exporters group them, so the log does not say it.
fn in_order(steps: &mut [&Step]) {
    if steps.iter().all(|step| step.started_at.is_some()) {
        steps.sort_by_key(|step| (step.started_at, step.first_seq));
    }
}

/// Reads a session, if there is one with this id.
pub(crate) fn load(connection: &Connection, id: &str) -> rusqlite::Result<Option<SessionRecord>> {
    let Some(session) = all(connection, "id = ?1", id)?.pop() else { return Ok(None) };
    Ok(Some(SessionRecord {
        session,
        steps: all(connection, "session_id = ?1 ORDER BY first_seq", id)?,
        decisions: all(connection, "session_id = ?1 ORDER BY first_seq", id)?,
        findings: all(connection, "session_id = ?1 ORDER BY first_seq", id)?,
        finding_updates: all(connection, "session_id = ?1 ORDER BY seq", id)?,
        reviews: all(
            connection,
            "session_id = ?1 OR (session_id IS NULL AND subject_kind = 'session' AND subject_id = ?1) ORDER BY seq",
            id,
        )?,
        artifacts: all(connection, "session_id = ?1 ORDER BY seq", id)?,
        metrics: all(connection, "session_id = ?1 ORDER BY seq", id)?,
        notes: all(connection, "session_id = ?1 ORDER BY seq", id)?,
        actions: all(connection, "session_id = ?1 ORDER BY seq", id)?,
    }))
}

fn all<R: Record>(connection: &Connection, condition: &str, id: &str) -> rusqlite::Result<Vec<R>> {
    connection
        .prepare_cached(&format!("{} WHERE {condition}", R::select()))?
        .query_map([id], R::read)?
        .collect()
}
