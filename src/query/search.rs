//! Full-text search over the texts of events.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};
use serde::{Serialize, Serializer};

use super::column::cut;
use super::excerpt::{Excerpts, Fragment};
use super::{QueryError, words};
use crate::event::{Seq, Timestamp};
use crate::log::{ReadError, rows};
use crate::projection::fold::search::text_of;
use crate::projection::tables;

/// Longest id or name in a hit, in characters.
const NAME_CHARS_MAX: usize = 2_000;

/// The words to search for, and the events to search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchFilter {
    /// Words that must all be in one event. Double quotes make a phrase; a star at the end finds words with that
    /// beginning.
    pub text: String,
    /// Only events of this session.
    pub session: Option<String>,
    /// Only events of this kind, by name.
    pub kind: Option<String>,
    /// Only events before this one.
    pub before: Option<Seq>,
    /// The order of hits.
    pub order: SearchOrder,
    /// Most hits.
    pub limit: usize,
}

impl SearchFilter {
    /// A search for a text in every event.
    pub fn new(text: impl Into<String>) -> SearchFilter {
        SearchFilter { text: text.into(), ..SearchFilter::default() }
    }
}

impl Default for SearchFilter {
    /// A search in every event for at most 20 hits, without a text yet.
    fn default() -> SearchFilter {
        SearchFilter {
            text: String::new(),
            session: None,
            kind: None,
            before: None,
            order: SearchOrder::Newest,
            limit: 20,
        }
    }
}

/// The order of hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SearchOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The best match first: every match must be rated for that.
    Rank,
}

/// An event that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Hit {
    /// Sequence number of the event.
    pub seq: Seq,
    /// Id of its session.
    pub session: Option<String>,
    /// Name of its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the step, decision, finding or other subject that it is about.
    pub subject: Option<String>,
    /// Time at which it was recorded, if the timeline has the event already.
    pub recorded_at: Option<Timestamp>,
    /// The text around the matches; one string in JSON. It is empty if the event was erased and the index does not
    /// know that yet.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "server", schema(value_type = String))]
    pub snippet: Vec<Fragment>,
}

fn as_text<S: Serializer>(snippet: &[Fragment], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&snippet.iter().map(|fragment| fragment.text.as_str()).collect::<String>())
}

/// Finds the events that match a filter.
pub(crate) fn search(connection: &Connection, filter: &SearchFilter) -> Result<Vec<Hit>, QueryError> {
    let query = words::to_fts(&filter.text).ok_or_else(|| QueryError::NoWords(filter.text.clone()))?;
    let documents = tables::stored(connection, "search_documents")?.rows;
    let mut wheres = vec!["search MATCH ?".to_owned()];
    let mut values: Vec<Value> = vec![query.clone().into()];
    if let Some(session) = &filter.session {
        let Some((first, last)) = bounds(connection, session)? else { return Ok(Vec::new()) };
        // The events of a session stand between its first and its last: the index skips the others.
        wheres.push(format!("search.rowid BETWEEN {first} AND {last} AND documents.session_id = ?"));
        values.push(session.clone().into());
    }
    if let Some(kind) = &filter.kind {
        wheres.push("documents.kind = ?".to_owned());
        values.push(kind.clone().into());
    }
    if let Some(before) = filter.before {
        wheres.push(format!("search.rowid < {}", before.to_sql()));
    }
    let order = match filter.order {
        SearchOrder::Newest => "search.rowid DESC",
        SearchOrder::Rank => "search.rank, search.rowid DESC",
    };
    let sql = format!(
        "SELECT documents.seq, documents.session_id, documents.kind, documents.subject_id,
                (SELECT recorded_at FROM timeline WHERE timeline.seq = documents.seq)
         FROM search CROSS JOIN {documents} AS documents ON documents.seq = search.rowid
         WHERE {} ORDER BY {order} LIMIT {}",
        wheres.join(" AND "),
        i64::try_from(filter.limit).unwrap_or(i64::MAX)
    );
    let mut excerpts = Excerpts::new(query)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut hits = Vec::new();
    // Excerpts are made one by one while the statement runs. So interrupting the statement ends them too.
    while let Some(row) = found.next()? {
        let seq = Seq::from_sql(row.get(0)?);
        let recorded_at: Option<String> = row.get(4)?;
        let text = match rows::read_at(connection, seq) {
            Ok(event) => event.as_ref().and_then(text_of),
            Err(ReadError::Storage(error)) => return Err(error.into()),
            // An event that cannot be read does not hide the others. Reading it reports its problem.
            Err(_) => None,
        };
        hits.push(Hit {
            seq,
            session: short(row.get(1)?),
            kind: short(row.get(2)?).unwrap_or_default(),
            subject: short(row.get(3)?),
            recorded_at: recorded_at.and_then(|time| Timestamp::from_sql(&time)),
            snippet: text.map_or(Ok(Vec::new()), |text| excerpts.of(&text))?,
        });
    }
    Ok(hits)
}

/// Cuts an id or a name. Annals writes none that is so long.
fn short(text: Option<String>) -> Option<String> {
    text.map(|mut text| {
        cut(&mut text, NAME_CHARS_MAX);
        text
    })
}

fn bounds(connection: &Connection, session: &str) -> rusqlite::Result<Option<(i64, i64)>> {
    connection
        .prepare_cached("SELECT first_seq, last_seq FROM sessions WHERE id = ?1")?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
