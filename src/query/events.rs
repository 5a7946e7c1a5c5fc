//! Events of the log, by session and kind.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension, params_from_iter};

use crate::event::{Recorded, Seq, kind_name};
use crate::log::ReadError;
use crate::log::rows::{self, ReadRow, name_column};

/// Most events that one step of a walk along the log reads.
const WALK_EVENTS: usize = 512;

/// Payload bytes after which such a step ends.
const WALK_BYTES: usize = 4 << 20;

/// A filter of events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only events of this session.
    pub session: Option<String>,
    /// Codes of the kinds to read; every kind if there is none.
    pub kinds: Vec<u16>,
}

impl EventFilter {
    /// The filter that every event fits.
    pub const ALL: EventFilter = EventFilter { session: None, kinds: Vec::new() };

    fn fits(&self, event: &Recorded) -> bool {
        let session = event.session.as_ref().map(|session| session.as_str());
        self.session.as_deref().is_none_or(|wanted| session == Some(wanted))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind))
    }

    fn is_all(&self) -> bool {
        *self == EventFilter::ALL
    }

    /// Builds the query of the timeline for the events that fit within a range, from either end. The index
    /// has a range for each kind. The first events of every range are merged in order.
    fn query(&self, end: End, range: &str, limit: usize) -> (String, Vec<String>) {
        let order = match end {
            End::First => "ASC",
            End::Last => "DESC",
        };
        let tail = format!("{range} ORDER BY seq {order} LIMIT {}", i64::try_from(limit).unwrap_or(i64::MAX));
        let kinds: Vec<String> = self.kinds.iter().map(|code| kind_name(*code)).collect();
        match &self.session {
            Some(session) => {
                // A session has few events. The plus sign makes SQLite compare their kinds, and not search
                // the index of kinds.
                let marks = vec!["?"; kinds.len()].join(", ");
                let kind = if kinds.is_empty() { String::new() } else { format!("+kind IN ({marks}) AND ") };
                let query = format!("SELECT seq FROM timeline WHERE session_id = ? AND {kind}{tail}");
                (query, [vec![session.clone()], kinds].concat())
            }
            None => {
                // There is at least one kind: a filter that every event fits never gets here. `limit` events of
                // each kind are enough, because the result has no more than that.
                let part = format!("SELECT * FROM (SELECT seq FROM timeline WHERE kind = ? AND {tail})");
                let parts = vec![part.as_str(); kinds.len()].join(" UNION ALL ");
                (format!("SELECT seq FROM ({parts}) WHERE {tail}"), kinds)
            }
        }
    }
}

/// An end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    First,
    Last,
}

fn seqs(connection: &Connection, query: &str, values: &[String]) -> rusqlite::Result<Vec<Seq>> {
    connection
        .prepare_cached(query)?
        .query_map(params_from_iter(values), |row| row.get(0).map(Seq::from_sql))?
        .collect()
}

/// The last event up to which the timeline is complete. Later events are found by reading the log. If the timeline
/// skips an event, all are found in this way.
fn indexed(connection: &Connection) -> rusqlite::Result<Seq> {
    let position: Option<i64> = connection
        .prepare_cached(&format!(
            "SELECT position FROM projections WHERE {} = 'sessions' AND {} = 'live'
             AND NOT EXISTS (SELECT 1 FROM projection_skips WHERE {} = 'sessions')",
            name_column("name"),
            name_column("stage"),
            name_column("projection")
        ))?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(position.map_or(Seq::ZERO, Seq::from_sql))
}

/// Calls `each` with the events after `after` and up to `until` that fit, in order, until it returns
/// [`Next::Stop`].
pub(crate) fn walk<E: From<ReadError>>(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    until: Seq,
    mut each: impl FnMut(Seq, Result<Recorded, ReadError>) -> Result<Next, E>,
) -> Result<(), E> {
    walk_rows(connection, filter, after, until, |row| each(row.seq, row.event))
}

/// Calls `each` as [`walk`] does, with rows.
pub(crate) fn walk_rows<E: From<ReadError>>(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    until: Seq,
    mut each: impl FnMut(ReadRow) -> Result<Next, E>,
) -> Result<(), E> {
    let mut position = after;
    // The timeline answers up to `known`; after that, each event of the log is read and compared.
    if !filter.is_all() {
        let known = indexed(connection).map_err(ReadError::from)?.min(until);
        while position < known {
            let page = indexed_after(connection, filter, position, known).map_err(ReadError::from)?;
            for seq in &page {
                if let Some(row) = rows::row_at(connection, *seq).map_err(ReadError::from)?
                    && each(row)? == Next::Stop
                {
                    return Ok(());
                }
            }
            // A page that is not full was the last one up to `known`.
            position = if page.len() < WALK_EVENTS { known } else { page.last().copied().unwrap_or(known) };
        }
    }
    loop {
        let page = rows::read_after(connection, position, until, WALK_EVENTS, WALK_BYTES)
            .map_err(ReadError::from)?;
        let Some(last) = page.last() else { return Ok(()) };
        position = last.seq;
        for row in page {
            // An event that cannot be read fits only the filter for all events. `each` then gets its error.
            let fits = row.event.as_ref().map_or(filter.is_all(), |event| filter.fits(event));
            if fits && each(row)? == Next::Stop {
                return Ok(());
            }
        }
    }
}

