//! Annals: the log alone, and with everything that it does by default.

use std::path::Path;
use std::process::ExitCode;

use annals::evidence::Evidence;
use annals::verify::{self, Scope};
use annals::{AuditLog, Draft, NoteLogged, Projections};
use annals_peer_harness::anyhow::{self, Context as _};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use rusqlite::Connection;

const LOG_ONLY: &str = "log";

const DURABILITY: &str =
    "Durability::Full, the default: WAL, synchronous=FULL, a commit for each group of events";
const SOURCE: &str = "src/log/open.rs, enum Durability";

const ABOUT: About = About {
    peer: "Annals",
    package: Some("annals"),
    lock: include_str!("../Cargo.lock"),
    variants: &[
        Variant {
            name: LOG_ONLY,
            label: "Annals, log alone",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "Hash-chained, each event with an id, a salt and a digest. Read tables and Merkle tree off.",
        },
        Variant {
            name: "defaults",
            label: "Annals, read tables on",
            durability: DURABILITY,
            source: SOURCE,
            durable: true,
            batches: true,
            note: "As AuditLog::open makes it: read tables, full-text index and Merkle tree are filled meanwhile. \
                   Bytes an event are those of the log and the tables.",
        },
    ],
};

const FILE: &str = "audit.db";

struct Log(AuditLog);

impl Peer for Log {
    type Producer = Handle;

    fn open(folder: &Path, work: &Work) -> anyhow::Result<Log> {
        let builder = AuditLog::builder(folder.join(FILE));
        let builder = match work.variant {
            LOG_ONLY => builder.projections(Projections::Off).evidence(Evidence::Off),
            _ => builder,
        };
        Ok(Log(builder.open()?))
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Handle> {
        Ok(Handle(self.0.clone()))
    }

    /// What another connection can see: `synchronous` is each connection's own.
    fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let connection = Connection::open(self.0.path())?;
        let journal_mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        let page_bytes: u32 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        Ok(vec![("journal_mode".into(), journal_mode), ("page_size".into(), page_bytes.to_string())])
    }

    fn close(self) -> anyhow::Result<()> {
        Ok(self.0.close()?)
    }

    /// What verification counts, which reads and hashes every row.
    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        let report = verify::verify(&folder.join(FILE), Scope::LogOnly, &mut |_, _| {})?;
        anyhow::ensure!(report.is_good(), "the log is not good: {:?}", report.failures);
        // The first event is the log's own.
        report.log.events.checked_sub(1).context("a log without its first event")
    }
}

struct Handle(AuditLog);

impl Producer for Handle {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        self.0.append(note(payload))?.wait()?;
        Ok(())
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let drafts = payloads.iter().map(|payload| note(payload)).collect();
        self.0.append_batch(drafts)?.wait().into_iter().try_for_each(|outcome| outcome.map(drop))?;
        Ok(())
    }
}

fn note(payload: &str) -> Draft {
    Draft::new(NoteLogged { message: payload.to_owned(), ..NoteLogged::default() })
}

fn main() -> ExitCode {
    measure::<Log>(&ABOUT)
}
