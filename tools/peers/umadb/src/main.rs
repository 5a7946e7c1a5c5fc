//! UmaDB's storage engine, in the process: its writer thread and its channels as its server has them, without gRPC.
//!
//! Events have a type and an id, and no tags: tags would cost an index more.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

use annals_peer_harness::anyhow::{self, Context as _, anyhow};
use annals_peer_harness::{About, Peer, Producer, Variant, Work, main as measure};
use tokio::sync::{mpsc, oneshot, watch};
use umadb_core::db::UmaDb;
use umadb_core::mvcc::{Mvcc, StorageOptions};
use umadb_core::writer_thread_blocking::writer_thread_blocking;
use umadb_core::writer_thread_request::WriterThreadRequest;
use umadb_dcb::{DcbEvent, DcbEventStoreSync as _};
use uuid::Uuid;

const ABOUT: About = About {
    peer: "umadb-core",
    package: Some("umadb-core"),
    lock: include_str!("../Cargo.lock"),
    variants: &[Variant {
        name: "writer-thread",
        label: "umadb-core",
        durability: "fdatasync of the pages, then of the header, for each group of events; it has no other setting",
        source: "src/mvcc.rs, Mvcc::commit, and src/pager.rs, Pager::fsync",
        durable: true,
        batches: true,
        note: "Its own file format and group commit. The server's default writer thread, without the server. Its file \
               grows in steps of 256 MiB (src/pager.rs, ensure_required_len), which few events share.",
    }],
};

const FILE: &str = "uma.db";

/// As its server: `APPEND_BATCH_MAX_EVENTS` and the writer's channel, in umadb-server.
const COMMIT_EVENTS_MAX: usize = 2_000;
const QUEUE_REQUESTS: usize = 1_024;

fn options(folder: &Path) -> StorageOptions {
    StorageOptions::default().db_path(folder.join(FILE))
}

struct Uma {
    requests: mpsc::Sender<WriterThreadRequest>,
    writer: JoinHandle<()>,
}

impl Peer for Uma {
    type Producer = Client;

    fn open(folder: &Path, _work: &Work) -> anyhow::Result<Uma> {
        let store = Arc::new(Mvcc::new(false, options(folder))?);
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS);
        let (head, _) = watch::channel(None);
        let writer = std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || writer_thread_blocking(store, queue, head, COMMIT_EVENTS_MAX))?;
        Ok(Uma { requests, writer })
    }

    fn producer(&self, _number: usize) -> anyhow::Result<Client> {
        Ok(Client(self.requests.clone()))
    }

    fn close(self) -> anyhow::Result<()> {
        drop(self.requests);
        self.writer.join().map_err(|_| anyhow!("the writer panicked"))
    }

    /// Reads all events, a page of positions at a time.
    fn stored(folder: &Path, _work: &Work) -> anyhow::Result<u64> {
        const PAGE_EVENTS: u32 = 10_000;
        let store = UmaDb::from_arc(Arc::new(Mvcc::new(false, options(folder))?));
        let (mut events, mut start) = (0, None);
        loop {
            let (page, _) = store.read_with_head(None, start, false, Some(PAGE_EVENTS))?;
            let Some(last) = page.last() else { return Ok(events) };
            events += page.len() as u64;
            start = Some(last.position + 1);
        }
    }
}

struct Client(mpsc::Sender<WriterThreadRequest>);

impl Producer for Client {
    fn append(&mut self, payload: &str) -> anyhow::Result<()> {
        self.append_batch(&[payload])
    }

    fn append_batch(&mut self, payloads: &[&str]) -> anyhow::Result<()> {
        let event =
            |payload: &&str| DcbEvent::new().event_type("note").data(payload.as_bytes()).uuid(Uuid::now_v7());
        let (response_tx, response) = oneshot::channel();
        let request = WriterThreadRequest::Append {
            events: payloads.iter().map(event).collect(),
            condition: None,
            tracking_info: None,
            response_tx,
            cancel: None,
        };
        self.0.blocking_send(request).map_err(|_| anyhow!("the writer ended"))?;
        response.blocking_recv().context("the writer ended")??;
        Ok(())
    }
}

fn main() -> ExitCode {
    measure::<Uma>(&ABOUT)
}
