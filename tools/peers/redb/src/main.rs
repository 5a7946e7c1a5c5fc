//! redb as a bare store: a number, counted up, and the bytes under it. No ids, no chain, no tables.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_peer_harness::anyhow;
use annals_peer_harness::group::{Committer, Handle, Sink};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use redb::{Database, Durability, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition};

const EACH: &str = "each";

const DURABILITY: &str = "Durability::Immediate, the default";
const SOURCE: &str = "src/transactions.rs, enum Durability; docs/design.md, on commits of one phase";

const ABOUT: About = About {
    peer: "redb",
    package: Some("redb"),
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: EACH,
            label: "redb",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "A bare store. One transaction a call, for which producers wait in turn.",
        },
        Variant {
            name: "group",
            label: "redb, group commit by hand",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "A bare store. One thread commits what all producers have sent meanwhile.",
        },
    ],
};

const FILE: &str = "log.redb";

const LOG: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("log");

struct Store {
    database: Database,
    events: AtomicU64,
}

impl Store {
    fn write<'a>(&self, payloads: impl Iterator<Item = &'a [u8]>) -> anyhow::Result<()> {
        let mut tx = self.database.begin_write()?;
        tx.set_durability(Durability::Immediate)?;
        {
            let mut table = tx.open_table(LOG)?;
            for payload in payloads {
                // One transaction writes at a time, so the numbers ascend in the table as well.
                table.insert(self.events.fetch_add(1, Ordering::Relaxed), payload)?;
            }
        }
        Ok(tx.commit()?)
    }
}

struct Group(Arc<Store>);

impl Sink for Group {
    type Item = Vec<u8>;

    fn commit(&mut self, payloads: &mut Vec<Vec<u8>>) -> anyhow::Result<()> {
        self.0.write(payloads.iter().map(Vec::as_slice))
    }
}

enum Redb {
    Each(Arc<Store>),
    Group(Committer<Group>),
}

impl Peer for Redb {
    type Producer = Writer;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<Redb> {
        let database = Database::create(folder.join(FILE))?;
        let store = Arc::new(Store { database, events: AtomicU64::new(0) });
        Ok(match work.variant {
            EACH => Redb::Each(store),
            _ => Redb::Group(Committer::start(Group(store))?),
        })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Writer> {
        Ok(match self {
            Redb::Each(store) => Writer::Each(Arc::clone(store)),
            Redb::Group(committer) => Writer::Group(committer.handle()),
        })
    }

    fn close(self) -> anyhow::Result<()> {
        if let Redb::Group(committer) = self {
            committer.stop()?;
        }
        Ok(())
    }

    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let database = Database::open(folder.join(FILE))?;
        Ok(database.begin_read()?.open_table(LOG)?.len()?)
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
    measure::<Redb>(&ABOUT)
}
