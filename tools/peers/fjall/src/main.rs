//! fjall as a bare store: a number, counted up, and the bytes under it. No ids, no chain, no tables.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_peer_harness::anyhow;
use annals_peer_harness::group::{Committer, Handle, Sink};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

const EACH: &str = "each";

const DURABILITY: &str =
    "PersistMode::SyncData, which is fdatasync, on each batch; by default fjall flushes none";
const SOURCE: &str = "src/journal/writer.rs, enum PersistMode; README.md, on durability";

const ABOUT: About = About {
    peer: "fjall",
    package: Some("fjall"),
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: EACH,
            label: "fjall",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "A bare store. One batch a call, for which producers wait in turn.",
        },
        Variant {
            name: "group",
            label: "fjall, group commit by hand",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "A bare store. One thread commits what all producers have sent meanwhile.",
        },
    ],
};

const FOLDER: &str = "log";
const KEYSPACE: &str = "log";

struct Store {
    database: Database,
    log: Keyspace,
    events: AtomicU64,
}

impl Store {
    fn open(folder: &Path) -> anyhow::Result<Store> {
        let database = Database::builder(folder.join(FOLDER)).open()?;
        let log = database.keyspace(KEYSPACE, KeyspaceCreateOptions::default)?;
        Ok(Store { database, log, events: AtomicU64::new(0) })
    }

    fn write<'a>(&self, payloads: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<()> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for payload in payloads {
            batch.insert(&self.log, self.events.fetch_add(1, Ordering::Relaxed).to_be_bytes(), payload);
        }
        Ok(batch.commit()?)
    }
}

struct Group(Arc<Store>);

impl Sink for Group {
    type Item = Vec<u8>;

    fn commit(&mut self, payloads: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
        self.0.write(payloads.iter().map(Vec::as_slice))
    }
}

enum Fjall {
    Each(Arc<Store>),
    Group(Committer<Group>),
}

impl Peer for Fjall {
    type Producer = Writer;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<Fjall> {
        let store = Arc::new(Store::open(folder)?);
        Ok(match work.variant {
            EACH => Fjall::Each(store),
            _ => Fjall::Group(Committer::start(Group(store))?),
        })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Writer> {
        Ok(match self {
            Fjall::Each(store) => Writer::Each(Arc::clone(store)),
            Fjall::Group(committer) => Writer::Group(committer.handle()),
        })
    }

    fn close(self) -> anyhow::Result<()> {
        if let Fjall::Group(committer) = self {
            committer.stop()?;
        }
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        Ok(Store::open(folder)?.log.len()? as u64)
    }
}

enum Writer {
    Each(Arc<Store>),
    Group(Handle<Vec<u8>>),
}

impl Producer for Writer {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        match self {
            Writer::Each(store) => store.write(std::iter::once(payload.as_bytes())),
            Writer::Group(handle) => handle.commit(payload.as_bytes().to_vec()),
        }
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let payloads = payloads.iter().map(|payload| payload.as_bytes());
        match self {
            Writer::Each(store) => store.write(payloads),
            Writer::Group(handle) => handle.commit_several(payloads.map(<[u8]>::to_vec).collect()),
        }
    }
}

fn main() -> ExitCode {
    measure::<Fjall>(&ABOUT)
}
