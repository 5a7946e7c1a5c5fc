//! One session with everything that belongs to it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::limits::LISTED_MAX;
use crate::storage::{StorageError, from_sqlite};

use super::column::Record;
use super::coverage::{self, CoverageGap};
use super::error::remedy;
use super::records::{
    Action, Artifact, CoverageDeclaration, Decision, Finding, FindingUpdate, Metric, Note, PolicyDecision,
    Review, Session, Step,
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
    /// The updates of its findings.
    pub finding_updates: Vec<FindingUpdate>,
    /// Reviews of the session and of its parts.
    pub reviews: Vec<Review>,
    /// Files that belong to it.
    pub artifacts: Vec<Artifact>,
    /// Its measurements.
    pub metrics: Vec<Metric>,
    /// Its notes.
    pub notes: Vec<Note>,
    /// Its actions.
    pub actions: Vec<Action>,
    /// Decisions of policy engines about it and its parts.
    pub policy_decisions: Vec<PolicyDecision>,
    /// Declarations of the programs that recorded it.
    pub coverage_declarations: Vec<CoverageDeclaration>,
    /// Events that these programs announced and that are not recorded.
    pub coverage_gaps: Vec<CoverageGap>,
}

/// A step, and its depth in the tree.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct OutlinedStep<'a> {
    /// 0 for a step that is part of no other.
    pub depth: usize,
    /// The step.
    pub step: &'a Step,
}

impl SessionRecord {
    fn of(session: Session) -> SessionRecord {
        SessionRecord {
            session,
            steps: Vec::new(),
            decisions: Vec::new(),
            findings: Vec::new(),
            finding_updates: Vec::new(),
            reviews: Vec::new(),
            artifacts: Vec::new(),
            metrics: Vec::new(),
            notes: Vec::new(),
            actions: Vec::new(),
            policy_decisions: Vec::new(),
            coverage_declarations: Vec::new(),
            coverage_gaps: Vec::new(),
        }
    }

    /// The steps as a tree: each is followed by its parts, in the order in which they began. If the start of
    /// one part is not known, the parts stay in the order of the log. A step whose parent is missing is at
    /// the top. Of several steps that name each other as parents, the first is at the top.
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
        // A step that no top leads to is in a cycle, which is entered at its first step. `seen` ends the
        // cycle.
        for top in tops.into_iter().chain(&self.steps) {
            let mut stack = vec![OutlinedStep { depth: 0, step: top }];
            while let Some(next) = stack.pop() {
                if !seen.insert(next.step.id.as_str()) {
                    continue;
                }
                outline.push(next);
                if let Some(parts) = children.get(next.step.id.as_str()) {
                    // Pushed in reverse, because the last one is popped first.
                    stack.extend(parts.iter().rev().map(|step| OutlinedStep { depth: next.depth + 1, step }));
                }
            }
        }
        outline
    }
}

/// Sorts the parts of one step, which are in the order of the log, by their start. Spans are recorded in the order
/// of their ends, and exporters group them, so the log does not have this order.
fn in_order(steps: &mut [&Step]) {
    if steps.iter().all(|step| step.started_at.is_some()) {
        steps.sort_by_key(|step| (step.started_at, step.first_seq));
    }
}

/// Lists the parts of a session, in the order of [`SessionRecord`]: each with the condition on its rows, by the
/// session's id.
macro_rules! parts {
    ($part:ident) => {
        $part!(steps: Step, "session_id = ?1 ORDER BY first_seq");
        $part!(decisions: Decision, "session_id = ?1 ORDER BY first_seq");
        $part!(findings: Finding, "session_id = ?1 ORDER BY first_seq");
        $part!(finding_updates: FindingUpdate, "session_id = ?1 ORDER BY seq");
        $part!(
            // A review can be about a session and not belong to one.
            reviews: Review,
            "session_id = ?1 OR (session_id IS NULL AND subject_kind = 'session' AND subject_id = ?1) ORDER BY seq"
        );
        $part!(artifacts: Artifact, "session_id = ?1 ORDER BY seq, rowid");
        $part!(metrics: Metric, "session_id = ?1 ORDER BY seq");
        $part!(notes: Note, "session_id = ?1 ORDER BY seq");
        $part!(actions: Action, "session_id = ?1 ORDER BY seq");
        $part!(policy_decisions: PolicyDecision, "session_id = ?1 ORDER BY seq");
        $part!(coverage_declarations: CoverageDeclaration, "session_id = ?1 ORDER BY seq");
    };
}

/// Reads a session, if there is one with this id.
pub(crate) fn load(connection: &Connection, id: &str) -> rusqlite::Result<Option<SessionRecord>> {
    let Some(session) = only(connection, id)? else { return Ok(None) };
    let mut record = SessionRecord::of(session);
    macro_rules! part {
        ($list:ident: $item:ty, $condition:literal) => {
            each::<$item, _>(connection, $condition, id, |item| {
                record.$list.push(item);
                Ok::<_, rusqlite::Error>(())
            })?;
        };
    }
    parts!(part);
    coverage::gaps(connection, coverage::Of::Session(id), |gap| {
        record.coverage_gaps.push(gap);
        Ok::<_, rusqlite::Error>(())
    })?;
    Ok(Some(record))
}

