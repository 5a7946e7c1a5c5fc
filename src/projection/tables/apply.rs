//! Folding events into the tables of a stage: the one way for live work, rebuild, time travel and
//! verification.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::definition::{Projection, Rows, TakenBack};
use super::index;
use super::stage::Stage;
use super::store::Store;
use crate::event::{Content, Event, PayloadRedacted, Recorded, Seq};
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::ReadError;
use crate::log::rows::{self, ReadRow, name_column};
use crate::otel::Meanings;
use crate::projection::fold::input::Input;
use crate::projection::fold::working_set::{Changes, WorkingSet};

/// Events that could not be folded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    /// An event cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The tables cannot be read or written.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl From<ReadError> for ApplyError {
    fn from(error: ReadError) -> ApplyError {
        match error {
            ReadError::Storage(error) => ApplyError::Sqlite(error.into_sqlite()),
            error => ApplyError::Unreadable(error.to_string()),
        }
    }
}

/// The events that a projection goes on without.
pub(crate) fn skips(connection: &Connection, projection: &Projection) -> rusqlite::Result<HashSet<Seq>> {
    connection
        .prepare_cached(&format!(
            "SELECT seq FROM projection_skips WHERE {} = ?1 AND version = ?2",
            name_column("projection")
        ))?
        .query_map(rusqlite::params![projection.name, projection.version], |row| {
            row.get(0).map(Seq::from_sql)
        })?
        .collect()
}

/// Events, and what each of them means: worked out once for all projections.
pub(crate) struct Batch<'e>(Vec<(&'e ReadRow, Meanings<'e>)>);

impl<'e> Batch<'e> {
    pub(crate) fn of(events: impl IntoIterator<Item = &'e ReadRow>) -> Batch<'e> {
        Batch(events.into_iter().map(|row| (row, meanings(row))).collect())
    }

    /// Whether one of the events takes back what earlier ones left in the tables.
    pub(crate) fn erases(&self) -> bool {
        self.0.iter().any(|(row, _)| row.event.as_ref().is_ok_and(|event| redaction(event).is_some()))
    }
}

fn meanings(row: &ReadRow) -> Meanings<'_> {
    row.event.as_ref().map_or(Meanings::Nothing, Meanings::of)
}

fn redaction(event: &Recorded) -> Option<&PayloadRedacted> {
    match &event.content {
        Content::Event(Event::PayloadRedacted(redacted)) => Some(redacted),
        _ => None,
    }
}

/// The place of the long texts of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// In the log alone, which the tables stand beside: the rows refer to it.
    Referred,
    /// In the rows: there is no log beside them.
    Whole,
}

/// Folds events for one projection, and keeps the rows that the next events may change, as long as nobody
/// else writes to its tables.
pub(crate) struct Fold {
    projection: &'static Projection,
    stage: Stage,
    store: &'static Store,
    texts: Texts,
    skips: HashSet<Seq>,
    rows: WorkingSet,
}

/// Where the tables are, and the log: in the same file, or for verification in another.
#[derive(Clone, Copy)]
pub(crate) struct Places<'c> {
    pub(crate) tables: &'c Connection,
    pub(crate) log: &'c Connection,
}

/// Folds events for one projection, from one place to another.
pub(crate) struct Applier<'c> {
    fold: Fold,
    places: Places<'c>,
}

impl<'c> Applier<'c> {
    pub(crate) fn new(
        projection: &'static Projection,
        stage: Stage,
        places: Places<'c>,
        texts: Texts,
    ) -> rusqlite::Result<Applier<'c>> {
        Ok(Applier { fold: Fold::new(projection, stage, places.log, texts)?, places })
    }

    /// Folds events that follow what the tables hold, within the caller's transaction.
    pub(crate) fn apply<'e>(
        &mut self,
        events: impl IntoIterator<Item = &'e ReadRow>,
    ) -> Result<(), ApplyError> {
        self.fold.apply(self.places, &Batch::of(events))
    }
}

impl Fold {
    pub(crate) fn new(
        projection: &'static Projection,
        stage: Stage,
        log: &Connection,
        texts: Texts,
    ) -> rusqlite::Result<Fold> {
        let skips = skips(log, projection)?;
        Ok(Fold { projection, stage, store: Store::of(stage), texts, skips, rows: WorkingSet::default() })
    }

    /// The events that it goes on without.
    pub(crate) fn skips(&self) -> &HashSet<Seq> {
        &self.skips
    }

    /// Folds events that follow what the tables hold, within the caller's transaction.
    pub(crate) fn apply(&mut self, places: Places<'_>, batch: &Batch<'_>) -> Result<(), ApplyError> {
        let mut erased = BTreeSet::new();
        for event in &batch.0 {
            self.fold_one(places.tables, event)?;
            let redacted = event.0.event.as_ref().ok().and_then(redaction);
            if let Some(redacted) = redacted.filter(|_| !self.skips.contains(&event.0.seq)) {
                erased.extend(redacted.seqs());
            }
        }
        self.save(places.tables)?;
        if erased.is_empty() {
            return Ok(());
        }
        self.rows.forget();
        self.erase(places, &erased)
    }

