//! How far checkpoints and anchors are, as the file says. It is a help for operators, and no evidence.

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

/// How far the evidence for a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Status {
    /// Events whose hashes are in stored tiles.
    pub tree_size: u64,
    /// Events that the last checkpoint covers; None where none was made.
    pub signed: Option<u64>,
    /// When it was made, by the signer's clock.
    pub signed_at: Option<Timestamp>,
    /// Why signing fails now.
    pub error: Option<String>,
    /// The anchors that have been used; some of them where there are very many.
    pub anchors: Vec<AnchorStatus>,
    /// Anchors that are not among them.
    pub anchors_left_out: u64,
    /// Events that no anchor has a checkpoint of.
    pub unanchored_events: u64,
    /// When an anchor last took a checkpoint.
    pub anchored_at: Option<Timestamp>,
}

/// How far an anchor is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AnchorStatus {
    /// What it is called.
    pub name: String,
    /// Events that its last checkpoint covers.
    pub size: Option<u64>,
    /// When it took that.
    pub anchored_at: Option<Timestamp>,
    /// Since when it has failed.
    pub failed_since: Option<Timestamp>,
    /// Why.
    pub error: Option<String>,
}

impl AnchorStatus {
    /// Of an anchor that was given nothing yet.
    pub fn unused(name: String) -> AnchorStatus {
        AnchorStatus { name, size: None, anchored_at: None, failed_since: None, error: None }
    }
}

/// Reads how far the evidence is. A file of the schema's first version has none.
pub(crate) fn status(connection: &Connection) -> rusqlite::Result<Status> {
    let events = rows::head(connection)?.seq.get();
    // A view in the place of a table could be anything, and without end.
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
    // From one end of the table to the other: to look a name up, SQLite would read those that it is compared with
    // whole, however long they are.
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
        if anchor.name == SIGNER {
            status.error = anchor.error;
            continue;
        }
        anchored = anchored.max(anchor.size.unwrap_or(0));
        status.anchored_at = status.anchored_at.max(anchor.anchored_at);
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

/// What an anchor gave for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnchorReceipt {
    /// The anchor's name.
    pub anchor: String,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
    /// What it gave: of a time-stamp authority its token, in DER.
    pub receipt: Vec<u8>,
}

/// Hands on what anchors gave, until that fails. Names and receipts that are too long to be any are passed over, and
/// so are checkpoints that cannot be read: Annals did not write them, and verification names them.
pub(crate) fn each_receipt<E: From<rusqlite::Error>>(
    connection: &Connection,
    take: &mut dyn FnMut(AnchorReceipt) -> Result<(), E>,
) -> Result<(), E> {
    if !has_table(connection, "anchor_receipts")? || !has_table(connection, "checkpoints")? {
        return Ok(());
    }
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
