//! sqlite-es, the SQLite repository of cqrs-es: the repository alone, and commands through the framework.
//!
//! Each producer has streams ("aggregates") of its own, so that none runs into another's version. They are short,
//! because the framework reads a stream before it appends to it.

mod note;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use annals_peer_harness::anyhow::{self, Context as _};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use cqrs_es::persist::{PersistedEventRepository as _, SerializedEvent};
use cqrs_es::{Aggregate as _, DomainEvent as _};
use sqlite_es::{SqliteCqrs, SqliteEventRepository, sqlite_cqrs};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::runtime::Runtime;

use note::{Log, LogNotes, Noted};

const REPOSITORY: &str = "repository";

const DURABILITY: &str =
    "WAL and synchronous=FULL; its own default_sqlite_pool has synchronous=NORMAL, which is less";
const SOURCE: &str = "src/cqrs.rs, default_sqlite_pool; read back from the connection";

const ABOUT: About = About {
    peer: "sqlite-es",
    package: Some("sqlite-es"),
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: REPOSITORY,
            label: "sqlite-es",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "SqliteEventRepository::persist alone, without the reads that the framework does.",
        },
        Variant {
            name: "framework",
            label: "sqlite-es with cqrs-es",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "CqrsFramework::execute, which reads a stream, handles a command and appends what follows from it.",
        },
    ],
};

const FILE: &str = "events.db";

/// As its own `default_sqlite_pool`. SQLite lets one of them write at a time.
const CONNECTIONS: u32 = 10;

/// Events of a stream, unless a batch has more.
const STREAM_EVENTS: usize = 8;

/// Its events table, from its migrations/20221114171845_init.sql; what else that has is not used here.
const SCHEMA: &str = "
CREATE TABLE events
(
  aggregate_type text                          NOT NULL,
  aggregate_id   text                          NOT NULL,
  sequence       integer CHECK (sequence >= 0) NOT NULL,
  event_type     text                          NOT NULL,
  event_version  text                          NOT NULL,
  payload        text                          NOT NULL,
  metadata       text                          NOT NULL,
  PRIMARY KEY (aggregate_type, aggregate_id, sequence)
) STRICT";

fn options(folder: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(folder.join(FILE))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
}

struct SqliteEs {
    runtime: Runtime,
    pool: SqlitePool,
    store: Store,
    settings: Vec<(String, String)>,
}

#[derive(Clone)]
enum Store {
    Repository(Arc<SqliteEventRepository>),
    Framework(Arc<SqliteCqrs<Log>>),
}

impl Peer for SqliteEs {
    type Producer = Streams;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<SqliteEs> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let (pool, settings) = runtime.block_on(async {
            let pool =
                SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options(folder)).await?;
            sqlx::query(SCHEMA).execute(&pool).await?;
            let journal_mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await?;
            let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&pool).await?;
            let settings =
                vec![("journal_mode".into(), journal_mode), ("synchronous".into(), synchronous.to_string())];
            anyhow::Ok((pool, settings))
        })?;
        let store = match work.variant {
            REPOSITORY => Store::Repository(Arc::new(SqliteEventRepository::new(pool.clone()))),
            _ => Store::Framework(Arc::new(sqlite_cqrs(pool.clone(), Vec::new(), ()))),
        };
        Ok(SqliteEs { runtime, pool, store, settings })
    }

    fn producer(&self, number: usize) -> anyhow::Result<Streams> {
        Ok(Streams {
            runtime: self.runtime.handle().clone(),
            store: self.store.clone(),
            number,
            stream: 0,
            events: 0,
        })
    }

    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        Ok(self.settings.clone())
    }

    fn close(self) -> anyhow::Result<()> {
        self.runtime.block_on(self.pool.close());
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options(folder)).await?;
            let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events").fetch_one(&pool).await?;
            pool.close().await;
            u64::try_from(events).context("a count")
        })
    }
}

/// One producer, and how far its present stream is.
struct Streams {
    runtime: tokio::runtime::Handle,
    store: Store,
    number: usize,
    stream: u64,
    events: usize,
}

impl Streams {
    fn commit(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        if self.events >= STREAM_EVENTS {
            self.stream += 1;
            self.events = 0;
        }
        let stream = format!("{}-{}", self.number, self.stream);
        let notes = payloads.iter().map(|payload| Noted { message: (*payload).to_owned() });
        match &self.store {
            Store::Repository(repository) => {
                let events = notes
                    .enumerate()
                    .map(|(nth, note)| serialized(&stream, self.events + nth + 1, &note))
                    .collect::<anyhow::Result<Vec<_>>>()?;
                self.runtime.block_on(repository.persist::<Log>(&events, None))?;
            }
            Store::Framework(framework) => {
                self.runtime.block_on(framework.execute(&stream, LogNotes(notes.collect())))?;
            }
        }
        self.events += payloads.len();
        Ok(())
    }
}

impl Producer for Streams {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        self.commit(&[payload])
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        self.commit(payloads)
    }
}

fn serialized(stream: &str, sequence: usize, note: &Noted) -> anyhow::Result<SerializedEvent> {
    Ok(SerializedEvent::new(
        stream.to_owned(),
        sequence,
        Log::TYPE.to_owned(),
        note.event_type(),
        note.event_version(),
        serde_json::to_value(note)?,
        serde_json::json!({}),
    ))
}

fn main() -> ExitCode {
    measure::<SqliteEs>(&ABOUT)
}
