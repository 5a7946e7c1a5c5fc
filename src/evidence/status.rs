//! How far checkpoints and anchors are, as the file says. It is a help for operators, and no evidence.

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use super::signer::SIGNER;
use super::tree::{full_tiles, has_table};
use crate::event::Timestamp;
use crate::log::rows;
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
    /// The anchors that have been used.
    pub anchors: Vec<AnchorStatus>,
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
    let signed: Option<(i64, i64)> = connection
        .query_row("SELECT size, made_at FROM checkpoints ORDER BY size DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let mut all: Vec<AnchorStatus> = connection
        .prepare("SELECT name, size, anchored_at, failed_since, error FROM anchors ORDER BY name")?
        .query_map([], |row| {
            Ok(AnchorStatus {
                name: row.get(0)?,
                size: row.get::<_, Option<i64>>(1)?.and_then(|size| u64::try_from(size).ok()),
                anchored_at: row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros),
                failed_since: row.get::<_, Option<i64>>(3)?.map(Timestamp::from_micros),
                error: row.get(4)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let signer = all.iter().position(|anchor| anchor.name == SIGNER).map(|place| all.remove(place));
    let anchored = all.iter().filter_map(|anchor| anchor.size).max().unwrap_or(0);
    Ok(Status {
        tree_size: full_tiles(connection)?.saturating_mul(u64::from(TILE_WIDTH)),
        signed: signed.and_then(|(size, _)| u64::try_from(size).ok()),
        signed_at: signed.map(|(_, made_at)| Timestamp::from_micros(made_at)),
        error: signer.and_then(|signer| signer.error),
        unanchored_events: events.saturating_sub(anchored),
        anchored_at: all.iter().filter_map(|anchor| anchor.anchored_at).max(),
        anchors: all,
    })
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

/// Reads what anchors gave, in the order of the checkpoints' sizes.
pub(crate) fn receipts(connection: &Connection) -> rusqlite::Result<Vec<AnchorReceipt>> {
    if !has_table(connection, "anchor_receipts")? {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(
        "SELECT r.name, c.note, r.receipt FROM anchor_receipts r JOIN checkpoints c USING (size) ORDER BY size, r.name",
    )?;
    let mut rows = statement.query([])?;
    let mut receipts = Vec::new();
    while let Some(row) = rows.next()? {
        let note: String = row.get(1)?;
        // A checkpoint that cannot be read was not written by Annals; verification names it.
        if let Ok(checkpoint) = note.parse() {
            receipts.push(AnchorReceipt { anchor: row.get(0)?, checkpoint, receipt: row.get(2)? });
        }
    }
    Ok(receipts)
}