/// A session with the beginning of its texts, and as many of its parts as fit into a bound.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub(crate) struct SessionExtract {
    /// The part that fits.
    pub record: SessionRecord,
    /// Number of items that were left out of each list, by the list's name.
    pub left_out: Vec<(&'static str, u64)>,
}

/// The bounds of an extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtractBounds {
    /// Most characters of each text.
    pub chars: usize,
    /// Most bytes of all texts; items after that are counted.
    pub bytes: usize,
}

/// Reads as much of a session as fits, if there is one with this id.
pub(crate) fn extract(
    connection: &Connection,
    id: &str,
    bounds: ExtractBounds,
) -> rusqlite::Result<Option<SessionExtract>> {
    let Some(mut session) = only(connection, id)? else { return Ok(None) };
    let mut bytes = session.shorten(bounds.chars);
    let mut extract = SessionExtract { record: SessionRecord::of(session), left_out: Vec::new() };
    macro_rules! part {
        ($list:ident: $item:ty, $condition:literal) => {
            let mut left_out = 0_u64;
            each::<$item, _>(connection, $condition, id, |mut item| {
                // Counted row by row, so that the items that are left out are never in memory together.
                if bytes >= bounds.bytes {
                    left_out += 1;
                } else {
                    bytes =
                        bytes.saturating_add(size_of::<$item>()).saturating_add(item.shorten(bounds.chars));
                    extract.record.$list.push(item);
                }
                Ok::<_, rusqlite::Error>(())
            })?;
            if left_out > 0 {
                extract.left_out.push((stringify!($list), left_out));
            }
        };
    }
    parts!(part);
    let mut left_out = 0_u64;
    coverage::gaps(connection, coverage::Of::Session(id), |gap| {
        match extract.record.coverage_gaps.len() {
            LISTED_MAX => left_out += 1,
            _ => extract.record.coverage_gaps.push(gap),
        }
        Ok::<_, rusqlite::Error>(())
    })?;
    if left_out > 0 {
        extract.left_out.push(("coverage_gaps", left_out));
    }
    Ok(Some(extract))
}

/// A session that was not written to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WriteError {
    /// SQLite reported an error.
    #[error("the read tables cannot be queried: {0}{remedy}", remedy = remedy(.0))]
    Storage(#[from] StorageError),
    /// The output fails, or a value has no JSON form.
    #[error("cannot be written: {0}")]
    Write(#[from] io::Error),
}

from_sqlite!(WriteError);

/// Writes the JSON form of a session's [`SessionRecord`], row by row: one row is in memory at a time. Returns
/// whether there is a session with this id.
pub(crate) fn write(connection: &Connection, id: &str, out: &mut dyn Write) -> Result<bool, WriteError> {
    let Some(session) = only(connection, id)? else { return Ok(false) };
    out.write_all(b"{\"session\":")?;
    write_value(&session, out)?;
    macro_rules! part {
        ($list:ident: $item:ty, $condition:literal) => {
            out.write_all(concat!(",\"", stringify!($list), "\":[").as_bytes())?;
            let mut is_first = true;
            each::<$item, _>(connection, $condition, id, |item| {
                if !std::mem::take(&mut is_first) {
                    out.write_all(b",")?;
                }
                write_value(&item, out)
            })?;
            out.write_all(b"]")?;
        };
    }
    parts!(part);
    out.write_all(b",\"coverage_gaps\":[")?;
    let mut is_first = true;
    coverage::gaps(connection, coverage::Of::Session(id), |gap| {
        if !std::mem::take(&mut is_first) {
            out.write_all(b",")?;
        }
        write_value(&gap, out)
    })?;
    out.write_all(b"]}")?;
    Ok(true)
}

fn write_value(value: &impl Serialize, out: &mut dyn Write) -> Result<(), WriteError> {
    serde_json::to_writer(out, value).map_err(|error| WriteError::Write(error.into()))
}

fn only(connection: &Connection, id: &str) -> rusqlite::Result<Option<Session>> {
    let mut statement =
        connection.prepare_cached(&format!("{} WHERE id = ?1", Session::select(connection)?))?;
    statement.query_row([id], Session::read).optional()
}

fn each<R: Record, E: From<rusqlite::Error>>(
    connection: &Connection,
    condition: &str,
    id: &str,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    // A file of an earlier version lacks the tables that were added later, until it is rebuilt.
    if !R::is_there(connection)? {
        return Ok(());
    }
    let mut statement =
        connection.prepare_cached(&format!("{} WHERE {condition}", R::select(connection)?))?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        take(R::read(row)?)?;
    }
    Ok(())
}
