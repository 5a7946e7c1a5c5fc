//! libro: a hash-chained audit log with a store in SQLite.
//!
//! Its store appends one entry a call, which is one transaction, through `&mut self`: producers take turns at a lock,
//! under which each entry is made, as it names the hash of the one before. No chain is kept in memory, which libro
//! would do too.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use annals_peer_harness::anyhow::{self, Context as _};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use libro::store::AuditStore as _;
use libro::{AuditEntry, EventSeverity, SqliteStore};
use rusqlite::Connection;

const WAL: &str = "wal";

const ABOUT: About = About {
    peer: "libro",
    package: Some("libro"),
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: "as-it-comes",
            label: "libro",
            durability: "a rollback journal and synchronous=FULL, SQLite's defaults, which libro leaves as they are",
            source: "src/sqlite_store.rs, SqliteStore::open; https://sqlite.org/pragma.html#pragma_synchronous",
            durable: true,
            batches: false,
            note: "Hash-chained. One entry a transaction. GPL-3.0-only.",
        },
        Variant {
            name: WAL,
            label: "libro, file set to WAL",
            durability: "WAL and synchronous=FULL; the file was set to WAL before libro opened it",
            source: "https://sqlite.org/wal.html, on journal mode being kept in the file",
            durable: true,
            batches: false,
            note: "What libro does not do by itself, and a user could.",
        },
    ],
};

const FILE: &str = "audit.db";

struct Chain {
    store: SqliteStore,
    head: String,
}

struct Libro {
    chain: Arc<Mutex<Chain>>,
    settings: Vec<(String, String)>,
}

impl Peer for Libro {
    type Producer = Appender;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<Libro> {
        let path = folder.join(FILE);
        // Another connection of the same SQLite: of the file's settings it says what libro's own would say.
        let other = Connection::open(&path)?;
        if work.variant == WAL {
            other.pragma_update(None, "journal_mode", "WAL")?;
        }
        let store = SqliteStore::open(&path)?;
        let journal_mode: String = other.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let synchronous: i64 = other.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        let settings =
            vec![("journal_mode".into(), journal_mode), ("synchronous".into(), synchronous.to_string())];
        Ok(Libro { chain: Arc::new(Mutex::new(Chain { store, head: String::new() })), settings })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Appender> {
        Ok(Appender(Arc::clone(&self.chain)))
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.settings.clone())
    }

    fn close(self) -> anyhow::Result<()> {
        drop(self.chain);
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        const PAGE_ENTRIES: usize = 10_000;
        let store = SqliteStore::open(folder.join(FILE))?;
        let verified = store.verify_streamed(PAGE_ENTRIES)?;
        u64::try_from(verified).context("a count")
    }
}

struct Appender(Arc<Mutex<Chain>>);

impl Producer for Appender {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        let details = serde_json::Value::from(payload);
        let mut chain = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = AuditEntry::new(EventSeverity::Info, "bench", "note", details, chain.head.as_str());
        chain.store.append(&entry)?;
        chain.head = entry.hash().to_owned();
        Ok(())
    }
}

fn main() -> ExitCode {
    measure::<Libro>(&ABOUT)
}
