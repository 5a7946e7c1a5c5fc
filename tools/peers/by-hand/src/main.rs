//! The limit: the rows of Annals' log through rusqlite, by one thread that commits in groups, and nothing else.
//!
//! The columns, their sizes, the page size and the size at which the write-ahead log is checkpointed are Annals' own.
//! Beside that there are two other ways in which somebody might write it: with the sizes that SQLite has by itself, and
//! without a thread, where each producer commits its own event. Producers make an id, a salt and a digest on their own threads, as Annals' callers do. Nothing is encoded,
//! chained, checked or looked up.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use annals_peer_harness::anyhow::{self, Context as _};
use annals_peer_harness::group::{Committer, Handle, Sink};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use uuid::Uuid;

const GROUP: &str = "group-commit";
const DEFAULT_SIZES: &str = "default-sizes";
const LOCK: &str = "lock";

const SOURCE: &str = "https://sqlite.org/pragma.html#pragma_synchronous; read back from the connection";

const ABOUT: About = About {
    peer: "rusqlite by hand",
    package: Some("rusqlite"),
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: GROUP,
            label: "rusqlite by hand",
            durability: "WAL, synchronous=FULL, a commit for each group of events",
            source: SOURCE,
            durable: true,
            batches: true,
            note: "The limit: rows of the same columns and sizes, inserted by one thread. Not chained, not checked.",
        },
        Variant {
            name: DEFAULT_SIZES,
            label: "rusqlite by hand, SQLite's sizes",
            durability: "WAL, synchronous=FULL, a commit for each group of events",
            source: SOURCE,
            durable: true,
            batches: true,
            note: "As the limit, with SQLite's own page size, and its own size at which a log is checkpointed.",
        },
        Variant {
            name: LOCK,
            label: "rusqlite by hand, a lock",
            durability: "WAL, synchronous=FULL, a commit for each call",
            source: SOURCE,
            durable: true,
            batches: true,
            note: "As the limit, without its thread: producers take turns at a lock, each committing its own.",
        },
    ],
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

impl Log {
    fn create(folder: &Path, variant: &str) -> anyhow::Result<Log> {
        let connection = Connection::open(folder.join(FILE))?;
        if variant != DEFAULT_SIZES {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
            connection.pragma_update(None, "wal_autocheckpoint", WAL_BYTES_CHECKPOINT / PAGE_BYTES)?;
        }
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE log (
               seq      INTEGER PRIMARY KEY,
               event_id BLOB NOT NULL UNIQUE,
               entry    BLOB NOT NULL,
               payload  BLOB,
               hash     BLOB NOT NULL
             ) STRICT",
        )?;
        Ok(Log { connection, seq: 0 })
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        ["journal_mode", "synchronous", "page_size", "wal_autocheckpoint"]
            .into_iter()
            .map(|name| {
                let value: Value = self.connection.pragma_query_value(None, name, |row| row.get(0))?;
                let value = match value {
                    Value::Integer(number) => number.to_string(),
                    Value::Text(text) => text,
                    other => anyhow::bail!("{name} is {other:?}"),
                };
                Ok((name.to_owned(), value))
            })
            .collect()
    }
}

struct ByHand {
    writer: Writer,
    settings: Vec<(String, String)>,
}

enum Writer {
    Thread(Committer<Log>),
    Lock(Arc<Mutex<Log>>),
}

impl Peer for ByHand {
    type Producer = Rows;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<ByHand> {
        let log = Log::create(folder, work.variant)?;
        let settings = log.settings()?;
        let writer = match work.variant {
            LOCK => Writer::Lock(Arc::new(Mutex::new(log))),
            _ => Writer::Thread(Committer::start(log)?),
        };
        Ok(ByHand { writer, settings })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Rows> {
        Ok(match &self.writer {
            Writer::Thread(committer) => Rows::Thread(committer.handle()),
            Writer::Lock(log) => Rows::Lock(Arc::clone(log)),
        })
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.settings.clone())
    }

    fn close(self) -> anyhow::Result<()> {
        // The last connection checkpoints when it is dropped; an error of that would show when events are counted.
        match self.writer {
            Writer::Thread(committer) => drop(committer.stop()?),
            Writer::Lock(log) => drop(log),
        }
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let connection = Connection::open(folder.join(FILE))?;
        let events: i64 = connection.query_row("SELECT count(*) FROM log", [], |row| row.get(0))?;
        u64::try_from(events).context("a count")
    }
}

enum Rows {
    Thread(Handle<Row>),
    Lock(Arc<Mutex<Log>>),
}

impl Producer for Rows {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        let row = Row::new(payload)?;
        match self {
            Rows::Thread(handle) => handle.commit(row),
            Rows::Lock(log) => locked(log).commit(&mut vec![row]),
        }
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let mut rows =
            payloads.iter().map(|payload| Row::new(payload)).collect::<anyhow::Result<Vec<_>>>()?;
        match self {
            Rows::Thread(handle) => handle.commit_several(rows),
            Rows::Lock(log) => locked(log).commit(&mut rows),
        }
    }
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main() -> ExitCode {
    measure::<ByHand>(&ABOUT)
}
