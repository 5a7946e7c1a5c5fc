//! The rows of a log, taken out of the file, changed at will, and put back.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each test file uses a part of it, and fails where it cannot go on"
)]

use std::path::Path;

use annals::chain;
use annals::entry::Entry;
use annals::{Digest, EventId, Kind, PayloadRedacted, Timestamp};
use rusqlite::params;

use crate::support::sqlite;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) event_id: Vec<u8>,
    pub(crate) entry: Vec<u8>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) hash: Vec<u8>,
}

impl Row {
    /// Changes fields of the entry, if it is one.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Entry)) {
        if let Ok(mut entry) = Entry::decode(&self.entry) {
            change(&mut entry);
            self.entry.clear();
            entry.encode(&mut self.entry).unwrap();
        }
    }

    /// Gives the entry the digest of the payload that is there.
    pub(crate) fn digest_again(&mut self) {
        if let Some(cell) = self.payload.clone() {
            self.change(|entry| entry.payload_digest = chain::payload_digest(&cell));
        }
    }
}

/// Everything in a log that is evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    pub(crate) redactions: Vec<i64>,
}

impl Rows {
    pub(crate) fn read(path: &Path) -> Rows {
        let connection = sqlite(path);
        let mut rows =
            connection.prepare("SELECT seq, event_id, entry, payload, hash FROM log ORDER BY seq").unwrap();
        let rows = rows.query_map([], |row| {
            Ok(Row {
                seq: row.get(0)?,
                event_id: row.get(1)?,
                entry: row.get(2)?,
                payload: row.get(3)?,
                hash: row.get(4)?,
            })
        });
        let rows = rows.unwrap().collect::<Result<_, _>>().unwrap();
        let mut redactions = connection.prepare("SELECT seq FROM redactions ORDER BY seq").unwrap();
        let redactions =
            redactions.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        Rows { rows, redactions }
    }

    /// Puts them in the place of those in the file. False if the table takes no such rows.
    pub(crate) fn write(&self, path: &Path) -> bool {
        let connection = sqlite(path);
        connection.pragma_update(None, "synchronous", "off").unwrap();
        let triggers: Vec<(String, String)> = connection
            .prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        connection.execute_batch("BEGIN").unwrap();
        for (name, _) in &triggers {
            connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
        }
        connection.execute_batch("DELETE FROM log; DELETE FROM redactions").unwrap();
        for row in &self.rows {
            let sql = "INSERT INTO log (seq, event_id, entry, payload, hash) VALUES (?1, ?2, ?3, ?4, ?5)";
            let values = params![row.seq, row.event_id, row.entry, row.payload, row.hash];
            if connection.execute(sql, values).is_err() {
                return false;
            }
        }
        for seq in &self.redactions {
            if connection.execute("INSERT INTO redactions (seq) VALUES (?1)", [seq]).is_err() {
                return false;
            }
        }
        for (_, sql) in &triggers {
            connection.execute_batch(sql).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        true
    }

    pub(crate) fn row(&mut self, seq: i64) -> &mut Row {
        self.rows.iter_mut().find(|row| row.seq == seq).unwrap()
    }

    /// Links every row anew from a place on, from the entries as they stand.
    pub(crate) fn link_again(&mut self, from: usize) {
        for at in from..self.rows.len() {
            let before = at
                .checked_sub(1)
                .and_then(|before| <[u8; 32]>::try_from(self.rows[before].hash.as_slice()).ok());
            let before = before.map_or(Digest::ZERO, Digest::from_bytes);
            let row = &mut self.rows[at];
            row.hash = chain::link(&before, &row.entry).bytes().to_vec();
        }
    }

    /// Appends an event with this payload cell, well chained.
    pub(crate) fn append(&mut self, kind: u16, version: u8, payload: &[u8]) -> i64 {
        let seq = self.rows.last().map_or(1, |row| row.seq + 1);
        let cell = [&[7; 16], payload].concat();
        let mut id = [9; 16];
        id[..8].copy_from_slice(&seq.to_be_bytes());
        let entry = Entry {
            format: 1,
            seq: u64::try_from(seq).unwrap(),
            event_id: EventId::from_bytes(id),
            kind,
            kind_version: version,
            session: None,
            occurred_at: None,
            recorded_at: Timestamp::from_micros(1_795_176_000_000_000),
            principal: None,
            encoding: 0,
            payload_digest: chain::payload_digest(&cell),
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes).unwrap();
        self.rows.push(Row {
            seq,
            event_id: id.to_vec(),
            entry: bytes,
            payload: Some(cell),
            hash: Vec::new(),
        });
        self.link_again(self.rows.len() - 1);
        seq
    }

    /// Appends a licence for these events, and does nothing to them.
    pub(crate) fn licence(&mut self, seqs: &[u64]) -> i64 {
        let event = PayloadRedacted {
            seqs: seqs.to_vec(),
            actor: "mallory".to_owned(),
            reason: "none".to_owned(),
            authority: None,
        };
        let payload = bincode::encode_to_vec(&event, bincode::config::standard()).unwrap();
        self.append(Kind::PayloadRedacted.code(), 1, &payload)
    }
}
