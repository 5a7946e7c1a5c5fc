//! Reading events ahead of who folds them: a thread reads and decodes, while another writes tables.

use std::path::Path;
use std::thread::{self, Builder};

use crossbeam_channel::bounded;
use rusqlite::Connection;

use super::apply::ApplyError;
use crate::event::Seq;
use crate::limits::{FOLD_BYTES_MAX, FOLD_EVENTS_MAX};
use crate::log::FileIdentity;
use crate::log::open::{self, OpenError};
use crate::log::rows::{self, ReadRow};

/// Parts that wait to be folded, and parts that wait to be freed.
const PARTS_MAX: usize = 2;

/// A connection that reads ahead. It sees what is committed: of the log that is everything, because whoever
/// folds holds the turn at writing.
pub(super) struct Ahead {
    connection: Connection,
}

impl Ahead {
    pub(super) fn open(path: &Path, database: FileIdentity) -> Result<Ahead, OpenError> {
        let connection = open::open_reader(path)?;
        database.require_at(path)?;
        Ok(Ahead { connection })
    }

    /// Hands over the events after a place in parts, as long as more are wanted.
    pub(super) fn read(
        &mut self,
        position: Seq,
        until: Seq,
        mut wants_more: impl FnMut() -> bool,
        mut fold: impl FnMut(&[ReadRow]) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let connection = &mut self.connection;
        thread::scope(|scope| {
            let (sender, receiver) = bounded(PARTS_MAX);
            // To free a part takes about as long as to decode it.
            let (used, to_free) = bounded::<Vec<ReadRow>>(PARTS_MAX + 1);
            let reading = move || {
                let mut position = position;
                loop {
                    let part = read_after(connection, position, until);
                    let last = part.as_ref().ok().and_then(|part| part.last()).map(|last| last.seq);
                    if sender.send(part).is_err() {
                        break;
                    }
                    match last {
                        Some(last) if last < until => position = last,
                        _ => break,
                    }
                    to_free.try_iter().for_each(drop);
                }
            };
            let reader = Builder::new().name("annals-reading".to_owned()).spawn_scoped(scope, reading);
            reader.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            while wants_more() {
                let Ok(part) = receiver.recv() else { break };
                let part = part?;
                if part.is_empty() {
                    break;
                }
                fold(&part)?;
                let _ = used.try_send(part);
            }
            Ok(())
        })
    }
}

/// The events after a place that are folded at once.
pub(super) fn read_after(
    connection: &Connection,
    position: Seq,
    until: Seq,
) -> rusqlite::Result<Vec<ReadRow>> {
    rows::read_after(connection, position, until, FOLD_EVENTS_MAX, FOLD_BYTES_MAX)
}
