//! Groups of tables at one position, which go on together.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, Transaction};

use crate::event::Seq;
use crate::file::FileIdentity;
use crate::log::{self, OpenError};
use crate::projection::schedule::ahead::{Ahead, Part};
use crate::projection::tables::apply::{Fold, Texts};
use crate::projection::tables::{self, Cursor, Projection, Stage, Store, Throttling, apply};

/// A projection's tables of one stage, and their cursor.
#[derive(Clone)]
pub(in crate::projection) struct Member {
    pub(in crate::projection) projection: &'static Projection,
    pub(in crate::projection) stage: Stage,
    pub(in crate::projection) cursor: Cursor,
}

impl Member {
    fn is_same(&self, other: &Member) -> bool {
        self.is_of_same_tables(other) && self.cursor == other.cursor
    }

    fn is_of_same_tables(&self, other: &Member) -> bool {
        self.projection.name == other.projection.name && self.stage == other.stage
    }

    /// Returns whether nobody else moved the cursor.
    pub(in crate::projection) fn is_as_stored(&self, tx: &Transaction<'_>) -> rusqlite::Result<bool> {
        let stored = tables::cursor(tx, self.projection.name, self.stage)?;
        Ok(stored.as_ref() == Some(&self.cursor))
    }

    /// Moves the cursor, within a transaction in which nobody else moved it.
    pub(in crate::projection) fn advance(&self, tx: &Transaction<'_>, to: Seq) -> rusqlite::Result<()> {
        tables::advance(tx, self.projection.name, self.stage, &self.cursor, to)
    }

    /// Puts the tables of a rebuild in the place of the live ones, if they hold the whole log. To be called after
    /// the live ones were written, because it drops these.
    pub(in crate::projection) fn switch(
        &self,
        tx: &Transaction<'_>,
        position: Seq,
        head: Seq,
    ) -> rusqlite::Result<()> {
        if self.switches(position, head) { self.projection.switch(tx) } else { Ok(()) }
    }

    fn switches(&self, position: Seq, head: Seq) -> bool {
        // Callers read `head` in the transaction that writes, so no event can be missing from the tables.
        self.stage == Stage::Building && position >= head
    }

    pub(in crate::projection) fn fold(&self, log: &Connection) -> rusqlite::Result<Fold> {
        Fold::new(self.projection, self.stage, log, Texts::Referred)
    }
}

/// Tables at one position, and the thread that folds the next events for them.
pub(in crate::projection) struct Group {
    members: Vec<Member>,
    throttling: Throttling,
    /// The events that each of them skips.
    skips: Vec<HashSet<Seq>>,
    has_switched: bool,
    pub(in crate::projection) ahead: Ahead,
}

impl Group {
    /// Starts the thread that folds for tables at `position`. Fails if the file at `path` is not `database`,
    /// because another file was put in its place.
    pub(in crate::projection) fn start(
        members: Vec<Member>,
        throttling: Throttling,
        (path, database): (&Path, FileIdentity),
        position: Seq,
    ) -> Result<Group, OpenError> {
        let sqlite = |source| OpenError::sqlite(path, "its read tables cannot be read", source);
        // Checked before the file is opened, so that SQLite does not open another log with this one's
        // write-ahead log. Checked again after that, because the file can be replaced while it is opened.
        database.require_at(path)?;
        let connection = log::open_reader(path)?;
        database.require_at(path)?;
        let folds = members.iter().map(|member| member.fold(&connection)).collect::<Result<Vec<_>, _>>();
        let folds = folds.map_err(sqlite)?;
        let skips = folds.iter().map(|fold| fold.skips().clone()).collect();
        let ahead = Ahead::start(connection, folds, position)
            .map_err(|error| OpenError::io(path, "a thread cannot be started", error))?;
        Ok(Group { members, throttling, skips, has_switched: false, ahead })
    }

    pub(in crate::projection) fn throttling(&self) -> Throttling {
        self.throttling
    }

    pub(in crate::projection) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(in crate::projection) fn into_members(self) -> Vec<Member> {
        self.members
    }

    /// Returns whether it is the group of these tables, with their cursors.
    pub(in crate::projection) fn is_of(&self, members: &[Member]) -> bool {
        self.members.len() == members.len()
            && self.members.iter().zip(members).all(|(own, other)| own.is_same(other))
    }

    /// Returns whether some of these tables are among its own.
    pub(in crate::projection) fn has_some_of(&self, members: &[Member]) -> bool {
        self.members.iter().any(|own| members.iter().any(|other| own.is_of_same_tables(other)))
    }

    /// Returns whether nobody else moved a cursor or recorded a skip.
    pub(in crate::projection) fn is_as_stored(&self, tx: &Transaction<'_>) -> rusqlite::Result<bool> {
        for (member, skips) in self.members.iter().zip(&self.skips) {
            if !member.is_as_stored(tx)? || apply::skips(tx, member.projection)? != *skips {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the changes of a part to its tables.
    pub(in crate::projection) fn save(&self, tx: &Transaction<'_>, part: &Part) -> rusqlite::Result<()> {
        // A part has the changes of each fold, and the folds were made in the order of the members.
        let mut each = self.members.iter().zip(&part.changes);
        each.try_for_each(|(member, changes)| Store::of(member.stage).save(tx, changes))
    }

    /// Records that its tables hold the events up to `position`, of a log that ends at `head`.
    pub(in crate::projection) fn move_to(&mut self, position: Seq, head: Seq) {
        for member in &mut self.members {
            self.has_switched |= member.switches(position, head);
            member.cursor.position = position;
        }
    }

    /// Returns whether tables of a rebuild have become the live ones. The parts that are folded ahead are of
    /// no use then.
    pub(in crate::projection) fn has_switched(&self) -> bool {
        self.has_switched
    }
}
