//! eventcore-sqlite: the store of eventcore, without its commands.
//!
//! Each producer has a stream of its own, so that none runs into another's version. The store has one connection,
//! behind a lock.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use annals_peer_harness::anyhow::{self, Context as _};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use eventcore_sqlite::SqliteEventStore;
use eventcore_sqlite::rusqlite::Connection;
use eventcore_types::{Event, EventStore as _, StreamId, StreamVersion, StreamWrites};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

const ABOUT: About = About {
    peer: "eventcore-sqlite",
    package: Some("eventcore-sqlite"),
    lock: include_str!("../Cargo.lock"),
    variants: &[Variant {
        name: "store",
        label: "eventcore-sqlite",
        durability: "WAL, as SqliteEventStore::new sets it, and synchronous=FULL, SQLite's default",
        source: "src/lib.rs, open_connection; read back from the connection",
        durable: true,
        batches: true,
        note: "SqliteEventStore::append_events alone, without the reads that a command does.",
    }],
};

const FILE: &str = "events.db";

#[derive(Clone, Deserialize, Serialize)]
struct Noted {
    stream: StreamId,
    message: String,
}

impl Event for Noted {
    fn stream_id(&self) -> &StreamId {
        &self.stream
    }

    fn event_type_name() -> &'static str {
        "note"
    }
}

struct EventCore {
    runtime: Runtime,
    store: Arc<SqliteEventStore>,
    settings: Vec<(String, String)>,
}

impl Peer for EventCore {
    type Producer = Stream;

    fn open(folder: &Path, _work: &Work) -> anyhow::Result<EventCore> {
        let connection = Connection::open(folder.join(FILE))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let journal_mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
        let settings =
            vec![("journal_mode".into(), journal_mode), ("synchronous".into(), synchronous.to_string())];
        let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
        let store = SqliteEventStore::from_connection(connection);
        runtime.block_on(store.migrate())?;
        Ok(EventCore { runtime, store: Arc::new(store), settings })
    }

    fn producer(&self, number: usize) -> anyhow::Result<Stream> {
        Ok(Stream {
            runtime: self.runtime.handle().clone(),
            store: Arc::clone(&self.store),
            id: StreamId::try_new(format!("producer-{number}"))?,
            events: 0,
        })
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.settings.clone())
    }

    fn close(self) -> anyhow::Result<()> {
        drop(self.store);
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let connection = Connection::open(folder.join(FILE))?;
        let events: i64 =
            connection.query_row("SELECT count(*) FROM eventcore_events", [], |row| row.get(0))?;
        u64::try_from(events).context("a count")
    }
}

/// One producer's stream, and how long it is.
struct Stream {
    runtime: tokio::runtime::Handle,
    store: Arc<SqliteEventStore>,
    id: StreamId,
    events: usize,
}

impl Producer for Stream {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        self.append_batch(&[payload])
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let expected = StreamVersion::new(self.events);
        let mut writes = StreamWrites::new().register_stream(self.id.clone(), expected)?;
        for payload in payloads {
            writes = writes.append(Noted { stream: self.id.clone(), message: (*payload).to_owned() })?;
        }
        self.runtime.block_on(self.store.append_events(writes))?;
        self.events += payloads.len();
        Ok(())
    }
}

fn main() -> ExitCode {
    measure::<EventCore>(&ABOUT)
}
