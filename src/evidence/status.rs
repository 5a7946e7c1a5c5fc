//! The state of checkpoints and anchors as the file has it: a help for operators, and no evidence.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::signer::SIGNER;
use super::tree::full_tiles;
use crate::event::Timestamp;
use crate::limits::{LISTED_MAX, TOKEN_BYTES_MAX};
use crate::log::rows::{self, bounded, integer_column, name_column, note_column, shown_column};
use crate::log::schema::has_table;
use crate::merkle::TILE_WIDTH;
use crate::note::SignedCheckpoint;

/// The state of the evidence for a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Events whose hashes are in stored tiles.
    pub tree_size: u64,
    /// Events that the last checkpoint covers; None if there is no checkpoint.
    pub signed: Option<u64>,
    /// The time of the last checkpoint, by the signer's clock.
    pub signed_at: Option<Timestamp>,
    /// The last error of the signer; None if signing works.
    pub error: Option<String>,
    /// The anchors that have been used; only some of them if there are very many.
    pub anchors: Vec<AnchorStatus>,
    /// The number of anchors that are not among them.
    pub anchors_left_out: u64,
    /// Events that no anchor has a checkpoint of.
    pub unanchored_events: u64,
    /// The last time at which any anchor took a checkpoint.
    pub anchored_at: Option<Timestamp>,
}

/// The state of one anchor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AnchorStatus {
    /// The name of the anchor.
    pub name: String,
    /// Events covered by the last checkpoint that the anchor took.
    pub size: Option<u64>,
    /// The time at which the anchor took that checkpoint.
    pub anchored_at: Option<Timestamp>,
    /// The time since which the anchor has failed; None while it works.
    pub failed_since: Option<Timestamp>,
    /// The last error of the anchor.
    pub error: Option<String>,
}

impl AnchorStatus {
    /// The state of an anchor that was given nothing yet.
    pub fn unused(name: String) -> AnchorStatus {
        AnchorStatus { name, size: None, anchored_at: None, failed_since: None, error: None }
    }
}

/// Reads the state of the evidence. A file of the schema's first version has none.
pub(crate) fn status(connection: &Connection) -> rusqlite::Result<Status> {
    let events = rows::head(connection)?.seq.get();
    // A view in the place of a table could return anything, and rows without end.
    let are_tables = ["tiles", "checkpoints", "anchors"].into_iter().map(|name| has_table(connection, name));
    if !are_tables.collect::<rusqlite::Result<Vec<bool>>>()?.into_iter().all(|is_table| is_table) {
        return Ok(Status { unanchored_events: events, ..Status::default() });
    }
    let sql =
        format!("SELECT size, {} FROM checkpoints ORDER BY size DESC LIMIT 1", integer_column("made_at"));
    let signed: Option<(i64, i64)> =
        connection.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let mut status = Status {
        tree_size: full_tiles(connection)?.saturating_mul(u64::from(TILE_WIDTH)),
        signed: signed.and_then(|(size, _)| u64::try_from(size).ok()),
        signed_at: signed.map(|(_, made_at)| Timestamp::from_micros(made_at)),
        ..Status::default()
    };
    // The whole table is scanned. To look up a name, SQLite would read every compared name in full, however
    // long it is.
    let sql = format!(
        "SELECT {}, {}, {}, {}, {} FROM anchors",
        shown_column("name"),
        integer_column("size"),
        integer_column("anchored_at"),
        integer_column("failed_since"),
        shown_column("error")
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut anchored = 0;
    while let Some(row) = rows.next()? {
        let anchor = AnchorStatus {
            name: row.get(0)?,
            size: row.get::<_, Option<i64>>(1)?.and_then(|size| u64::try_from(size).ok()),
            anchored_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros),
            failed_since: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros),
            error: row.get(4)?,
        };
        // The signer's own row is not an anchor, and would count as one that has everything.
        if anchor.name == SIGNER {
            status.error = anchor.error;
            continue;
        }
        anchored = anchored.max(anchor.size.unwrap_or(0));
        status.anchored_at = status.anchored_at.max(anchor.anchored_at);
        // The list is bounded, because the file may have any number of rows; the maxima above cover all of them.
        if status.anchors.len() < LISTED_MAX {
            status.anchors.push(anchor);
        } else {
            status.anchors_left_out += 1;
        }
    }
    status.anchors.sort_by(|one, other| one.name.cmp(&other.name));
    status.unanchored_events = events.saturating_sub(anchored);
    Ok(status)
}

/// The receipt of an anchor for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnchorReceipt {
    /// The anchor's name.
    pub anchor: String,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// The bytes of the receipt: for a time-stamp authority its token, in DER.
    pub receipt: Vec<u8>,
}

/// Calls `take` with each receipt, until a call fails. Skips names and receipts that are too long, and checkpoints
/// that cannot be read: Annals did not write them, and verification reports them.
pub(crate) fn each_receipt<E: From<rusqlite::Error>>(
    connection: &Connection,
    take: &mut dyn FnMut(AnchorReceipt) -> Result<(), E>,
) -> Result<(), E> {
    if !has_table(connection, "anchor_receipts")? || !has_table(connection, "checkpoints")? {
        return Ok(());
    }
    // CROSS JOIN keeps the order of the tables: receipts are scanned, and each checkpoint is looked up by its
    // integer key.
    let sql = format!(
        "SELECT {}, {}, {} FROM anchor_receipts r CROSS JOIN checkpoints c ON c.size = r.size",
        name_column("r.name"),
        note_column("c.note"),
        bounded("r.receipt", TOKEN_BYTES_MAX)
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (anchor, note): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
        let checkpoint = note.and_then(|note| note.parse().ok());
        if let (Some(anchor), Some(checkpoint), Some(receipt)) = (anchor, checkpoint, row.get(2)?) {
            take(AnchorReceipt { anchor, checkpoint, receipt })?;
        }
    }
    Ok(())
}