    /// Folds events that erase nothing, in memory, and hands out what they change. What was handed out
    /// before, but for the first `stored` times, need not be in the tables yet.
    pub(crate) fn fold(
        &mut self,
        tables: &Connection,
        batch: &Batch<'_>,
        stored: u64,
    ) -> Result<Changes, ApplyError> {
        batch.0.iter().try_for_each(|event| self.fold_one(tables, event))?;
        let changes = self.rows.hand_out();
        self.rows.shrink(stored);
        Ok(changes)
    }

    /// Writes what changed, within the caller's transaction.
    fn save(&mut self, tables: &Connection) -> rusqlite::Result<()> {
        self.store.save(tables, &self.rows.hand_out())?;
        self.rows.shrink(u64::MAX);
        Ok(())
    }

    fn fold_one(
        &mut self,
        tables: &Connection,
        (row, meanings): &(&ReadRow, Meanings<'_>),
    ) -> Result<(), ApplyError> {
        if self.skips.contains(&row.seq) {
            return Ok(());
        }
        let event = row.event.as_ref().map_err(|error| ApplyError::Unreadable(error.to_string()))?;
        self.rows.add_kept(row.bytes);
        self.change(tables, row, event, meanings).map_err(ApplyError::Sqlite)
    }

    fn change(
        &mut self,
        tables: &Connection,
        row: &ReadRow,
        event: &Recorded,
        meanings: &Meanings<'_>,
    ) -> rusqlite::Result<()> {
        let cell = match self.texts {
            Texts::Referred => row.cell.as_deref(),
            Texts::Whole => None,
        };
        let input = Input::new(event, meanings.all(), cell);
        match self.projection.rows {
            Rows::Change(load) => load(self.store, tables, &mut self.rows, &input)?,
            // The rows of other projections are none of its business, nor are they always there.
            Rows::Stay => {}
        }
        (self.projection.fold)(&mut self.rows, &input);
        Ok(())
    }

    /// Takes back what the payloads of redacted events left in the tables, so that the tables are
    /// those of a log that never had them.
    fn erase(&self, places: Places<'_>, seqs: &BTreeSet<Seq>) -> Result<(), ApplyError> {
        match self.projection.taken_back {
            TakenBack::WithItsSession { timeline } => self.fold_sessions_again(places, timeline, seqs),
            TakenBack::ByItself => self.erase_rows(places.tables, seqs).map_err(ApplyError::Sqlite),
            TakenBack::Never => Ok(()),
        }
    }

    fn erase_rows(&self, tables: &Connection, seqs: &BTreeSet<Seq>) -> rusqlite::Result<()> {
        for table in self.projection.tables.iter().filter(|table| !table.is_index()) {
            let name = self.stage.table(table.name);
            let mut delete = tables.prepare(&format!("DELETE FROM {name} WHERE seq = ?1"))?;
            let erased: Vec<i64> = seqs.iter().map(|seq| seq.to_sql()).collect();
            erased.iter().try_for_each(|seq| delete.execute([seq]).map(drop))?;
            if let Some(of_it) = self.projection.index_of(table.name) {
                index::forget(tables, &self.stage.table(of_it.name), &erased)?;
            }
        }
        Ok(())
    }

    /// Folds every session again that lost an event: its rows follow from all of its events.
    fn fold_sessions_again(
        &self,
        places: Places<'_>,
        timeline: &str,
        seqs: &BTreeSet<Seq>,
    ) -> Result<(), ApplyError> {
        let timeline = self.stage.table(timeline);
        let mut sessions = BTreeSet::new();
        for seq in seqs {
            let found: Option<(Option<String>, bool)> = places
                .tables
                .query_row(
                    &format!("SELECT session_id, redacted FROM {timeline} WHERE seq = ?1"),
                    [seq.to_sql()],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()?;
            match found {
                Some((Some(session), false)) => {
                    sessions.insert(session);
                }
                Some((None, false)) => {
                    places.tables.execute(
                        &format!("UPDATE {timeline} SET subject_id = NULL, redacted = 1 WHERE seq = ?1"),
                        [seq.to_sql()],
                    )?;
                }
                _ => {}
            }
        }
        sessions.iter().try_for_each(|session| self.fold_session_again(places, &timeline, session))
    }

    fn fold_session_again(
        &self,
        places: Places<'_>,
        timeline: &str,
        session: &str,
    ) -> Result<(), ApplyError> {
        let seqs: Vec<i64> = places
            .tables
            .prepare(&format!("SELECT seq FROM {timeline} WHERE session_id = ?1 ORDER BY seq"))?
            .query_map([session], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for table in self.projection.tables {
            let Some(key) = table.session else { continue };
            let table = self.stage.table(table.name);
            places.tables.execute(&format!("DELETE FROM {table} WHERE {key} = ?1"), [session])?;
        }
        // A session may be longer than memory has room for.
        let mut seqs = seqs.into_iter().peekable();
        while seqs.peek().is_some() {
            let mut again = Fold {
                projection: self.projection,
                stage: self.stage,
                store: self.store,
                texts: self.texts,
                skips: HashSet::new(),
                rows: WorkingSet::default(),
            };
            let (mut events, mut bytes) = (0, 0);
            while events < FOLD_EVENTS_MAX
                && bytes < FOLD_BYTES_MAX
                && let Some(seq) = seqs.next()
            {
                events += 1;
                let Some(row) = rows::row_at(places.log, Seq::from_sql(seq))? else { continue };
                bytes += row.bytes;
                again.fold_one(places.tables, &(&row, meanings(&row)))?;
            }
            again.save(places.tables)?;
        }
        Ok(())
    }
}
