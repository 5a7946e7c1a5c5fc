//! Folding events into the tables of a stage: the one way for live work, rebuild, time travel and
//! verification.

use std::collections::{BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension};

use super::store::Store;
use super::tables::{Projection, Stage};
use super::working_set::WorkingSet;
use crate::event::{Content, Event, Recorded, Seq};
use crate::log::ReadError;
use crate::log::rows::{self, ReadRow, seq_from_sql, seq_to_sql};

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
            row.get(0).map(seq_from_sql)
        })?
        .collect()
}

/// Folds events for one projection.
pub(crate) struct Applier<'c> {
    projection: &'static Projection,
    stage: Stage,
    store: Store,
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
        Ok(Applier { projection, stage, store: Store::new(stage), tables, log, skips })
    }

    /// Folds events that follow what the tables hold, within the caller's transaction.
    pub(crate) fn apply<'e>(&self, events: impl IntoIterator<Item = &'e ReadRow>) -> Result<(), ApplyError> {
        let mut rows = WorkingSet::default();
        for row in events {
            if self.skips.contains(&row.seq) {
                continue;
            }
            let event = match &row.event {
                Ok(event) => event,
                Err(error) => return Err(ApplyError::Unreadable(error.to_string())),
            };
            self.fold(&mut rows, event)?;
        }
        Ok(self.store.save(self.tables, &mut rows)?)
    }

    fn fold(&self, rows: &mut WorkingSet, event: &Recorded) -> Result<(), ApplyError> {
        self.store.load(self.tables, rows, event)?;
        (self.projection.fold)(rows, event);
        if let Content::Event(Event::PayloadRedacted(redacted)) = &event.content {
            self.store.save(self.tables, rows)?;
            rows.forget_keyed();
            self.erase(redacted.seqs())?;
        }
        Ok(())
    }

    /// Takes back what the payloads of redacted events left in the tables, so that the tables are
    /// those of a log that never had them.
    fn erase(&self, seqs: impl Iterator<Item = Seq>) -> Result<(), ApplyError> {
        let seqs: BTreeSet<Seq> = seqs.collect();
        self.tables.pragma_update(None, "secure_delete", "ON")?;
        match self.projection.name {
            "sessions" => self.erase_from_sessions(&seqs),
            "search" => self.erase_from_search(&seqs),
            _ => self.erase_rows(&seqs),
        }
    }

    fn erase_rows(&self, seqs: &BTreeSet<Seq>) -> Result<(), ApplyError> {
        for table in self.projection.tables {
            let delete = format!("DELETE FROM {} WHERE seq = ?1", self.stage.table(table));
            let mut statement = self.tables.prepare_cached(&delete)?;
            for seq in seqs {
                statement.execute([seq_to_sql(*seq)])?;
            }
        }
        Ok(())
    }

    fn erase_from_search(&self, seqs: &BTreeSet<Seq>) -> Result<(), ApplyError> {
        let (documents, search) = (self.stage.table("documents"), self.stage.table("search"));
        let mut erased = false;
        for seq in seqs {
            let seq = seq_to_sql(*seq);
            let text: Option<String> = self
                .tables
                .query_row(&format!("SELECT text FROM {documents} WHERE seq = ?1"), [seq], |row| row.get(0))
                .optional()?;
            let Some(text) = text else { continue };
            self.tables.execute(
                &format!("INSERT INTO {search} ({search}, rowid, text) VALUES ('delete', ?1, ?2)"),
                rusqlite::params![seq, text],
            )?;
            self.tables.execute(&format!("DELETE FROM {documents} WHERE seq = ?1"), [seq])?;
            erased = true;
        }
        if erased {
            // Until its segments are merged the index still says which words stood where.
            self.tables.execute(&format!("INSERT INTO {search} ({search}) VALUES ('optimize')"), [])?;
        }
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
                    [seq_to_sql(*seq)],
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
                        [seq_to_sql(*seq)],
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
        let mut rows = WorkingSet::default();
        for seq in seqs {
            if let Some(event) = rows::read_at(self.log, seq_from_sql(seq))? {
                self.store.load(self.tables, &mut rows, &event)?;
                (self.projection.fold)(&mut rows, &event);
            }
        }
        Ok(self.store.save(self.tables, &mut rows)?)
    }
}
