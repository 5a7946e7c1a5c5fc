//! `annals serve` against appending in the process: the same events, the same durability, in turns in
//! one run. The load comes from this process, the server is another, and both share the machine.
//!
//! `ANNALS_BENCH_SECONDS` says how long each measurement takes (default 5).

#![allow(
    clippy::cast_precision_loss,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on ends"
)]

mod support;

#[path = "../tests/support/load.rs"]
mod load;
#[path = "../tests/support/server.rs"]
mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use annals::{AuditLog, Draft, EventId};
use load::Batch;
use server::Served;
use support::Scratch;

const CONNECTIONS: u16 = 64;
const BATCH: usize = 100;

fn main() {
    let seconds = std::env::var("ANNALS_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let time = Duration::from_secs(seconds);
    let mut scratch = Scratch::new();
    for (name, batch) in
        [("POST /v1/events", Batch::notes(BATCH)), ("OTLP spans, protobuf", Batch::spans(BATCH))]
    {
        let draft = batch.draft();
        println!("{name}, {CONNECTIONS} connections, batches of {BATCH} of {} bytes", batch.bytes.len());
        let limit = in_process(&mut scratch, &draft, time);
        println!("  in the process: {limit:.0} events a second");
        let path = scratch.path();
        let server = Served::start(&path);
        let outcome = load::run(server.address, None, CONNECTIONS, &batch, time);
        println!(
            "  served:         {:.0} events a second, {:.2} of it; an answer takes {:.1?} (half), {:.1?} (99 %); \
             {} sent again; resident {} MiB",
            outcome.a_second(),
            outcome.a_second() / limit,
            outcome.quantile(0.5),
            outcome.quantile(0.99),
            outcome.retried,
            server.resident_bytes() >> 20,
        );
        server.stop();
    }
}

/// Batches from as many threads, each waiting until its own is committed.
fn in_process(scratch: &mut Scratch, draft: &Draft, time: Duration) -> f64 {
    let log = AuditLog::open(scratch.path()).expect("a log");
    let (sent, appended) = (AtomicU64::new(0), AtomicU64::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                while started.elapsed() < time {
                    let first = sent.fetch_add(BATCH as u64, Ordering::Relaxed);
                    let drafts = (first..).take(BATCH).map(|number| event(draft, number)).collect();
                    let answers = log.append_batch(drafts).expect("sent").wait();
                    assert!(answers.iter().all(Result::is_ok), "committed");
                    appended.fetch_add(BATCH as u64, Ordering::Relaxed);
                }
            });
        }
    });
    let a_second = appended.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    log.close().expect("closed");
    a_second
}

/// One of many: in a trace of its own with nine others, as the server gets them.
fn event(draft: &Draft, number: u64) -> Draft {
    let mut event = draft.clone().id(EventId::generate());
    if event.session.is_some() {
        event.session = Some(format!("{:032x}", number / 10).parse().expect("an id"));
    }
    event
}
