//! Folding of events into the tables of a stage. Live work, rebuilds, time travel and verification all use
//! this code.

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
use crate::projection::fold::tree;
use crate::projection::fold::working_set::{Changes, WorkingSet};

/// The reason why events could not be folded.
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

/// The events that a projection skips.
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

/// Events and their meanings, which are worked out once for all projections.
pub(crate) struct Batch<'e>(Vec<(&'e ReadRow, Meanings<'e>)>);

impl<'e> Batch<'e> {
    pub(crate) fn of(events: impl IntoIterator<Item = &'e ReadRow>) -> Batch<'e> {
        Batch(events.into_iter().map(|row| (row, meanings(row))).collect())
    }

    /// Returns whether one of the events is a redaction, which takes back what earlier events left in the tables.
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

/// The storage of the long texts of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texts {
    /// The log alone, which is there beside the tables: the rows refer to it.
    Referred,
    /// The rows themselves, because there is no log beside them.
    Whole,
}

/// Folds events for one projection, and keeps the rows that later events may change. These rows are valid as
/// long as nobody else writes to the tables, which the caller checks by comparing the cursor.
pub(crate) struct Fold {
    projection: &'static Projection,
    stage: Stage,
    store: &'static Store,
    texts: Texts,
    skips: HashSet<Seq>,
    rows: WorkingSet,
}

/// The connections to the tables and to the log: both to one file, or, for verification, to two files.
#[derive(Clone, Copy)]
pub(crate) struct Places<'c> {
    pub(crate) tables: &'c Connection,
    pub(crate) log: &'c Connection,
}

/// A fold for one projection, and the connections that it reads and writes.
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

    /// The events that it skips, as they were when it was made.
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
        // Erasing works on the tables, so all rows are saved before it. Afterwards the rows in memory are out of
        // date, and are dropped.
        self.save(places.tables)?;
        if erased.is_empty() {
            return Ok(());
        }
        self.rows.forget();
        self.erase(places, &erased)
    }

    /// Folds events that erase nothing, in memory, and hands out the changes. The first `stored` changes that were
    /// handed out before are in the tables; the others may still wait to be written.
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
        // Everything that was handed out is in the tables now: any row may be forgotten.
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
        // An estimate: rows get about as much text from an event as its payload has.
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
            // Nothing is loaded, because each row belongs to one event. The tables of other projections may
            // be missing here.
            Rows::Stay => {}
        }
        (self.projection.fold)(&mut self.rows, &input);
        // Which rows the steps above need is known only as the change climbs.
        while let Some((child, key)) = tree::climb(&mut self.rows) {
            self.store.load_child(tables, &mut self.rows, child, key.borrowed())?;
        }
        Ok(())
    }

    /// Takes back what the payloads of redacted events left in the tables. Afterwards the tables are those of a log
    /// that never had these payloads.
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
            // The rows are deleted already. The index needs none of them: it knows its documents and their words
            // itself.
            if let Some(index) = self.projection.index_of(table.name) {
                index::forget(tables, &self.stage.table(index.name), &erased)?;
            }
        }
        Ok(())
    }

    /// Folds every session again that lost an event, because its rows follow from all of its events.
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
                // An event without a session has a row in the timeline and nowhere else.
                Some((None, false)) => {
                    places.tables.execute(
                        &format!("UPDATE {timeline} SET subject_id = NULL, redacted = 1 WHERE seq = ?1"),
                        [seq.to_sql()],
                    )?;
                }
                // It was taken back before, or was already erased when it was folded.
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
        // Read first: the rows of the timeline are deleted with the others below.
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
        // A session may be larger than memory. It is folded in parts, and each part is saved before the next one.
        let mut seqs = seqs.into_iter().peekable();
        while seqs.peek().is_some() {
            let mut again = Fold {
                projection: self.projection,
                stage: self.stage,
                store: self.store,
                texts: self.texts,
                // The timeline lists only events that were folded, so none of these is skipped.
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
