//! Gaps of coverage: events that a program announced, and that are not in the log.

use rusqlite::{Connection, params_from_iter};
use serde::Serialize;

use super::column::Record;
use super::records::CoverageDeclaration;

/// Events of one kind that programs announced for a session, and that are not all recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct CoverageGap {
    /// Id of the session.
    pub session_id: String,
    /// The kind of the events, by its name.
    pub kind: String,
    /// The programs that announced them, separated by commas.
    pub sources: String,
    /// The number of events that they announced.
    pub announced: u64,
    /// The number of events of the kind that the session has.
    pub recorded: u64,
}

/// The sessions of which a query lists the gaps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'s> {
    /// One session.
    Session(&'s str),
    /// Every session with declarations.
    All,
}

/// Each run of a program announces the number of events that it has sent so far, so its largest number counts.
/// Several runs add up. `total` instead of `sum`: numbers that somebody invented must not end the query.
fn sql(sessions: &str) -> String {
    format!(
        "WITH runs AS (
           SELECT session_id, source, instance, j.key AS kind, max(j.value) AS announced
           FROM coverage_declarations AS d, json_each(d.announced) AS j
           WHERE session_id IN ({sessions}) GROUP BY 1, 2, 3, 4
         ), wanted AS (
           SELECT session_id, kind, group_concat(DISTINCT source) AS sources,
             CAST(total(announced) AS INTEGER) AS announced
           FROM runs GROUP BY 1, 2
         ), found AS (
           SELECT session_id, kind, count(*) AS recorded FROM timeline
           WHERE session_id IN ({sessions}) GROUP BY 1, 2
         )
         SELECT session_id, kind, sources, announced, coalesce(recorded, 0) AS recorded
         FROM wanted LEFT JOIN found USING (session_id, kind)
         WHERE announced > coalesce(recorded, 0) ORDER BY session_id, kind"
    )
}

/// Calls `each` with every gap of the sessions, in their order.
pub(crate) fn gaps<E: From<rusqlite::Error>>(
    connection: &Connection,
    of: Of<'_>,
    mut each: impl FnMut(CoverageGap) -> Result<(), E>,
) -> Result<(), E> {
    // A file of an earlier version lacks the table until it is rebuilt.
    if !CoverageDeclaration::is_there(connection)? {
        return Ok(());
    }
    let (sessions, session) = match of {
        Of::Session(session) => ("?1", Some(session)),
        Of::All => ("SELECT session_id FROM coverage_declarations", None),
    };
    let mut statement = connection.prepare(&sql(sessions))?;
    let mut rows = statement.query(params_from_iter(session))?;
    while let Some(row) = rows.next()? {
        each(CoverageGap {
            session_id: row.get(0)?,
            kind: row.get(1)?,
            sources: row.get(2)?,
            announced: row.get::<_, i64>(3)?.unsigned_abs(),
            recorded: row.get::<_, i64>(4)?.unsigned_abs(),
        })?;
    }
    Ok(())
}
