//! Rows as they are handed from the thread that reads to those that check.

use std::ops::Range;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::row::RowRef;
use crate::event::{Digest, Seq};

/// Rows and bytes that are handed from thread to thread at once: enough that handing over costs
/// nothing, little enough that memory stays flat.
const CHUNK_ROWS: usize = 1_024;
const CHUNK_BYTES: usize = 1 << 20;

/// Rows in one piece of memory.
#[derive(Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    pub(super) rows: Vec<StoredAt>,
    pub(super) before_seq: i64,
    pub(super) before_hash: Vec<u8>,
}

pub(super) struct StoredAt {
    pub(super) seq: i64,
    event_id: Range<usize>,
    entry: Range<usize>,
    payload: Option<Range<usize>>,
    hash: Range<usize>,
}

impl Chunk {
    /// The chunk that starts after an event with this link.
    pub(super) fn after(seq: Seq, hash: &Digest) -> Chunk {
        Chunk { before_seq: seq.to_sql(), before_hash: hash.bytes().to_vec(), ..Chunk::default() }
    }

    pub(super) fn push(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let seq = row.get(0)?;
        let mut keep = |column: usize| -> rusqlite::Result<Option<Range<usize>>> {
            let blob: &[u8] = match row.get_ref(column)? {
                ValueRef::Null => return Ok(None),
                ValueRef::Blob(blob) => blob,
                // No value of another type is let pass by any check: it counts as empty.
                _ => &[],
            };
            let start = self.bytes.len();
            self.bytes.extend_from_slice(blob);
            Ok(Some(start..self.bytes.len()))
        };
        let (event_id, entry, payload, hash) = (keep(1)?, keep(2)?, keep(3)?, keep(4)?);
        // So does a NULL where none may be.
        self.rows.push(StoredAt {
            seq,
            event_id: event_id.unwrap_or_default(),
            entry: entry.unwrap_or_default(),
            payload,
            hash: hash.unwrap_or_default(),
        });
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= CHUNK_ROWS || self.bytes.len() >= CHUNK_BYTES
    }

    pub(super) fn row(&self, at: &StoredAt) -> RowRef<'_> {
        let bytes = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        RowRef {
            seq: at.seq,
            event_id: bytes(&at.event_id),
            entry: bytes(&at.entry),
            payload: at.payload.as_ref().map(bytes),
            hash: bytes(&at.hash),
        }
    }

    /// The chunk that follows: it starts after this one's last row.
    pub(super) fn next(&self) -> Chunk {
        let (before_seq, before_hash) = match self.rows.last() {
            Some(last) => (last.seq, self.row(last).hash.to_vec()),
            None => (self.before_seq, self.before_hash.clone()),
        };
        Chunk { before_seq, before_hash, ..Chunk::default() }
    }
}
