//! Folding events into the tables of a stage: the one way for live work, rebuild, time travel and
//! verification.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::store::Store;
use super::tables::{Projection, Rows, Stage};
use super::working_set::WorkingSet;
use crate::event::{Content, Event, Recorded, Seq};
use crate::limits::FOLD_EVENTS_MAX;
use crate::log::ReadError;
use crate::log::rows::{self, ReadRow};
use crate::otel::Meanings;

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
            ReadError::Sqlite(error) => ApplyError::Sqlite(error),
            error => ApplyError::Unreadable(error.to_string()),
        }
    }
}

/// The events that a projection goes on without.
pub(crate) fn skips(connection: &Connection, projection: &Projection) -> rusqlite::Result<HashSet<Seq>> {
    connection
        .prepare_cached("SELECT seq FROM projection_skips WHERE projection = ?1 AND version = ?2")?
        .query_map(rusqlite::params![projection.name, projection.version], |row| {
            row.get(0).map(Seq::from_sql)
        })?
        .collect()
}

/// Whether documents were taken out of the full-text index since it was last merged.
enum Index {
    Whole,
    Erased,
}

/// Folds events for one projection.
pub(crate) struct Applier<'c> {
    projection: &'static Projection,
    stage: Stage,
    store: &'static Store,
    /// Where the tables are.
    tables: &'c Connection,
    /// Where the log is: the same file, or for verification another.
    log: &'c Connection,
    skips: HashSet<Seq>,
}

impl<'c> Applier<'c> {
    pub(crate) fn new(
        projection: &'static Projection,
        stage: Stage,
        tables: &'c Connection,
        log: &'c Connection,
    ) -> rusqlite::Result<Applier<'c>> {
        let skips = skips(log, projection)?;
        Ok(Applier { projection, stage, store: Store::of(stage), tables, log, skips })
    }

    /// Folds events that follow what the tables hold, within the caller's transaction.
    pub(crate) fn apply<'e>(&self, events: impl IntoIterator<Item = &'e ReadRow>) -> Result<(), ApplyError> {
        let mut rows = WorkingSet::default();
        let mut index = Index::Whole;
        for row in events {
            if self.skips.contains(&row.seq) {
                continue;
            }
            let event = match &row.event {
                Ok(event) => event,
                Err(error) => return Err(ApplyError::Unreadable(error.to_string())),
            };
            self.fold(&mut rows, event)?;
            if let Content::Event(Event::PayloadRedacted(redacted)) = &event.content {
                self.store.save(self.tables, &mut rows)?;
                rows.forget_keyed();
                self.erase(redacted.seqs(), &mut index)?;
            }
        }
        self.store.save(self.tables, &mut rows)?;
        match index {
            Index::Whole => Ok(()),
            Index::Erased => self.merge_index(),
        }
    }

    fn fold(&self, rows: &mut WorkingSet, event: &Recorded) -> rusqlite::Result<()> {
        let meanings = Meanings::of(event);
        match self.projection.rows {
            Rows::Change(load) => load(self.store, self.tables, rows, event, meanings.all())?,
            // The rows of other projections are none of its business, nor are they always there.
            Rows::Stay => {}
        }
        (self.projection.fold)(rows, event, meanings.all());
        Ok(())
    }

    /// Takes back what the payloads of redacted events left in the tables, so that the tables are
    /// those of a log that never had them.
    fn erase(&self, seqs: impl Iterator<Item = Seq>, index: &mut Index) -> Result<(), ApplyError> {
        let seqs: BTreeSet<Seq> = seqs.collect();
        match self.projection.name {
            "sessions" => self.erase_from_sessions(&seqs),
            "search" => self.erase_from_search(&seqs, index),
            // It is made from events that Annals itself writes, which are never redacted.
            "keys" => Ok(()),
            _ => self.erase_rows(&seqs),
        }
    }

    fn erase_rows(&self, seqs: &BTreeSet<Seq>) -> Result<(), ApplyError> {
        for table in self.projection.tables {
            let delete = format!("DELETE FROM {} WHERE seq = ?1", self.stage.table(table));
            let mut statement = self.tables.prepare_cached(&delete)?;
            for seq in seqs {
                statement.execute([seq.to_sql()])?;
            }
        }
        Ok(())
    }

    fn erase_from_search(&self, seqs: &BTreeSet<Seq>, index: &mut Index) -> Result<(), ApplyError> {
        let (documents, search) = (self.stage.table("documents"), self.stage.table("search"));
        let text_of = format!("SELECT text FROM {documents} WHERE seq = ?1");
        let from_index = format!("INSERT INTO {search} ({search}, rowid, text) VALUES ('delete', ?1, ?2)");
        let from_documents = format!("DELETE FROM {documents} WHERE seq = ?1");
        for seq in seqs {
            let seq = seq.to_sql();
            let text: Option<String> =
                self.tables.prepare_cached(&text_of)?.query_row([seq], |row| row.get(0)).optional()?;
            let Some(text) = text else { continue };
            self.tables.prepare_cached(&from_index)?.execute(rusqlite::params![seq, text])?;
            self.tables.prepare_cached(&from_documents)?.execute([seq])?;
            *index = Index::Erased;
        }
        Ok(())
    }

    /// Until its segments are merged the full-text index still says which words stood where.
    fn merge_index(&self) -> Result<(), ApplyError> {
        let search = self.stage.table("search");
        self.tables.execute(&format!("INSERT INTO {search} ({search}) VALUES ('optimize')"), [])?;
        Ok(())
    }

    /// Folds every session again that lost an event: its rows follow from all of its events.
    fn erase_from_sessions(&self, seqs: &BTreeSet<Seq>) -> Result<(), ApplyError> {
        let timeline = self.stage.table("timeline");
        let mut sessions = BTreeSet::new();
        for seq in seqs {
            let found: Option<(Option<String>, bool)> = self
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
                    self.tables.execute(
                        &format!("UPDATE {timeline} SET subject_id = NULL, redacted = 1 WHERE seq = ?1"),
                        [seq.to_sql()],
                    )?;
                }
                _ => {}
            }
        }
        sessions.iter().try_for_each(|session| self.fold_session_again(session))
    }

    fn fold_session_again(&self, session: &str) -> Result<(), ApplyError> {
        let timeline = self.stage.table("timeline");
        let seqs: Vec<i64> = self
            .tables
            .prepare(&format!("SELECT seq FROM {timeline} WHERE session_id = ?1 ORDER BY seq"))?
            .query_map([session], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for table in self.projection.tables {
            let key = if *table == "sessions" { "id" } else { "session_id" };
            self.tables
                .execute(&format!("DELETE FROM {} WHERE {key} = ?1", self.stage.table(table)), [session])?;
        }
        // A session may be longer than memory has room for.
        for seqs in seqs.chunks(FOLD_EVENTS_MAX) {
            let mut rows = WorkingSet::default();
            for seq in seqs {
                if let Some(event) = rows::read_at(self.log, Seq::from_sql(*seq))? {
                    self.fold(&mut rows, &event)?;
                }
            }
            self.store.save(self.tables, &mut rows)?;
        }
        Ok(())
    }
}
