//! The limit: the rows of Annals' log through rusqlite, by one thread that commits in groups, and nothing else.
//!
//! The columns, their sizes, the page size and the size at which the write-ahead log is checkpointed are Annals' own.
//! Producers make an id, a salt and a digest on their own threads, as Annals' callers do. Nothing is encoded,
//! chained, checked or looked up.

use std::path::Path;
use std::process::ExitCode;

use annals_peer_harness::anyhow::{self, Context as _};
use annals_peer_harness::group::{Committer, Handle, Sink};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use rusqlite::{Connection, params};
use uuid::Uuid;

const ABOUT: About = About {
    peer: "rusqlite by hand",
    package: Some("rusqlite"),
    lock: include_str!("../Cargo.lock"),
    variants: &[Variant {
        name: "group-commit",
        label: "rusqlite by hand",
        durability: "WAL, synchronous=FULL, a commit for each group of events",
        source: "https://sqlite.org/pragma.html#pragma_synchronous; read back from the connection",
        durable: true,
        batches: true,
        note: "The limit: rows of the same columns and sizes, inserted by one thread. Not chained, not checked.",
    }],
};

const FILE: &str = "log.db";

/// As Annals: `PAGE_BYTES` in src/log/schema.rs.
const PAGE_BYTES: u32 = 8_192;

/// As Annals: `WAL_BYTES_CHECKPOINT` in src/limits.rs.
const WAL_BYTES_CHECKPOINT: u32 = 64 << 20;

/// What the entry of an event without a session takes up in Annals, from the 251st event on.
const ENTRY_BYTES: usize = 67;

/// What Annals stores before the text of a note, and the lengths and absent fields that it stores around it.
const SALT_BYTES: usize = 16;
const FIELDS_BYTES: usize = 7;

struct Row {
    event_id: Uuid,
    payload: Vec<u8>,
    digest: [u8; 32],
}

impl Row {
    fn new(payload: &str) -> anyhow::Result<Row> {
        let mut salted = Vec::with_capacity(SALT_BYTES + FIELDS_BYTES + payload.len());
        salted.resize(SALT_BYTES, 0);
        getrandom::fill(&mut salted)?;
        salted.extend_from_slice(&[0; FIELDS_BYTES]);
        salted.extend_from_slice(payload.as_bytes());
        let digest = *blake3::hash(&salted).as_bytes();
        Ok(Row { event_id: Uuid::now_v7(), payload: salted, digest })
    }
}

struct Log {
    connection: Connection,
    seq: i64,
}

impl Sink for Log {
    type Item = Row;

    fn commit(&mut self, rows: &mut Vec<Row>) -> anyhow::Result<()> {
        let tx = self.connection.transaction()?;
        {
            let mut insert = tx.prepare_cached("INSERT INTO log VALUES (?, ?, ?, ?, ?)")?;
            for row in rows.iter() {
                self.seq += 1;
                let entry = [1_u8; ENTRY_BYTES];
                insert.execute(params![self.seq, row.event_id.as_bytes(), entry, row.payload, row.digest])?;
            }
        }
        Ok(tx.commit()?)
    }
}

struct ByHand {
    committer: Committer<Log>,
    settings: Vec<(String, String)>,
}

impl Peer for ByHand {
    type Producer = Rows;

    fn open(folder: &Path, _work: &Work) -> anyhow::Result<ByHand> {
        let connection = Connection::open(folder.join(FILE))?;
        connection.execute_batch(&format!(
            "PRAGMA page_size = {PAGE_BYTES};
             PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = {};
             CREATE TABLE log (
               seq      INTEGER PRIMARY KEY,
               event_id BLOB NOT NULL UNIQUE,
               entry    BLOB NOT NULL,
               payload  BLOB,
               hash     BLOB NOT NULL
             ) STRICT;",
            WAL_BYTES_CHECKPOINT / PAGE_BYTES
        ))?;
        let setting = |name: &str| -> anyhow::Result<(String, String)> {
            let value: rusqlite::types::Value =
                connection.pragma_query_value(None, name, |row| row.get(0))?;
            let text = match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => anyhow::bail!("{name} is {other:?}"),
            };
            Ok((name.to_owned(), text))
        };
        let settings = vec![setting("journal_mode")?, setting("synchronous")?, setting("page_size")?];
        Ok(ByHand { committer: Committer::start(Log { connection, seq: 0 })?, settings })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Rows> {
        Ok(Rows(self.committer.handle()))
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.settings.clone())
    }

    fn close(self) -> anyhow::Result<()> {
        self.committer.stop()?.connection.close().map_err(|(_, error)| error)?;
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let connection = Connection::open(folder.join(FILE))?;
        let events: i64 = connection.query_row("SELECT count(*) FROM log", [], |row| row.get(0))?;
        u64::try_from(events).context("a count")
    }
}

struct Rows(Handle<Row>);

impl Producer for Rows {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        self.0.commit(Row::new(payload)?)
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let rows = payloads.iter().map(|payload| Row::new(payload)).collect::<anyhow::Result<_>>()?;
        self.0.commit_several(rows)
    }
}

fn main() -> ExitCode {
    measure::<ByHand>(&ABOUT)
}