/// The choice whether a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

fn indexed_after(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    until: Seq,
) -> rusqlite::Result<Vec<Seq>> {
    let range = format!("seq > {} AND seq <= {}", after.to_sql(), until.to_sql());
    let (query, values) = filter.query(End::First, &range, WALK_EVENTS);
    seqs(connection, &query, &values)
}

/// Reads the events after `after` that fit, in order, at most `limit`.
pub(crate) fn after(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    within(connection, filter, after, limit, usize::MAX)
}

/// Reads the same events as [`after`], until their payloads have `bytes_max` bytes together.
pub(crate) fn within(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    limit: usize,
    bytes_max: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let head = rows::head(connection)?.seq;
    let (mut events, mut bytes) = (Vec::new(), 0_usize);
    if limit == 0 {
        return Ok(events);
    }
    walk_rows(connection, filter, after, head, |row| {
        bytes = bytes.saturating_add(row.bytes);
        // The event that passes the bound is taken too, so that each call returns at least one.
        events.push(row.event?);
        let has_room = events.len() < limit && bytes < bytes_max;
        Ok::<_, ReadError>(if has_room { Next::Continue } else { Next::Stop })
    })?;
    Ok(events)
}

/// An event in its JSON form.
#[derive(Debug)]
pub(crate) struct JsonEvent {
    pub(crate) seq: Seq,
    /// Name of its kind.
    pub(crate) kind: String,
    /// Its JSON, on one line.
    pub(crate) json: String,
}

/// Events in order, and the position at which more follow.
#[derive(Debug)]
pub(crate) struct EventPage {
    pub(crate) events: Vec<JsonEvent>,
    /// The last event of the page, if more follow.
    pub(crate) next: Option<Seq>,
    /// The position up to which the log was looked through.
    pub(crate) looked: Seq,
}

/// Reads the events after `after` that fit, in order, until there are `limit` of them or their texts have
/// `bytes_max` bytes.
pub(crate) fn page(
    connection: &Connection,
    filter: &EventFilter,
    after: Seq,
    limit: usize,
    bytes_max: usize,
) -> Result<EventPage, ReadError> {
    let head = rows::head(connection)?.seq;
    let (mut events, mut bytes, mut next) = (Vec::<JsonEvent>::new(), 0, None);
    walk(connection, filter, after, head, |seq, event| {
        // The walk has found one event more than the page holds, so more follow.
        if events.len() >= limit || bytes >= bytes_max {
            next = events.last().map(|last| last.seq);
            return Ok(Next::Stop);
        }
        let event = event?;
        let json = event.to_json();
        bytes += json.len();
        events.push(JsonEvent { seq, kind: event.kind_name(), json });
        Ok::<_, ReadError>(Next::Continue)
    })?;
    Ok(EventPage { events, next, looked: next.unwrap_or(head.max(after)) })
}

/// Reads the last events that fit, in order, at most `limit`.
pub(crate) fn last(
    connection: &Connection,
    filter: &EventFilter,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    after(connection, filter, before_last(connection, filter, limit)?, limit)
}

/// The position after which `limit` events follow that fit, or all of them if there are fewer.
pub(crate) fn before_last(
    connection: &Connection,
    filter: &EventFilter,
    limit: usize,
) -> Result<Seq, ReadError> {
    let head = rows::head(connection)?.seq;
    if filter.is_all() {
        // Sequence numbers have no gaps.
        return Ok(Seq::new(head.get().saturating_sub(limit as u64)));
    }
    let known = indexed(connection)?.min(head);
    let (query, values) = filter.query(End::Last, &format!("seq <= {}", known.to_sql()), limit);
    let mut seqs: VecDeque<Seq> = seqs(connection, &query, &values)?.into_iter().rev().collect();
    // The rest of the log is not in the timeline yet. Of all that fit, the last `limit` are kept.
    walk(connection, filter, known, head, |seq, event| {
        event?;
        seqs.push_back(seq);
        if seqs.len() > limit {
            seqs.pop_front();
        }
        Ok::<_, ReadError>(Next::Continue)
    })?;
    Ok(seqs.front().map_or(head, |first| Seq::new(first.get().saturating_sub(1))))
}
